"""Damaged files of every kind, thousands of them: an error that names the file, or a whole result; nothing else."""

from __future__ import annotations

import pytest

from tests.helpers.judging import fuzz
from tests.reliability.apart import fuzz_apart
from tests.reliability.formats import text_formats
from tests.reliability.hdf5_formats import KINDS, NOTICED, hdf5_format

pytestmark = pytest.mark.serial

TEXTS = ("toml", "xyz", "extxyz", "psp8", "upf")
WAYS = [
    (kind, way) for kind in KINDS for way in (NOTICED[kind], "structure", "hostile") if (kind, way) != ("index", "structure")
]


def judge(format, folder, cases):
    tally = fuzz(format, folder, cases)
    print(f"{format.name}: {tally}")
    assert not tally.wrong, f"{len(tally.wrong)} of {len(cases)} files\n" + "\n".join(tally.wrong[:20])
    return tally


@pytest.mark.parametrize("name", TEXTS)
def test_good_text_is_accepted_and_damaged_text_explained(tmp_path, name):
    format = text_formats()[name]
    (tmp_path / format.name).write_bytes(format.pristine)
    format.check(format.read(tmp_path / format.name))
    tally = judge(format, tmp_path, range(200))
    assert tally.verdicts["refused"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_thousands_of_damaged_texts_are_explained(tmp_path, name):
    judge(text_formats()[name], tmp_path, range(1000, 6000))


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_damaged_hdf5_files_are_explained(tmp_path, kind, way):
    cases = 20 if kind in ("resumed", "continued") else 60
    tally = judge(hdf5_format(kind, way), tmp_path, range(cases))
    goes_on_from_the_older_generation = kind == "resumed" and way != "structure"
    assert tally.verdicts["refused"] > cases // 6 or goes_on_from_the_older_generation


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_thousands_of_damaged_hdf5_files_are_explained(tmp_path, kind, way):
    judge(hdf5_format(kind, way), tmp_path, range(1000, 2000 if kind in ("resumed", "continued") else 4000))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trajectory", "snapshots"])
def test_what_a_kill_left_unsealed_is_explained_or_at_worst_stops_the_library(tmp_path, kind):
    """HDF5 itself may crash or hang on a damaged file that has no seal, but rarely."""
    cases = range(3000)
    tally = fuzz_apart(kind, tmp_path, cases)
    print(f"{kind}: {tally}")
    assert not tally.wrong, "\n".join(tally.wrong[:20])
    assert sum(tally.verdicts.values()) == len(cases)
    assert tally.verdicts["crashed"] + tally.verdicts["hung"] < len(cases) // 100
