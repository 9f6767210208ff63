"""``mpiqmd init``: an input that is right as it is written, for molecules anywhere in their file, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.constraints import FixAtoms
from ase.io import write
from scipy.spatial.transform import Rotation

from mpiqmd.cli import parse_arguments
from mpiqmd.config import load_input
from mpiqmd.molecule.fitted_cell import room
from mpiqmd.molecule.gth import smallest_radius
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.proposal import propose
from mpiqmd.pipeline.build import align, build_molecule
from mpiqmd.pipeline.job import run_job
from mpiqmd.units import BOHR_IN_ANGSTROM


@pytest.fixture
def init(bench, monkeypatch, capfd):
    """Return a function that writes a molecule to a file, runs init on it in its folder, and returns status and output."""
    monkeypatch.chdir(bench.folder)

    def run(atoms, *words, name="molecule.xyz"):
        bench.once(lambda: write(name, atoms, parallel=False))
        bench.comm.Barrier()
        capfd.readouterr()
        status = run_job(parse_arguments(["init", name, *words]), bench.comm)
        out, err = capfd.readouterr()
        return status, bench.comm.bcast(out + err, root=0)

    return run


@pytest.mark.parametrize("name", ["H2CO", "H2O", "H2O2", "SiH4", "N2", "HCN", "CH3OH"])
def test_the_input_is_read_and_its_cell_fits(init, bench, name):
    """Wherever the molecule lies in its file and however it is turned."""
    atoms = ase_molecule(name)
    atoms.positions = atoms.positions @ Rotation.random(random_state=1).as_matrix().T + [3.0, -2.0, 7.0]
    status, text = init(atoms)
    assert status == 0 and atoms.get_chemical_formula("hill") in text and text.isascii()
    settings = load_input(bench.folder / "molecule.toml")
    molecule = Molecule(tuple(atoms.symbols), atoms.positions / BOHR_IN_ANGSTROM)
    alignment = align(settings, molecule)
    assert alignment is not None
    rooms_a = np.array([room(symbol) for symbol in molecule.symbols])
    spare_v = 0.5 * np.array(settings.grid.cell) - (np.abs(alignment.body_positions_av) + rooms_a[:, None]).max(axis=0)
    assert (spare_v > -1e-6).all()
    assert np.array(settings.grid.cell) / settings.grid.points == pytest.approx(settings.grid.spacing)
    assert settings.xc.functional == "PBE" and settings.grid.density == "same" and settings.scf.frame == "body"
    assert settings.train.sampling == "normal-modes" and settings.system.charge == 0
    lines = [line for line in text.splitlines() if line.strip()]
    assert "points in" in lines[-1] and "GB of memory" in lines[-1]


def test_the_input_runs(init, bench):
    """As it is written, but for a grid of a tenth of a second."""
    assert init(ase_molecule("H2"))[0] == 0
    text = bench.once(lambda: (bench.folder / "molecule.toml").read_text())
    text = bench.comm.bcast(text, root=0).replace("spacing = 0.2 ", "spacing = 0.6 ")
    result = bench.run("scf", bench.write("coarse.toml", text), "--output", bench.folder / "scf")
    assert result["converged"] and result["formula"] == "H2"


def test_charge_and_names_are_kept(init, bench):
    hydronium = ase_molecule("H2O") + Atoms("H", [[0.0, 0.0, 1.2]])
    status, _ = init(hydronium, "--charge", "1", "--input", "cation.toml", name='an "ion".xyz')
    settings = load_input(bench.folder / "cation.toml")
    assert status == 0 and settings.system.charge == 1
    assert settings.system.structure == bench.folder / 'an "ion".xyz'


def test_what_the_file_says_is_in_the_input(init, bench):
    """Charge and atoms held fixed: without them the input would be refused, which says what its structure does not."""
    hydronium = ase_molecule("H2O") + Atoms("H", [[0.0, 0.0, 1.2]])
    hydronium.set_initial_charges([1.0, 0.0, 0.0, 0.0])
    hydronium.set_constraint(FixAtoms([0, 2]))
    assert init(hydronium, name="ion.traj")[0] == 0
    settings = load_input(bench.folder / "ion.toml")
    assert settings.system.charge == 1 and settings.md.pinned == (0, 2)
    molecule = build_molecule(settings, bench.comm)
    assert molecule.charge == 1 and molecule.formula == "H3O"
    status, text = init(hydronium, "--charge", "-1", "--overwrite", name="ion.traj")
    assert status == 1 and "--charge -1 contradicts ion.traj, which says +1" in text


def test_the_structure_is_found_from_the_input(init, bench):
    bench.once(lambda: (bench.folder / "inputs").mkdir())
    bench.comm.Barrier()
    assert init(ase_molecule("H2O"), "--input", "inputs/water.toml")[0] == 0
    assert load_input(bench.folder / "inputs" / "water.toml").system.structure.resolve().is_file()


def test_nothing_is_replaced_unasked(init, bench):
    path = bench.write("molecule.toml", "mine")
    status, text = init(ase_molecule("H2O"))
    assert status == 1 and "--overwrite" in text and bench.once(path.read_text) in ("mine", None)
    assert init(ase_molecule("H2O"), "--overwrite")[0] == 0
    assert bench.once(path.read_text) != "mine"


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("CH3", ase_molecule("CH3").positions), "7 valence electrons"),
        (ase_molecule("CH3"), "magnetic moments, up to 1"),
        ([ase_molecule("H2O")] * 2, "2 geometries"),
        (Atoms("OHH", [[0, 0, 0], [0, 0, 0.01], [0, 1, 0]]), "apart"),
    ],
)
def test_what_cannot_be_computed_is_refused(init, bench, atoms, words):
    status, text = init(atoms)
    assert status == 1 and words in text
    assert not (bench.folder / "molecule.toml").exists()


@pytest.mark.serial
def test_the_spacing_is_that_of_the_hardest_element():
    """Cores of the table, silicon's capped: 0.221 for oxygen's projectors, 0.2 for hydrogen."""
    assert smallest_radius("O", "PBE") == pytest.approx(0.22095592) and smallest_radius("H", "PBE") == pytest.approx(0.2)
    for symbols, hardest, spacing in (
        (("Si", "Si"), "Si", 0.3),
        (("O", "O"), "O", 0.19),
        (("O", "H"), "O", 0.19),
        (("N", "H"), "H", 0.2),
    ):
        found = propose(Molecule(symbols, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])))
        assert (found.hardest, found.spacing) == (hardest, spacing)


@pytest.mark.serial
def test_the_input_has_the_whole_name_of_the_structure(init, bench):
    assert init(ase_molecule("H2O"), name="water.v2.xyz")[0] == 0
    assert load_input(bench.folder / "water.v2.toml").system.structure.name == "water.v2.xyz"


@pytest.mark.serial
def test_a_name_that_is_no_text_is_refused_in_words(init, bench):
    status, said = init(ase_molecule("H2O"), "--input", "water.toml", name="w\udcff.xyz")
    assert status == 1 and "is not in UTF-8" in said
    assert not (bench.folder / "water.toml").exists()


@pytest.mark.parametrize(("name", "bond"), [("H2O2", "O1-O2"), ("CH3OH", "C1-O2"), ("H2CO", None)])
def test_bonds_that_may_turn_are_named(init, bench, name, bond):
    assert init(ase_molecule(name))[0] == 0
    lines = bench.once(lambda: (bench.folder / "molecule.toml").read_text().splitlines())
    turning = [line for line in lines if 'sampling = "torsion"' in line]
    assert len(turning) == (bond is not None)
    assert all(f"{bond} may turn" in line and line.startswith("#") for line in turning)
