"""The cell that a molecule needs: room by element, edges in the body frame however the file has it, symmetry kept."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule as ase_molecule
from scipy.spatial.transform import Rotation

from mpiqmd.molecule.elements import SYMBOLS
from mpiqmd.molecule.fitted_cell import ALIKE, FittedCell, body_positions, fit_cell, room
from mpiqmd.molecule.ionisation import IONISATION_ENERGIES
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.symmetry import CUBE, grid_symmetries
from mpiqmd.units import BOHR_IN_ANGSTROM

pytestmark = pytest.mark.serial

SPACING = 0.2
SHAPES = ["H2O", "HCN", "C2H2", "H2CO", "C2H4", "CH3OH", "NH3", "CH4", "SiH4", "C2H6", "BF3", "C3H4_D2d", "C6H6"]
"""Bent, linear, planar, of no symmetry but a mirror, symmetric and spherical tops."""


def turned(name: str, seed: int) -> Molecule:
    """Return a molecule somewhere and in any orientation."""
    atoms = ase_molecule(name)
    turn_vv = Rotation.random(random_state=seed).as_matrix()
    return Molecule(tuple(atoms.symbols), atoms.positions / BOHR_IN_ANGSTROM @ turn_vv.T + [3.0, -7.0, 20.0 * seed])


def spare(molecule: Molecule, cell: FittedCell) -> np.ndarray:
    """Return what is left (3,) between the room of the atoms and the walls, bohr, where the program solves the molecule."""
    reach_av = np.abs(body_positions(molecule, cell.intervals_v))
    rooms_a = np.array([room(symbol) for symbol in molecule.symbols])
    return 0.5 * np.array(cell.edges_v) - (reach_av + rooms_a[:, None]).max(axis=0)


def test_every_element_has_an_ionisation_energy():
    assert list(IONISATION_ENERGIES) == list(SYMBOLS)
    assert min(IONISATION_ENERGIES, key=IONISATION_ENERGIES.__getitem__) == "Cs"
    assert IONISATION_ENERGIES["H"] == pytest.approx(0.5, abs=1e-3)


def test_room_is_short_where_electrons_are_bound_firmly():
    in_order = [room(symbol) for symbol in ("He", "F", "H", "C", "Si", "Al", "Li", "Na")]
    assert in_order == sorted(in_order) and room("Li") > 1.5 * room("F")
    assert room("He") > 5.0 and room("Na") < 12.0


@pytest.mark.parametrize("name", SHAPES)
def test_the_cell_holds_the_molecule_as_it_is_solved(name):
    """The same cell whatever the orientation and place in the file, and not wider than needed along every axis."""
    cells = [fit_cell(turned(name, seed), SPACING) for seed in range(4)]
    assert len({cell.intervals_v for cell in cells}) == 1
    for seed, cell in enumerate(cells):
        spare_v = spare(turned(name, seed), cell)
        assert (spare_v > -1e-6).all() and spare_v.min() < SPACING + ALIKE * max(cell.edges_v)
        assert all(count % 2 == 0 for count in cell.intervals_v)
        assert np.array(cell.edges_v) == pytest.approx(SPACING * np.array(cell.intervals_v))
        assert max(cell.edges_v) <= cell.turning_edge + 2.0 * SPACING


@pytest.mark.parametrize("name", SHAPES)
def test_no_symmetry_is_lost_to_the_edges(name):
    """A cube shows most of it, and the cell as much."""
    molecule = turned(name, 1)
    cell = fit_cell(molecule, SPACING)
    assert cell.symmetries == len(grid_symmetries(oriented(molecule, CUBE), CUBE))
    assert cell.symmetries == len(grid_symmetries(oriented(molecule, cell.intervals_v), cell.intervals_v))


@pytest.mark.parametrize(
    ("name", "symmetries", "kinds"), [("NH3", 5, 1), ("CH4", 23, 1), ("SiH4", 23, 1), ("HCN", 7, 2), ("H2O", 3, 3)]
)
def test_edges_are_equal_where_that_shows_more(name, symmetries, kinds):
    cell = fit_cell(turned(name, 2), SPACING)
    assert (cell.symmetries, len(set(cell.edges_v))) == (symmetries, kinds)


def test_edges_across_a_linear_molecule_are_equal_and_shorter():
    along, *across = fit_cell(turned("HCN", 0), SPACING).edges_v
    assert across[0] == across[1] < along - 4.0


def test_lone_atoms_have_cubes():
    """Helium's is small."""
    helium, sodium = (fit_cell(Molecule((symbol,), np.zeros((1, 3))), SPACING).edges_v for symbol in ("He", "Na"))
    assert len(set(helium)) == len(set(sodium)) == 1 and helium[0] < 0.55 * sodium[0]
