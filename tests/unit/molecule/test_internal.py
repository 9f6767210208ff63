"""Names of atoms and molecules; bonds, angles and dihedral angles of known geometries, and ASE as the judge."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.internal import chains, internal_coordinates, measure
from mpiqmd.molecule.labels import hill_formula, labels
from mpiqmd.units import BOHR_IN_ANGSTROM

pytestmark = pytest.mark.serial
WATER = ("O", "H", "H")


def geometry(name: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Return symbols and positions (bohr) of a molecule of ASE's collection."""
    atoms = ase_molecule(name)
    return tuple(atoms.symbols), atoms.positions / BOHR_IN_ANGSTROM


def peroxide(dihedral: float) -> tuple[tuple[str, ...], np.ndarray]:
    """Return H2O2 (H, O, O, H) with this dihedral angle (degrees), O-O along z, angles of 100 degrees."""
    lean, turn = np.radians(100.0), np.radians(dihedral)
    first = np.array([np.sin(lean), 0.0, np.cos(lean)]) * 1.85
    last = np.array([np.sin(lean) * np.cos(turn), np.sin(lean) * np.sin(turn), -np.cos(lean)]) * 1.85
    top = np.array([0.0, 0.0, 2.75])
    return ("H", "O", "O", "H"), np.array([first, np.zeros(3), top, top + last])


def test_labels_count_all_atoms_from_one():
    assert labels(WATER) == ("O1", "H2", "H3")
    assert labels(()) == ()


@pytest.mark.parametrize(
    ("symbols", "formula"),
    [("OHH", "H2O"), ("OCOHH", "CH2O2"), (["Si"] + ["H"] * 4, "H4Si"), ("HHHN", "H3N"), (["H", "Cl"], "ClH"),
     ("HCN", "CHN"), (["Br", "C", "H", "H", "H"], "CH3Br"), ("OCO", "CO2"), (["Na"], "Na"), ("", "")],
)  # fmt: skip
def test_hill_formula(symbols, formula):
    assert hill_formula(symbols) == formula


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "HCOOH", "C2H6", "NH3", "SiH4", "H2O2", "HCN", "C6H6", "CH3CHO"])
def test_formula_of_ase(name):
    symbols, _ = geometry(name)
    assert hill_formula(symbols) == Atoms(symbols).get_chemical_formula("hill")


def test_water_has_two_bonds_and_an_angle():
    positions_av = water_positions(1.83, 1.9, np.radians(104.5))
    first, second, angle = internal_coordinates(WATER, np.array([positions_av] * 2))
    assert [c.label for c in (first, second, angle)] == ["O1-H2", "O1-H3", "H2-O1-H3"]
    assert [c.unit for c in (first, second, angle)] == ["bohr", "bohr", "degrees"]
    assert first.values_t == pytest.approx([1.83] * 2) and second.values_t == pytest.approx([1.9] * 2)
    assert angle.values_t == pytest.approx([104.5] * 2)
    shuffled = internal_coordinates(("H", "O", "H"), positions_av[None, [1, 0, 2]])
    assert [c.key for c in shuffled] == ["bond_O2-H1", "bond_O2-H3", "angle_H1-O2-H3"]


@pytest.mark.parametrize("angle", [1e-7, 0.5, 2.0, np.pi - 1e-7])
def test_angle_is_accurate_everywhere(angle):
    positions_av = np.array([[2.0, 0, 0], [0, 0, 0], [3 * np.cos(angle), 3 * np.sin(angle), 0]])
    assert np.radians(measure(positions_av, (0, 1, 2))) == pytest.approx(angle, rel=1e-8)
    assert measure(positions_av, (1, 2)) == pytest.approx(3.0, rel=1e-15)


