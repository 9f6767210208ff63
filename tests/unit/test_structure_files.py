"""What a structure file says beside positions is carried, refused in words, or must be what the input says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixedPlane
from ase.io import write

from mpiqmd.config import parse_input
from mpiqmd.errors import DataFileError, GeometryError, MpiqmdError
from mpiqmd.exchange.structure import Structure, not_finite, same_masses
from mpiqmd.exchange.structure_files import LARGEST_FILE, read_structures, write_geometries, write_structures
from mpiqmd.molecule.elements import ISOTOPES, without_isotopes
from mpiqmd.pipeline.build import build_molecule, read_frames
from mpiqmd.units import BOHR_IN_ANGSTROM, DALTON_IN_ELECTRON_MASS

pytestmark = pytest.mark.serial

ROWS = [("O", 0.0, 0.0, 0.0), ("H", 0.592678, 0.765719, 0.0), ("H", 0.592678, -0.765719, 0.0)]
EDGE = 10.0 * BOHR_IN_ANGSTROM
LATTICE = f'Lattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}"'
D2O = [15.999, 2.014, 2.014]


def xyz(comment="", labels=("O", "H", "H"), extra=("", "", "")):
    rows = [f"{label} {x} {y} {z} {more}" for label, (_, x, y, z), more in zip(labels, ROWS, extra, strict=True)]
    return "\n".join(["3", comment, *rows]) + "\n"


def columns(names, extra):
    return xyz(f"Properties=species:S:1:pos:R:3:{names}", extra=extra)


@pytest.fixture
def read(tmp_path):
    def read_text(text, name="a.xyz"):
        (tmp_path / name).write_text(text)
        return read_structures(tmp_path / name)

    return read_text


def daltons(structure):
    return structure.masses_a / DALTON_IN_ELECTRON_MASS


def settings(tmp_path, grid=None, system=None, md=None):
    tables = {
        "system": {"structure": str(tmp_path / "a.xyz")} | (system or {}),
        "grid": {"cell": 10.0, "points": 24} | (grid or {}),
        "md": md or {},
    }
    return parse_input(tables, tmp_path)


@pytest.mark.parametrize(
    "labels",
    [("O", "H", "H"), ("o", "h", "h"), ("8", "1", "1"), ("O1", "H1", "H2"), ("O12", "H", "1"), ("08", "01", "1")],
)
def test_atoms_go_by_symbol_label_or_number(read, labels):
    for comment in ("", "Properties=species:S:1:pos:R:3", 'made by "hand"'):
        (structure,) = read(xyz(comment, labels))
        assert (structure.symbols, structure.masses_a, structure.charge) == (("O", "H", "H"), None, None)
        assert structure.positions_av[1] * BOHR_IN_ANGSTROM == pytest.approx([0.592678, 0.765719, 0.0])


def test_two_letters_in_any_case_are_one_element(read):
    (structure,) = read(xyz(labels=("CL", "na", "Si2")))
    assert structure.symbols == ("Cl", "Na", "Si")


@pytest.mark.parametrize("label", ["X", "Xx", "HW1", "CA1", "0", "87", "999999999999", "2H", "[2H]", "H+", "Gh(O)", "H_1", "é"])
def test_an_unreadable_label_is_named_with_its_line(read, label):
    with pytest.raises(DataFileError, match=r"line 4: an atom is called") as caught:
        read(xyz(labels=("O", label, "H")))
    assert repr(label)[1:5] in str(caught.value) and "H1, or an atomic number is expected" in str(caught.value)


@pytest.mark.parametrize("labels", [("O", "D", "D"), ("8", "D1", "D2"), ("O", "d", "D")])
def test_deuterium_is_hydrogen_with_its_mass(read, labels):
    (structure,) = read(xyz(labels=labels))
    assert structure.symbols == ("O", "H", "H") and daltons(structure) == pytest.approx([15.999, 2.01410178, 2.01410178])
    assert daltons(read(xyz(labels=("O", "T", "H")))[0]) == pytest.approx([15.999, 3.01604928, 1.008])


def test_isotopes_by_symbol():
    assert without_isotopes(["O", "H"]) == (("O", "H"), None)
    symbols, masses_a = without_isotopes(["D", "T", "C"])
    assert symbols == ("H", "H", "C")
    assert masses_a / DALTON_IN_ELECTRON_MASS == pytest.approx([ISOTOPES["D"][1], ISOTOPES["T"][1], 12.011])
    with pytest.raises(GeometryError, match="unknown element symbol 'Q'"):
        without_isotopes(["D", "Q"])


@pytest.mark.parametrize("name", ["masses", "mass"])
def test_a_column_of_masses_is_read(read, name):
    (structure,) = read(columns(f"{name}:R:1", D2O))
    assert daltons(structure) == pytest.approx(D2O)


def test_masses_written_by_ase_are_read(tmp_path):
    atoms = Atoms("OHH", positions=[row[1:] for row in ROWS], masses=D2O)
    for name in ("a.extxyz", "a.traj", "a.json"):
        write(tmp_path / name, atoms, parallel=False)
        assert daltons(read_structures(tmp_path / name)[0]) == pytest.approx(D2O)


@pytest.mark.parametrize(
    "text, words",
    [
        (columns("masses:R:1", [15.999, 0.0, 1.0]), "a mass is 0; dalton, at least 0.05"),
        (columns("masses:R:1", [15.999, -2.0, 1.0]), "a mass is -2"),
        (columns("masses:R:1", [15.999, "nan", 1.0]), "masses holds NaN"),
        (columns("masses:S:1", D2O), "numbers are expected"),
        (columns("Z:I:1", [8, 1, 7]), "line 5 calls an atom H and gives it Z = 7"),
        (columns("initial_charges:R:1", [0.4, 0.1, 0.0]), "initial_charges is 0.5, a whole number is expected"),
        (xyz("charge=0.5"), "charge is 0.5, a whole number"),
        (xyz("charge=one"), "charge is one, a whole number"),
        (xyz("charge=nan"), "charge is nan, a whole number"),
        (xyz("charge=1 total_charge=2"), "different charges"),
        (xyz("multiplicity=3"), "multiplicity is 3; electrons in pairs"),
        (xyz("spin=2"), "spin is 2; electrons in pairs"),
        (columns("initial_magmoms:R:1", [2.0, 0.0, 0.0]), "magnetic moments, up to 2"),
        (columns("magmoms:R:1", [0.0, -1.0, 0.0]), "magnetic moments, up to 1"),
        (columns("move_mask:L:3", ["T T F", "T T T", "T T T"]), "a constraint, FixCartesian"),
        (xyz() + xyz(labels=("O", "H", "He")), "frame 1 holds"),
        ("", "Empty file"),
        ("\n\n", "it holds no geometry"),
        ("3\n\nO 0 0 0\nH 1 0 0\n", "line 1 announces 3 atoms, 2 lines follow"),
        ("x\n", "line 1 reads 'x', a number of atoms"),
        ("2\n\nO 0 0 0\n\n", "line 4 reads '', an atom is expected"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(read, text, words):
    with pytest.raises(DataFileError) as caught:
        read(text)
    assert words in str(caught.value) and "a.xyz" in str(caught.value)


@pytest.mark.parametrize("nowhere", ["nan", "inf", "-inf"])
def test_a_frame_with_an_atom_nowhere_is_named_and_spoils_no_other(read, tmp_path, nowhere):
    with pytest.raises(DataFileError, match=r"frame 1 of 3, counted from 0: atom H2 is at \(.*\) angstrom, finite numbers"):
        read(xyz() + _nowhere(xyz(), nowhere) + xyz())
    structures = read_structures(tmp_path / "a.xyz", finite=False)
    assert [bool(np.isfinite(each.positions_av).all()) for each in structures] == [True, False, True]
    assert np.array_equal(structures[0].positions_av, structures[2].positions_av)
    found = not_finite(np.array([each.positions_av for each in structures]), structures[0].symbols)
    assert list(found) == [1] and found[1].startswith("atom H2 is at (")


def _nowhere(text, word):
    """The same frame with a word in the place of the second coordinate of the second atom."""
    lines = text.splitlines()
    columns = lines[3].split()
    lines[3] = " ".join([*columns[:2], word, *columns[3:]])
    return "\n".join(lines) + "\n"


def test_masses_that_contradict_an_isotope_are_refused(tmp_path):
    (tmp_path / "a.xyz").write_text(
        xyz("Properties=species:S:1:pos:R:3:masses:R:1", labels=("O", "D", "H"), extra=(15.999, 1.008, 1.008))
    )
    with pytest.raises(DataFileError, match=r"atoms \[1\] are called D or T, but their masses are \[1.008\] Da"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    "text, charge",
    [
        (xyz("charge=1"), 1),
        (xyz('charge="-2"'), -2),
        (xyz("total_charge=1.0 charge=1"), 1),
        (columns("initial_charges:R:1", [-0.8, 0.4, 0.4]), 0),
        (columns("initial_charges:R:1", [0.2, 0.4, 0.4001]), 1),
        (columns("initial_charges:R:1", [0.0, 0.0, 0.0]), None),
        (xyz("multiplicity=1 spin=0"), None),
    ],
)
def test_charges(read, text, charge):
    assert read(text)[0].charge == charge


def test_fixed_atoms(read, tmp_path):
    assert read(columns("move_mask:L:1", ["F", "T", "F"]))[0].pinned == (0, 2)
    assert read(columns("move_mask:L:3", ["F F F", "T T T", "T T T"]))[0].pinned == (0,)
    for constraint, words in ((FixBondLengths([[0, 1]]), "FixBondLengths"), (FixedPlane(0, [0, 0, 1]), "FixedPlane")):
        atoms = Atoms("OHH", positions=[row[1:] for row in ROWS], constraint=[constraint])
        write(tmp_path / "a.traj", atoms, parallel=False)
        with pytest.raises(DataFileError, match=f"a constraint, {words}; only atoms held fixed"):
            read_structures(tmp_path / "a.traj")
    write(tmp_path / "a.traj", Atoms("OHH", positions=[row[1:] for row in ROWS], constraint=FixAtoms([1])), parallel=False)
    assert read_structures(tmp_path / "a.traj")[0].pinned == (1,)


def test_cells(read, tmp_path):
    (structure,) = read(xyz(LATTICE))
    assert structure.cell_vv == pytest.approx(10.0 * np.eye(3)) and structure.periodic == (True,) * 3
    (structure,) = read(xyz(f'{LATTICE} pbc="F F F"'))
    assert structure.cell_vv == pytest.approx(10.0 * np.eye(3)) and structure.periodic == (False,) * 3
    placeholder = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    atom = "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O  \nEND\n"
    (structure,) = read(placeholder + atom, "a.pdb")
    assert (structure.cell_vv, structure.periodic) == (None, (False,) * 3)


OTHER = "20 0 0 0 20 0 0 0 20"
PERIODIC, ISOLATED = {"boundary": "periodic"}, {"boundary": "isolated"}


@pytest.mark.parametrize(
    "grid, comment, words",
    [
        (PERIODIC, "", None),
        (PERIODIC, LATTICE, None),
        (PERIODIC, f'{LATTICE} pbc="F F F"', None),
        (PERIODIC, 'Lattice="5.2918 0 0 0 5.2918 0 0 0 5.2918"', None),
        (PERIODIC, f'Lattice="{OTHER}" pbc="T T T"', ("37.7945 x 37.7945 x 37.7945 bohr", "10 x 10 x 10 bohr")),
        (PERIODIC, f'Lattice="{OTHER}" pbc="F F F"', ("37.7945", "10 x 10 x 10 bohr")),
        (PERIODIC, 'Lattice="6 0 0 3 6 0 0 0 6"', ("[3.0, 6.0, 0.0]", "10 x 10 x 10 bohr (5.29177 x")),
        (PERIODIC, f'{LATTICE} pbc="T T F"', ("pbc T T F",)),
        (PERIODIC, 'Lattice="5.30 0 0 0 5.2918 0 0 0 5.2918"', ("5.3 x 5.2918",)),
        (ISOLATED, "", None),
        (ISOLATED, f'Lattice="{OTHER}" pbc="F F F"', None),
        (ISOLATED, LATTICE, ('grid.boundary = "isolated"', "10 x 10 x 10 bohr", 'pbc="F F F"')),
        (ISOLATED, f'{LATTICE} pbc="F F T"', ("pbc F F T",)),
        (ISOLATED, "charge=1", ("the charge is +1, the input's +0", "system.charge = 1")),
        (ISOLATED, "charge=0", None),
    ],
)
def test_frames_must_be_of_the_input(tmp_path, serial_comm, grid, comment, words):
    (tmp_path / "a.xyz").write_text(xyz())
    chosen = settings(tmp_path, grid)
    molecule = build_molecule(chosen, serial_comm)
    (tmp_path / "b.xyz").write_text(xyz() + xyz(comment))
    doors = [lambda: read_frames(chosen, molecule, tmp_path / "b.xyz", serial_comm)]
    (tmp_path / "a.xyz").write_text(xyz(comment))
    doors.append(lambda: build_molecule(chosen, serial_comm))
    for door, where in zip(doors, ("b.xyz, frame 1: ", "a.xyz: "), strict=True):
        if words is None:
            door()
            continue
        with pytest.raises(DataFileError) as caught:
            door()
        assert all(word in str(caught.value) for word in (*words, where))


def test_a_trajectory_file_has_the_cell_of_its_run(tmp_path, serial_comm):
    structure = Structure(("O", "H", "H"), np.zeros((3, 3)), cell_vv=12.0 * np.eye(3), periodic=(True,) * 3)
    (tmp_path / "a.xyz").write_text(xyz())
    chosen = settings(tmp_path, PERIODIC)
    molecule = build_molecule(chosen, serial_comm)
    write_geometries(tmp_path / "t.extxyz", structure, molecule.positions_av[None])
    with pytest.raises(DataFileError, match="12 x 12 x 12 bohr"):
        read_frames(chosen, molecule, tmp_path / "t.extxyz", serial_comm)


def test_frames_of_a_trajectory_keep_cell_and_masses(monkeypatch, tmp_path):
    known = {"symbols": ("H", "H"), "masses_a": np.array([3670.0, 1837.0]), "box_v": np.array([8.0, 9.0, 10.0])}
    frames_tav = np.arange(12.0).reshape(2, 2, 3)
    (tmp_path / "t.h5").write_bytes(b"stand-in")
    for boundary, positions_tav in (("periodic", frames_tav), ("none", frames_tav), ("none", frames_tav[:0])):
        box_v = known["box_v"] if boundary == "periodic" else None
        found = SimpleNamespace(positions_tav=positions_tav, **known | {"box_v": box_v})
        monkeypatch.setattr("mpiqmd.exchange.structure_files.open_runs", lambda path, found=found: [found])
        if not len(positions_tav):
            with pytest.raises(DataFileError, match="it holds no geometry"):
                read_structures(tmp_path / "t.h5")
            continue
        structures = read_structures(tmp_path / "t.h5")
        is_periodic = boundary == "periodic"
        assert structures[1].positions_av == pytest.approx(frames_tav[1]) and structures[0].periodic == (is_periodic,) * 3
        assert (structures[0].cell_vv is not None) == is_periodic and structures[0].masses_a[0] == 3670.0
        assert not is_periodic or np.array_equal(structures[0].cell_vv, np.diag(known["box_v"]))


def test_masses_of_the_file_are_the_molecules(tmp_path, serial_comm):
    (tmp_path / "a.xyz").write_text(columns("masses:R:1", D2O))
    assert build_molecule(settings(tmp_path), serial_comm).masses_a / DALTON_IN_ELECTRON_MASS == pytest.approx(D2O)
    agreeing = {"masses": ["15.999 Da", "2.0141 Da", "2.0141 Da"]}
    molecule = build_molecule(settings(tmp_path, system=agreeing), serial_comm)
    assert molecule.masses_a[1] / DALTON_IN_ELECTRON_MASS == pytest.approx(2.0141)
    with pytest.raises(MpiqmdError, match=r"system.masses is \[.*\] electron masses, the structure .* says .*remove one"):
        build_molecule(settings(tmp_path, system={"masses": ["15.999 Da", "1.008 Da", "1.008 Da"]}), serial_comm)


def test_deuterium_in_an_input(tmp_path, serial_comm):
    tables = {
        "system": {"symbols": ["O", "D", "H"], "positions": [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]},
        "grid": {"cell": 10.0, "points": 24},
    }
    molecule = build_molecule(parse_input(tables, tmp_path), serial_comm)
    assert molecule.symbols == ("O", "H", "H")
    assert molecule.masses_a / DALTON_IN_ELECTRON_MASS == pytest.approx([15.999, 2.01410178, 1.008])
    tables["system"]["masses"] = ["15.999 Da"] + ["1.008 Da"] * 2
    with pytest.raises(MpiqmdError, match="Both must agree"):
        build_molecule(parse_input(tables, tmp_path), serial_comm)


def test_masses_of_frames_must_be_the_inputs(tmp_path, serial_comm):
    (tmp_path / "a.xyz").write_text(xyz())
    chosen = settings(tmp_path)
    molecule = build_molecule(chosen, serial_comm)
    older = (15.9994, 1.00794, 1.00794)
    for masses, fits in ((older, True), (D2O, False)):
        (tmp_path / "b.xyz").write_text(columns("masses:R:1", masses))
        if fits:
            assert len(read_frames(chosen, molecule, tmp_path / "b.xyz", serial_comm)) == 1
            continue
        with pytest.raises(DataFileError, match=r"masses are \[15.999, 2.014, 2.014\] Da, the input's \[15.999, 1.008"):
            read_frames(chosen, molecule, tmp_path / "b.xyz", serial_comm)


def test_fixed_atoms_must_be_the_pinned_ones(tmp_path, serial_comm):
    (tmp_path / "a.xyz").write_text(columns("move_mask:L:1", ["F", "T", "F"]))
    with pytest.raises(DataFileError, match=r"atoms \[0, 2\] are held fixed, the input's md.pinned is \[\]"):
        build_molecule(settings(tmp_path), serial_comm)
    assert len(build_molecule(settings(tmp_path, md={"pinned": [2, 0]}), serial_comm)) == 3


def test_what_is_written_comes_back(tmp_path):
    masses_a = np.array([15.999, 2.014, 2.014]) * DALTON_IN_ELECTRON_MASS
    positions_av = np.array([row[1:] for row in ROWS]) / BOHR_IN_ANGSTROM
    written = Structure(("O", "H", "H"), positions_av, masses_a, np.diag([10.0, 11.0, 12.0]), (True,) * 3, 2)
    arrays = np.array([positions_av, positions_av + 0.1]), np.array([-1.0, -2.0]), np.zeros((2, 3, 3))
    for number, found in enumerate(
        (
            write_structures(tmp_path / "a.extxyz", written, *arrays) or read_structures(tmp_path / "a.extxyz"),
            write_geometries(tmp_path / "b.xyz", written, arrays[0]) or read_structures(tmp_path / "b.xyz"),
        )
    ):
        assert len(found) == 2, number
        assert found[1].positions_av == pytest.approx(positions_av + 0.1, abs=1e-7)
        assert found[0].cell_vv == pytest.approx(written.cell_vv) and found[0].periodic == (True,) * 3
        assert (found[0].charge, found[0].pinned) == (2, ()) and same_masses(found[0].masses_a, masses_a)


def test_an_ordinary_molecule_is_written_plainly(tmp_path):
    structure = Structure(("He",), np.zeros((1, 3)), charge=0)
    write_geometries(tmp_path / "a.xyz", structure, np.zeros((1, 1, 3)))
    text = (tmp_path / "a.xyz").read_text()
    assert "masses" not in text and "charge" not in text and "Lattice" not in text and 'pbc="F F F"' in text


def test_results_of_others_do_no_harm(tmp_path):
    atoms = Atoms("OHH", positions=[row[1:] for row in ROWS])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((3, 3)), charges=[0.5, 0.1, 0.2], magmom=0.0)
    atoms.set_velocities(np.ones((3, 3)))
    write(tmp_path / "a.extxyz", atoms, parallel=False)
    (structure,) = read_structures(tmp_path / "a.extxyz")
    assert (structure.charge, structure.masses_a, structure.pinned) == (None, None, ())


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_packed_files_are_read_but_no_bombs(tmp_path, ending):
    import bz2
    import gzip
    import lzma

    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[ending]
    with opener(tmp_path / f"a.xyz{ending}", "wb") as stream:
        stream.write(xyz(labels=("O", "D", "H1")).encode("utf-8-sig"))
    assert read_structures(tmp_path / f"a.xyz{ending}")[0].symbols == ("O", "H", "H")
    if ending != ".gz":
        return
    with opener(tmp_path / "b.xyz.gz", "wb", compresslevel=1) as stream:
        for _ in range(LARGEST_FILE // 1_000_000 + 1):
            stream.write(b" " * 1_000_000)
    with pytest.raises(DataFileError, match=f"at most {LARGEST_FILE} are read"):
        read_structures(tmp_path / "b.xyz.gz")


@pytest.mark.parametrize("start", ["\ufeff", ""])
def test_line_ends_and_marks_of_other_systems(tmp_path, start):
    (tmp_path / "a.xyz").write_bytes((start + xyz().replace("\n", "\r\n")).encode())
    assert read_structures(tmp_path / "a.xyz")[0].symbols == ("O", "H", "H")
