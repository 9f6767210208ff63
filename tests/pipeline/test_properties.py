"""What ``mpiqmd scf`` says beside the energy: dipole moment, gap, largest force, formula and labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase import Atoms
from ase.io.cube import read_cube

from mpiqmd.cli import parse_arguments
from mpiqmd.kohnsham.properties import dipole_line, frontier_levels, frontier_line
from mpiqmd.molecule.evaluation import largest_force
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline import scf
from mpiqmd.pipeline.job import load_input
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.workplace import WATER, with_keys

TURNED = [[0.1, -0.2, 0.15], [1.0, 0.6, -1.1], [-0.4, 0.9, 1.45]]
HELIUM_HYDRIDE = """
[system]
symbols = ["He", "H"]
positions = [[{x}, 0.0, 0.0], [{x_2}, 0.3, 0.2]]
charge = 1
[grid]
cell = 9.0
points = 28
order = 8
density = "finer"
"""


def dipole_of_the_cube(path):
    """Return ions minus electrons of a density.cube, atomic units."""
    with open(path) as stream:
        cube = read_cube(stream)
    steps_vv, density = cube["spacing"] / BOHR_IN_ANGSTROM, cube["data"]
    points = np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij"), axis=-1) @ steps_vv
    points = points + np.asarray(cube["origin"]) / BOHR_IN_ANGSTROM
    electrons_v = np.einsum("xyz,xyzv->v", density, points) * abs(np.linalg.det(steps_vv))
    atoms: Atoms = cube["atoms"]
    valences_a = np.array([{"O": 6.0, "H": 1.0}[symbol] for symbol in atoms.symbols])
    return valences_a @ (atoms.positions / BOHR_IN_ANGSTROM) - electrons_v


@pytest.mark.parametrize("frame", ["lab", "body"])
def test_the_dipole_is_that_of_ions_and_density(bench, frame):
    path = bench.write("turned.toml", with_keys(WATER, system={"positions": TURNED}, scf={"frame": frame}))
    result = bench.run("scf", path, "--density", "--output", bench.folder / "scf")
    expected_v = bench.once(dipole_of_the_cube, bench.folder / "scf" / "density.cube")
    assert result["dipole"] == pytest.approx(expected_v, abs=2e-3) and np.linalg.norm(expected_v) > 0.5
    middle_v = np.mean(TURNED[1:], axis=0) - TURNED[0]
    assert np.cross(result["dipole"], middle_v) == pytest.approx(np.zeros(3), abs=0.15)
    assert result["formula"] == "H2O" and result["labels"] == ["O1", "H2", "H3"]
    assert result["largest_force"] == pytest.approx(np.linalg.norm(result["forces"], axis=1).max(), rel=1e-12)


def test_an_ion_has_the_dipole_of_its_centre_of_mass(bench):
    """About the centre of the cell, half a bohr would change it by half an atomic unit."""
    found = []
    for x in (0.0, -0.45):
        path = bench.write("ion.toml", HELIUM_HYDRIDE.format(x=x, x_2=x + 1.4))
        found.append(bench.run("scf", path, "--output", bench.folder / "ion", "--overwrite")["dipole"])
    assert found[1] == pytest.approx(found[0], abs=0.03)


def test_a_periodic_cell_has_no_dipole(bench):
    path = bench.write("periodic.toml", with_keys(WATER, grid={"boundary": "periodic"}))
    assert bench.run("scf", path, "--output", bench.folder / "scf")["dipole"] is None


def test_the_gap_needs_an_empty_level(bench):
    results = []
    for solver, empty in (("abpg", 0), ("abpg", 2), ("slepc", 2)):
        path = bench.write("gap.toml", with_keys(WATER, scf={"solver": solver, "empty_orbitals": empty}))
        results.append(bench.run("scf", path, "--output", bench.folder / "gap", "--overwrite"))
    without, direct, slepc = results
    assert without["gap"] is None and without["lumo"] is None
    assert without["homo"] == without["eigenvalues"][-1] == pytest.approx(direct["homo"], abs=1e-5)
    assert direct["gap"] == direct["eigenvalues"][4] - direct["eigenvalues"][3] > 0.1
    assert direct["gap"] == pytest.approx(slepc["gap"], abs=1e-3)


def test_the_summary_says_it_all(comm, shared_tmp_path):
    path = shared_tmp_path / "water.toml"
    if comm.rank == 0:
        path.write_text(WATER)
    comm.Barrier()
    arguments = parse_arguments(["scf", str(path)])
    arguments.settings, stream = load_input(path), io.StringIO()
    log = Log(comm, stream)
    scf.run(arguments, comm, log)
    log.release()
    if comm.rank == 0:
        text = stream.getvalue()
        for part in ("H2O: 8 electrons", "free energy of the electrons", "dipole moment", "D, (", "largest ", "\n  H3 "):
            assert part in text
        assert "scf.empty_orbitals" in text and text.isascii()


@pytest.mark.serial
@pytest.mark.parametrize(
    ("levels", "occupations", "homo", "lumo", "gap"),
    [
        ([-1.0, -0.5, -0.1], [1.0, 1.0, 0.0], -0.5, -0.1, 0.4),
        ([-1.0, -0.5], [1.0, 1.0], -0.5, None, None),
        ([-1.0, -0.5, -0.5, 0.2], [1.0, 0.5, 0.5, 0.0], -0.5, -0.5, 0.0),
        ([-1.0, -0.5, -0.5, -0.5, 0.2], [1.0, 2 / 3, 2 / 3, 2 / 3, 0.0], -0.5, -0.5, 0.0),
        ([-1.0, -0.50, -0.45, 0.2], [1.0, 0.9, 0.1, 0.0], -0.5, -0.45, 0.05),
        ([0.3], [0.0], None, 0.3, None),
    ],
)
def test_frontier_levels(levels, occupations, homo, lumo, gap):
    found = frontier_levels(np.array(levels), np.array(occupations))
    for name, value in (("homo", homo), ("lumo", lumo), ("gap", gap)):
        assert found[name] == (None if value is None else pytest.approx(value))
    assert ("scf.empty_orbitals" in frontier_line(found)) == (gap is None)


@pytest.mark.serial
def test_lines_have_the_units_people_use():
    assert dipole_line(np.array([0.0, 0.0, -0.72987]), 0) == "dipole moment 1.8551 D, (0.00000 0.00000 -0.72987) a.u."
    assert "centre of mass" in dipole_line(np.array([0.1, 0.0, 0.0]), -1)
    assert "(27.211 eV)" in frontier_line({"homo": -0.5, "lumo": 0.5, "gap": 1.0})
    assert "unbound" in frontier_line({"homo": -0.5, "lumo": 0.5, "gap": 1.0})
    assert largest_force(np.array([[3e-3, 4e-3, 0.0], [0.0, 0.0, 1e-3]])) == pytest.approx(5e-3)
