"""Parts of a training: who solves what, and what lies beside the whole."""

from __future__ import annotations

import pytest

from mpiqmd.rom.partial_snapshots import blocks, part_path, part_paths

pytestmark = pytest.mark.serial


@pytest.mark.parametrize("length", [0, 1, 5, 18, 35])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_blocks_hold_every_index_once_and_are_equally_long(length, count):
    parts = blocks(range(100, 100 + length), count)
    assert len(parts) == count
    assert [index for part in parts for index in part] == list(range(100, 100 + length))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_parts_and_parts_of_parts_lie_beside_the_whole(tmp_path):
    whole = tmp_path / "snapshots.h5"
    part = part_path(whole, "0000-0004")
    assert part.name == "snapshots-0000-0004.h5"
    for path in (whole, part, part_path(part, "group-1"), part_path(whole, "group-0"), tmp_path / "snapshots.h5.part"):
        path.write_text("")
    assert [path.name for path in part_paths(whole)] == [
        "snapshots-0000-0004-group-1.h5",
        "snapshots-0000-0004.h5",
        "snapshots-group-0.h5",
    ]
    assert [path.name for path in part_paths(part)] == ["snapshots-0000-0004-group-1.h5"]
