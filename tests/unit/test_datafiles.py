"""Files that take the place of others: whole or not at all, and nothing but their own."""

from __future__ import annotations

import os

import pytest

from mpiqmd.datafiles import UNFINISHED, replacing
from mpiqmd.errors import DataFileError

pytestmark = pytest.mark.serial


@pytest.mark.parametrize("kind", ["a link to a file", "a link to nothing", "a pipe", "left by a kill"])
def test_what_is_in_the_place_of_an_unfinished_file_is_not_written_to(kind, tmp_path):
    """Whoever can write into the folder could otherwise have any file of the user replaced."""
    precious, path = tmp_path / "precious", tmp_path / "result.json"
    beside = path.with_name(path.name + UNFINISHED)
    precious.write_text("precious")
    if "link" in kind:
        beside.symlink_to(precious if kind == "a link to a file" else tmp_path / "nothing")
    else:
        os.mkfifo(beside) if kind == "a pipe" else beside.write_text("half of a longer text")
    with replacing(path) as new:
        new.write_text("result")
    assert path.read_text() == "result" and not path.is_symlink()
    assert precious.read_text() == "precious" and not (tmp_path / "nothing").exists()


def test_a_folder_in_the_place_of_an_unfinished_file_is_named(tmp_path):
    (tmp_path / ("result.json" + UNFINISHED)).mkdir()
    with pytest.raises(DataFileError, match=r"cannot write .*result\.json: "), replacing(tmp_path / "result.json") as new:
        new.write_text("result")
