"""Axis flips that map a molecule onto itself, and the orientation that shows them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import (
    grid_mirrors,
    mirror_image,
    standard_orientation,
    symmetrised,
    symmetrised_hessian,
)
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial


def flips(molecule, **options):
    return {tuple(signs.astype(int)): list(permutation_a) for signs, permutation_a in grid_mirrors(molecule, **options)}


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
    assert len(grid_mirrors(ethene)) == 7
    for signs, permutation_a in grid_mirrors(ethene):
        assert ethene.positions_av * signs == pytest.approx(ethene.positions_av[permutation_a])


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
    assert len(grid_mirrors(oriented, tolerance=1e-6)) == n_mirrors
    lengths = [np.linalg.norm(m.positions_av[1:] - m.positions_av[0], axis=1) for m in (molecule, oriented)]
    assert lengths[0] == pytest.approx(lengths[1])
    # a proper rotation: the handedness is that of the original
    volumes = [np.linalg.det((m.positions_av - m.centre_of_mass_v)[:3]) for m in (turned, oriented)]
    assert volumes[0] == pytest.approx(volumes[1], abs=1e-9)


def test_a_nearly_symmetric_molecule_becomes_symmetric():
    nearly = water(1.83, 1.84)
    symmetric = symmetrised(nearly, grid_mirrors(nearly, tolerance=0.05))
    assert len(grid_mirrors(symmetric, tolerance=1e-12)) == 3
    assert np.abs(symmetric.positions_av - nearly.positions_av).max() < 0.006
    again = symmetrised(symmetric, grid_mirrors(symmetric))
    assert again.positions_av == pytest.approx(symmetric.positions_av, abs=1e-15)


def test_a_symmetrised_hessian_commutes_with_the_mirrors(rng):
    molecule = water()
    mirrors = grid_mirrors(molecule)
    matrix = rng.normal(size=(9, 9))
    hessian = symmetrised_hessian(matrix + matrix.T, mirrors)
    for mirror in mirrors:
        operation = np.array([mirror_image(unit.reshape(3, 3), mirror).ravel() for unit in np.eye(9)]).T
        assert operation @ hessian == pytest.approx(hessian @ operation, abs=1e-13)
    assert symmetrised_hessian(hessian, mirrors) == pytest.approx(hessian, abs=1e-14)
    assert np.abs(hessian - matrix - matrix.T).max() > 0.1
