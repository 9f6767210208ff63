"""Choice of pseudopotentials: defaults, valence choice, and the mismatches that are refused."""

from __future__ import annotations

import pytest

from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.molecule.library import load_pseudopotentials

pytestmark = pytest.mark.serial


def test_default_gth_for_every_element():
    loaded = load_pseudopotentials(("O", "H", "H"), {"default": "gth"}, "PBE")
    assert list(loaded) == ["O", "H"]
    assert [loaded[symbol].source for symbol in loaded] == ["GTH-PBE-q6", "GTH-PBE-q1"]


@pytest.mark.parametrize("choice", ["gth:3", "GTH:q3"])
def test_valence_choice(choice):
    loaded = load_pseudopotentials(("Li", "H"), {"default": "gth", "Li": choice}, "LDA")
    assert loaded["Li"].valence == 3
    assert load_pseudopotentials(("Li",), {"default": "gth:1"}, "LDA")["Li"].valence == 1


@pytest.mark.parametrize(
    "table, functional, words",
    [
        ({"H": "gth"}, "LDA", "named for O; the table has entries for H"),
        ({"default": "gth"}, "SCAN", "made for LDA or PBE or BLYP; the calculation uses SCAN"),
        ({"default": "gth:six"}, "LDA", "gth:six"),
        ({"default": "paw"}, "LDA", "'paw'"),
        ({"default": "gth:8"}, "LDA", "published are 6"),
    ],
)
def test_impossible_choices_are_refused(table, functional, words):
    with pytest.raises(ConfigError, match=words):
        load_pseudopotentials(("O",), table, functional)


def test_revpbe_takes_the_tables_of_pbe():
    loaded = load_pseudopotentials(("O",), {"default": "gth"}, "REVPBE")["O"]
    assert (loaded.source, loaded.functional) == ("GTH-PBE-q6", "PBE")


def test_families_agree_in_any_case(oxygen_file):
    """An ABINIT file says revPBE (ixc 14), the calculation REVPBE."""
    lines = oxygen_file.read_text().splitlines()
    oxygen_file.write_text("\n".join([*lines[:2], lines[2].replace(" 11 ", " 14 "), *lines[3:]]) + "\n")
    loaded = load_pseudopotentials(("O",), {"O": oxygen_file.name}, "REVPBE", folder=oxygen_file.parent)
    assert loaded["O"].functional == "revPBE"


def test_mismatch_can_be_allowed():
    assert load_pseudopotentials(("O",), {"default": "gth"}, "SCAN", allow_mismatch=True)["O"].functional == "PBE"


def test_files_are_found_from_the_folder_and_must_match(oxygen_file):
    folder = oxygen_file.parent
    loaded = load_pseudopotentials(("O",), {"O": oxygen_file.name}, "PBE", folder=folder)
    assert loaded["O"].source == oxygen_file.name
    with pytest.raises(ConfigError, match="made for PBE; the calculation uses LDA"):
        load_pseudopotentials(("O",), {"O": oxygen_file.name}, "LDA", folder=folder)
    assert load_pseudopotentials(("O",), {"O": oxygen_file.name}, "LDA", allow_mismatch=True, folder=folder)
    with pytest.raises(DataFileError, match="is for O; the input names it for N"):
        load_pseudopotentials(("N",), {"N": oxygen_file.name}, "PBE", folder=folder)
    for name in ("elsewhere.psp8", "elsewhere.upf", "elsewhere.UPF"):
        with pytest.raises(DataFileError, match="cannot read"):
            load_pseudopotentials(("O",), {"O": name}, "PBE", folder=folder)


@pytest.fixture
def oxygen_file(tmp_path):
    """The smallest complete psp8 file: no projectors, a bare smeared charge."""
    path = tmp_path / "O.psp8"
    rows = [f"{i + 1} {0.01 * i} {-6.0 / max(0.01 * i, 0.5)}" for i in range(200)]
    header = ["O", "8 6 0", "8 11 0 4 200 0", "0 0 0", "0 0 0 0 0", "0 0", "4"]
    path.write_text("\n".join(header + rows) + "\n")
    return path
