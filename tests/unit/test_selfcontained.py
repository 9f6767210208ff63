"""HDF5 files that lead out of themselves are refused before anything outside is opened; ours are not refused."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from mpiqmd.datafiles import opened, seal
from mpiqmd.errors import DataFileError
from mpiqmd.md.replicas import linked_files, write_index
from tests.helpers.hostility import Watch

pytestmark = pytest.mark.serial


@pytest.fixture
def outside(tmp_path):
    """A file that anything could lead to."""
    path = tmp_path / "outside.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(3.0)
    return path


def look(path):
    with opened(path, "model", "Another one is needed.") as contents:
        return contents.file


def refused(path, words):
    with pytest.raises(DataFileError, match=words) as caught:
        look(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def external(file, outside):
    file["a"] = h5py.ExternalLink(str(outside), "/a")


def storage(file, outside):
    file.create_dataset("a", shape=(3,), dtype="u1", external=[(str(outside), 0, 3)])


def virtual(file, outside):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(outside), "a", shape=(3,))
    file.create_virtual_dataset("a", layout)


def growing_virtual(file, outside):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8", maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource(str(outside), "a", shape=(3,), maxshape=(None,))[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (external, "deep/er/a is a link to another file"),
        (storage, "the bytes of deep/er/a are in another file"),
        (virtual, "deep/er/a is a virtual array"),
        (growing_virtual, "deep/er/a is a virtual array"),
    ],
)
def test_what_leads_to_another_file_is_refused_unopened(tmp_path, outside, make, words):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        make(file.create_group("deep/er"), outside)
    seal(path)
    watch = Watch(outside)
    refused(path, words)
    assert not watch.opened()


def test_a_pipe_behind_a_link_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["training/energies"] = h5py.ExternalLink("pipe", "/x")
    refused(tmp_path / "model.h5", "is a link to another file")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_regular_file_is_refused(tmp_path, make):
    make(tmp_path / "model.h5")
    refused(tmp_path / "model.h5", "not a file")


CASES = {
    "a soft link": (lambda file: file.__setitem__("b", h5py.SoftLink("/a")), "b is a soft link"),
    "a loop": (lambda file: file.create_group("g").__setitem__("again", file["/"]), "under another name too"),
    "a group twice": (lambda file: file.__setitem__("h", file.create_group("g")), "under another name too"),
    "a named type": (lambda file: file.__setitem__("t", np.dtype("f8")), "neither a group nor an array"),
    "references": (lambda file: file.create_dataset("r", data=file["a"].ref, dtype=h5py.ref_dtype), "holds references"),
    "a reference": (lambda file: file["a"].attrs.create("r", file["a"].ref, dtype=h5py.ref_dtype), "a @r holds references"),
    "records": (lambda file: file.create_dataset("c", shape=2, dtype=[("x", "f8")]), "c holds records"),
    "lists": (lambda file: file.create_dataset("v", shape=2, dtype=h5py.vlen_dtype("f8")), "v holds lists"),
    "opaque bytes": (lambda file: file.create_dataset("o", shape=2, dtype="V8"), "o holds opaque bytes"),
    "a plug-in": (lambda file: file.create_dataset("z", data=np.arange(9.0), compression="lzf"), "HDF5 filter 32000"),
    "many attributes": (lambda file: [file.attrs.create(f"{n}", n) for n in range(1001)], "1001 attributes"),
    "many strings": (lambda file: file.create_dataset("s", data=["x"] * 65, dtype=h5py.string_dtype()), "65 strings"),
    "deep groups": (lambda file: file.create_group("d/" * 17), "deeper than 16 groups"),
    "a large chunk": (
        lambda file: file.create_dataset("k", shape=3, maxshape=(None,), chunks=(10**7,), compression="gzip", dtype="f8"),
        "k has chunks of 80000000 bytes",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_plain_is_refused(tmp_path, case):
    change, words = CASES[case]
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(3.0)
        look_like = file.create_dataset("plain", data=np.arange(3.0), chunks=(3,), compression="gzip", shuffle=True)
        look_like.attrs.update({"unit": "bohr", "yes": True, "list": [1, 2], "names": np.array([b"a", b"b"])})
        file["same"] = file["a"]
    look(path)
    with h5py.File(path, "r+") as file:
        change(file)
    refused(path, words)


def test_an_index_links_its_replicas_and_nothing_else(tmp_path):
    write_index(tmp_path, [0, 3])
    path = tmp_path / "replicas.h5"
    with opened(path, "index", "Run again.", must_be_sealed=True) as contents:
        assert [file.parent.name for file in linked_files(contents)] == ["replica-0000", "replica-0003"]
    for name, target, place in [
        ("replica-0001", "replica-0000/trajectory.h5", "/"),
        ("replica-0001", "/etc/passwd", "/"),
        ("replica-0001", "../replica-0001/trajectory.h5", "/"),
        ("replica-0001", "replica-0001/trajectory.h5", "/h5md"),
        ("..", "../trajectory.h5", "/"),
        ("inside/replica-0001", "replica-0001/trajectory.h5", "/"),
    ]:
        write_index(tmp_path, [0])
        with h5py.File(path, "r+") as file:
            file[name] = h5py.ExternalLink(target, place)
        refused(path, "link")


def test_links_of_replicas_are_for_an_index_only(tmp_path):
    write_index(tmp_path, [0])
    with h5py.File(tmp_path / "replicas.h5", "r+") as file:
        file.attrs["kind"] = "snapshots"
    refused(tmp_path / "replicas.h5", "replica-0000 is a link to another file")
