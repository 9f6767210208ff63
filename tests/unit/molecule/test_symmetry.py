"""Operations of the grid that map a molecule onto itself, and the orientation that shows them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented, standard_orientation
from mpiqmd.molecule.symmetry import (
    CUBE,
    Symmetry,
    grid_symmetries,
    inverse_of,
    product_of,
    symmetrised,
    symmetrised_hessian,
)
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial


def flips(molecule, **options):
    found = grid_symmetries(molecule, **options)
    assert all(symmetry.is_flip for symmetry in found)
    return {tuple(symmetry.signs_v.astype(int)): list(symmetry.permutation_a) for symmetry in found}


def water(length_1=1.83, length_2=1.83):
    return Molecule(("O", "H", "H"), water_positions(length_1, length_2, 1.82))


def test_water_has_two_mirrors_and_their_product():
    assert flips(water()) == {(1, 1, -1): [0, 1, 2], (1, -1, 1): [0, 2, 1], (1, -1, -1): [0, 2, 1]}


def test_water_with_unequal_bonds_keeps_its_plane_only():
    assert flips(water(1.83, 1.84)) == {(1, 1, -1): [0, 1, 2]}
    assert len(flips(water(1.83, 1.84), tolerance=0.05)) == 3


def test_isotopes_and_elements_break_the_symmetry():
    heavy = Molecule(("O", "H", "H"), water().positions_av, masses_a=np.array([29164.0, 1837.0, 3671.0]))
    assert list(flips(heavy)) == [(1, 1, -1)]
    mixed = Molecule(("O", "H", "F"), water().positions_av)
    assert list(flips(mixed)) == [(1, 1, -1)]


def test_ethene_has_all_eight():
    corners = [[x, y, 0] for x in (2.33, -2.33) for y in (1.75, -1.75)]
    ethene = Molecule(("C", "C", "H", "H", "H", "H"), [[1.26, 0, 0], [-1.26, 0, 0], *corners])
    assert len(grid_symmetries(ethene)) == 7
    for symmetry in grid_symmetries(ethene):
        assert symmetry.turn(ethene.positions_av) == pytest.approx(ethene.positions_av[symmetry.permutation_a])


def test_peroxide_is_found_by_its_half_turn_alone():
    peroxide = Molecule(("O", "O", "H", "H"), [[1.37, 0, -0.1], [-1.37, 0, -0.1], [1.7, 1.3, 1.0], [-1.7, -1.3, 1.0]])
    assert flips(peroxide) == {(-1, -1, 1): [1, 0, 3, 2]}


@pytest.mark.parametrize("n_hydrogens, n_mirrors", [(2, 3), (3, 1)])
def test_standard_orientation_shows_the_mirrors(n_hydrogens, n_mirrors, rng):
    """XH_n as a pyramid or a bent molecule: three flips for C2v, one mirror for C3v."""
    angles = 2 * np.pi * np.arange(n_hydrogens) / n_hydrogens
    hydrogens = np.column_stack([1.77 * np.cos(angles), 1.77 * np.sin(angles), -0.7 + 0 * angles])
    molecule = Molecule(("N",) + ("H",) * n_hydrogens, np.vstack([np.zeros(3), hydrogens]))
    turned = molecule.with_positions(molecule.positions_av @ random_rotation(rng).T + 1.0)
    oriented = standard_orientation(turned)
    assert oriented.centre_of_mass_v == pytest.approx(np.zeros(3), abs=1e-12)
    assert len(grid_symmetries(oriented, tolerance=1e-6)) == n_mirrors
    lengths = [np.linalg.norm(m.positions_av[1:] - m.positions_av[0], axis=1) for m in (molecule, oriented)]
    assert lengths[0] == pytest.approx(lengths[1])
    # a proper rotation: the handedness is that of the original
    volumes = [np.linalg.det((m.positions_av - m.centre_of_mass_v)[:3]) for m in (turned, oriented)]
    assert volumes[0] == pytest.approx(volumes[1], abs=1e-9)


def test_a_nearly_symmetric_molecule_becomes_symmetric():
    nearly = water(1.83, 1.84)
    symmetric = symmetrised(nearly, grid_symmetries(nearly, tolerance=0.05))
    assert len(grid_symmetries(symmetric, tolerance=1e-12)) == 3
    assert np.abs(symmetric.positions_av - nearly.positions_av).max() < 0.006
    again = symmetrised(symmetric, grid_symmetries(symmetric))
    assert again.positions_av == pytest.approx(symmetric.positions_av, abs=1e-15)


def test_a_symmetrised_hessian_commutes_with_the_operations(rng):
    molecule = water()
    symmetries = grid_symmetries(molecule)
    matrix = rng.normal(size=(9, 9))
    hessian = symmetrised_hessian(matrix + matrix.T, symmetries)
    for symmetry in symmetries:
        operation = np.array([symmetry.image(unit.reshape(3, 3)).ravel() for unit in np.eye(9)]).T
        assert operation @ hessian == pytest.approx(hessian @ operation, abs=1e-13)
    assert symmetrised_hessian(hessian, symmetries) == pytest.approx(hessian, abs=1e-14)
    assert np.abs(hessian - matrix - matrix.T).max() > 0.1


PYRAMID = Molecule(
    ("N", "H", "H", "H"), [[0.0, 0.0, 0.0], *([1.77 * np.cos(t), 1.77 * np.sin(t), -0.7] for t in 2 * np.pi * np.arange(3) / 3)]
)
TETRAHEDRON = Molecule(("C", "H", "H", "H", "H"), [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
STAGGERED = Molecule(
    ("C", "C") + ("H",) * 6,
    [[0, 0, 1.45], [0, 0, -1.45]]
    + [[1.9 * np.cos(t), 1.9 * np.sin(t), 2.2] for t in 2 * np.pi * np.arange(3) / 3]
    + [[1.9 * np.cos(t), 1.9 * np.sin(t), -2.2] for t in 2 * np.pi * (np.arange(3) + 0.5) / 3],
)
FORMALDEHYDE = Molecule(("C", "O", "H", "H"), [[0, 0, 0], [2.28, 0, 0], [-1.1, 1.77, 0], [-1.1, -1.77, 0]])


@pytest.mark.parametrize(
    ("molecule", "order"),
    [(PYRAMID, 6), (TETRAHEDRON, 24), (STAGGERED, 12), (FORMALDEHYDE, 4)],
    ids=["C3v", "Td", "D3d", "C2v"],
)
def test_a_cube_shows_the_whole_group(molecule, order, rng):
    turned = molecule.with_positions(molecule.positions_av @ random_rotation(rng).T + 1.0)
    placed = oriented(turned, CUBE)
    symmetries = grid_symmetries(placed, CUBE, tolerance=1e-9)
    assert len(symmetries) == order - 1
    for symmetry in symmetries:
        assert symmetry.image(placed.positions_av) == pytest.approx(placed.positions_av, abs=1e-9)
    # neither stretched nor turned inside out
    lengths = [np.linalg.norm(m.positions_av[:, None] - m.positions_av, axis=2) for m in (molecule, placed)]
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-9)
    signed = [np.linalg.det((m.positions_av - m.positions_av[-1])[:3]) for m in (turned, placed)]
    assert signed[0] == pytest.approx(signed[1], abs=1e-9)


def test_axes_of_different_sides_stay_where_they_are():
    slab = (0, 0, 1)
    assert all(symmetry.is_flip for symmetry in grid_symmetries(oriented(PYRAMID, (0, 1, 2)), (0, 1, 2)))
    exchanges = {symmetry.axes for symmetry in grid_symmetries(TETRAHEDRON, slab)}
    assert exchanges == {(0, 1, 2), (1, 0, 2)} and len(grid_symmetries(TETRAHEDRON, slab)) == 7


def test_products_and_inverses_are_those_of_the_images(rng):
    vectors_av = rng.normal(size=(5, 3))
    symmetries = grid_symmetries(TETRAHEDRON, CUBE)
    for first in symmetries:
        assert inverse_of(first).image(first.image(vectors_av)) == pytest.approx(vectors_av, abs=1e-14)
        for second in symmetries:
            twice_av = first.image(second.image(vectors_av))
            assert product_of(first, second).image(vectors_av) == pytest.approx(twice_av, abs=1e-14)


def test_what_is_found_is_a_group_also_near_the_tolerance(rng):
    for scale in (1e-4, 3e-4, 1e-3, 3e-3):
        shaken = TETRAHEDRON.with_positions(TETRAHEDRON.positions_av + scale * rng.normal(size=(5, 3)))
        found = [Symmetry((0, 1, 2), np.ones(3), np.arange(5)), *grid_symmetries(shaken, CUBE)]
        keys = {symmetry.key for symmetry in found}
        assert all(product_of(first, second).key in keys for first in found for second in found)


@pytest.mark.parametrize("molecule", [PYRAMID, TETRAHEDRON, STAGGERED, FORMALDEHYDE], ids=["C3v", "Td", "D3d", "C2v"])
def test_the_grid_sees_the_same_molecule_however_it_was_given(molecule, rng):
    """Orientations may differ by operations of the cube, no more: its ripple is then the same."""
    point = Molecule(("He",), [[0.0, 0.0, 0.0]])
    cube = [Symmetry((0, 1, 2), np.ones(3), np.arange(1)), *grid_symmetries(point, CUBE)]
    first = oriented(molecule, CUBE)
    for _ in range(8):
        turned = molecule.with_positions(molecule.positions_av @ random_rotation(rng).T + rng.normal(size=3))
        for again in (oriented(turned, CUBE), oriented(oriented(turned, CUBE), CUBE)):
            atoms = [again.positions_av[[symbol == each for symbol in again.symbols]] for each in sorted(set(again.symbols))]
            wanted = [first.positions_av[[symbol == each for symbol in first.symbols]] for each in sorted(set(first.symbols))]
            assert any(
                all(same_points(symmetry.turn(there), here) for there, here in zip(atoms, wanted, strict=True))
                for symmetry in cube
            )


def same_points(first_av, second_av):
    """Whether every point of the one set is one of the other."""
    distances = np.linalg.norm(first_av[:, None] - second_av, axis=2)
    return distances.min(axis=1).max() < 1e-6 and distances.min(axis=0).max() < 1e-6


@pytest.mark.parametrize("sides", [(0, 0, 1), (0, 1, 2)], ids=["tetragonal", "orthorhombic"])
def test_a_spherical_top_shows_its_twofold_axes_in_any_cell(sides, rng):
    for _ in range(4):
        turned = TETRAHEDRON.with_positions(TETRAHEDRON.positions_av @ random_rotation(rng).T)
        found = grid_symmetries(oriented(turned, sides), sides, tolerance=1e-9)
        assert len(found) == (7 if sides[0] == sides[1] else 3)