@pytest.mark.parametrize("dihedral", [-179.5, -114.4, -1e-6, 0.0, 1e-6, 60.0, 114.4, 180.0])
def test_dihedral_of_peroxide_has_its_sign(dihedral):
    symbols, positions_av = peroxide(dihedral)
    *_, found = internal_coordinates(symbols, positions_av[None])
    assert found.label == "H1-O2-O3-H4" and found.key == "dihedral_H1-O2-O3-H4"
    assert found.values_t == pytest.approx([dihedral], abs=1e-9)
    mirrored = positions_av * [1.0, -1.0, 1.0]
    assert (measure(mirrored, found.atoms) + dihedral + 180.0) % 360.0 == pytest.approx(180.0, abs=1e-9)


@pytest.mark.parametrize("name", ["CH3OH", "HCOOH", "C2H6", "NH3", "SiH4", "H2O2", "CH3CHO", "C6H6"])
def test_ase_measures_the_same(name):
    symbols, positions_av = geometry(name)
    atoms = ase_molecule(name)
    for found in internal_coordinates(symbols, positions_av[None]):
        value = found.values_t[0]
        if found.kind == "bond":
            assert value * BOHR_IN_ANGSTROM == pytest.approx(atoms.get_distance(*found.atoms))
        elif found.kind == "angle":
            assert value == pytest.approx(atoms.get_angle(*found.atoms))
        else:
            assert value % 360.0 == pytest.approx(atoms.get_dihedral(*found.atoms), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("C2H6", (7, 12, 9)), ("CH3OH", (5, 7, 3)), ("HCOOH", (4, 4, 2)), ("HCN", (2, 1, 0)), ("NH3", (3, 3, 0)),
     ("C6H6", (12, 18, 24)), ("CO2", (2, 1, 0)), ("C2H2", (3, 2, 0)), ("SiH4", (4, 6, 0))],
)  # fmt: skip
def test_number_of_bonds_angles_and_dihedrals(name, counts):
    found = chains(*geometry(name))
    assert tuple(sum(len(chain) == n for chain in found) for n in (2, 3, 4)) == counts
    assert len({frozenset((chain, chain[::-1])) for chain in found}) == len(found)


def test_frames_keep_the_coordinates_of_the_reference_and_lines_are_no_numbers():
    symbols, bent = peroxide(100.0)
    straight = bent.copy()
    straight[0] = [0.0, 0.0, -1.85]
    *_, dihedral = internal_coordinates(symbols, np.array([bent, straight]))
    assert dihedral.values_t[0] == pytest.approx(100.0) and np.isnan(dihedral.values_t[1])
    assert len(internal_coordinates(symbols, straight[None])) == 5
    assert len(internal_coordinates(symbols, straight[None], reference_av=bent)) == 6


def test_dihedrals_differ_by_the_short_way():
    one, other = (internal_coordinates(*(s, p[None]))[-1] for s, p in (peroxide(179.0), peroxide(-178.0)))
    assert one.minus(other) == pytest.approx([-3.0]) and other.minus(one) == pytest.approx([3.0])


def test_bonds_of_other_molecules():
    assert guess_bonds(("H", "H"), np.array([[0, 0, 0], [0, 0, 9.0]])) == [(0, 1)]
    assert chains(("H", "H"), np.array([[0, 0, 0], [0, 0, 1.4]])) == [(0, 1)]
    assert internal_coordinates(("He",), np.zeros((4, 1, 3))) == []


def test_periodic_cells_bond_the_nearest_images():
    positions_av = water_positions(1.83, 1.83, np.radians(104.5))
    edges_v = np.array([8.0, 9.0, 10.0])
    moved_av = positions_av + edges_v * np.array([[0, 0, 0], [1, -2, 0], [0, 0, 5]])
    assert guess_bonds(WATER, moved_av, edges_v) == [(0, 1), (0, 2)]
    values = [c.values_t[0] for c in internal_coordinates(WATER, moved_av[None], edges_v)]
    assert values == pytest.approx([1.83, 1.83, 104.5])
