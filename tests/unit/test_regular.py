"""What is opened is a regular file of a sensible size: devices, pipes, sockets and folders are refused, none waited for."""

from __future__ import annotations

import os
import socket

import h5py
import pytest

from mpiqmd.config import load_input
from mpiqmd.datafiles import opened
from mpiqmd.errors import MpiqmdError
from mpiqmd.exchange.structure_files import read_structures
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.psp8 import read_psp8
from mpiqmd.molecule.upf import read_upf
from mpiqmd.pipeline.job import _require_files
from mpiqmd.pipeline.results import read_result
from mpiqmd.regular import read_bounded, read_text, require_regular
from mpiqmd.statics.journal_file import read_journal

pytestmark = pytest.mark.serial

WATER = '[system]\nsymbols = ["He"]\npositions = [[0.0, 0.0, 0.0]]\n[grid]\ncell = 8.0\npoints = 24\n'


def taken_apart(path):
    with opened(path, "reduced model", "Train one."):
        pass


READERS = {
    "input": load_input,
    "structure": read_structures,
    "trajectory": Trajectory.open,
    "model": taken_apart,
    "psp8": read_psp8,
    "upf": read_upf,
    "result": read_result,
    "record": lambda path: read_journal(path, {}),
    "command line": lambda path: _require_files([None, path]),
}


@pytest.fixture
def strange(tmp_path, request):
    """A folder of things that are no regular files, by name."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "linked").symlink_to(tmp_path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    request.addfinalizer(listener.close)
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "name, words",
    [
        ("pipe", "it is a named pipe, not a file"),
        ("linked", "it is a named pipe, not a file"),
        ("folder", "it is a folder, not a file"),
        ("socket", "it is a socket, not a file"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/zero", "it is a device, not a file"),
        ("/dev/null", "it is a device, not a file"),
    ],
)
def test_what_is_no_file_is_refused_by_every_reader(strange, reader, name, words):
    if (reader, name) == ("record", "loop"):
        pytest.skip("a record that leads nowhere is one that has not been begun")
    with pytest.raises(MpiqmdError, match=words) as caught:
        READERS[reader](strange / name)
    assert str(strange / name) in str(caught.value)


@pytest.mark.parametrize("reader", [name for name in READERS if name != "record"])
def test_a_missing_file_is_said_to_be_missing(tmp_path, reader):
    with pytest.raises(MpiqmdError, match="No such file or directory") as caught:
        READERS[reader](tmp_path / "none.xyz")
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("reader", ["input", "structure", "psp8", "upf", "result", "record"])
def test_a_file_of_gigabytes_is_not_read(tmp_path, reader):
    path = tmp_path / "large.xyz"
    with open(path, "wb") as stream:
        stream.truncate(5_000_000_000)
    with pytest.raises(MpiqmdError, match="it has 5000000000 bytes, at most [0-9]+ are read"):
        READERS[reader](path)


def test_what_grows_while_it_is_read_ends(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 11)
    assert read_bounded(path, 11) == b"x" * 11 and require_regular(path) == 11
    with pytest.raises(OSError, match="it has 11 bytes, at most 10"):
        read_bounded(path, 10)
    # a file of /proc has no size beforehand
    with pytest.raises(OSError, match="it does not end, at most 10"):
        read_bounded("/proc/self/maps", 10)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_does_no_harm(tmp_path, encoding):
    path = tmp_path / "he.toml"
    path.write_bytes(WATER.replace("\n", "\r\n").encode(encoding))
    assert load_input(path).system.symbols == ("He",)
    assert read_text(path, 1000).startswith("[system]")


def test_utf_16_is_named(tmp_path):
    path = tmp_path / "he.toml"
    path.write_text(WATER, encoding="utf-16")
    with pytest.raises(MpiqmdError, match="it is UTF-16; save it as UTF-8"):
        load_input(path)


def test_a_linked_input_is_read_where_it_lies(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "he.toml").write_text(WATER.replace('symbols = ["He"]\npositions = [[0.0, 0.0, 0.0]]', 'structure = "he.xyz"'))
    (elsewhere / "he.toml").symlink_to("../home/he.toml")
    assert load_input(elsewhere / "he.toml").system.structure == home / "he.xyz"


def test_links_to_data_are_followed(tmp_path):
    with h5py.File(tmp_path / "real.h5", "w") as file:
        file["x"] = 1.0
    (tmp_path / "link.h5").symlink_to("real.h5")
    with opened(tmp_path / "link.h5", "HDF5 file", "None.") as contents:
        assert contents.array("x", "") == 1.0
