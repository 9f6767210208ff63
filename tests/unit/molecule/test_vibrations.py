"""Vibrations of spring models against closed forms: frequencies, linear molecules, imaginary modes, infrared intensities."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.vibrations import vibrations
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial

BOND, STRETCH, BEND = 2.2, 0.97, 0.31


def spring(positions_av, i, j, constant):
    """Hessian of ``k (|R_i - R_j| - d)^2 / 2`` at its minimum."""
    hessian = np.zeros((positions_av.size, positions_av.size))
    direction_v = positions_av[i] - positions_av[j]
    block = constant * np.outer(direction_v, direction_v) / (direction_v @ direction_v)
    for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        hessian[3 * a : 3 * a + 3, 3 * b : 3 * b + 3] += sign * block
    return hessian


def carbon_dioxide(rotation=None, bent=0.0):
    positions_av = np.array([[0.0, bent, 0.0], [0.0, 0.0, BOND], [0.0, 0.0, -BOND]])
    return Molecule(("C", "O", "O"), positions_av if rotation is None else positions_av @ rotation.T + [0.3, -1.0, 0.4])


def carbon_dioxide_hessian(molecule):
    """Two springs, and for the bend ``k theta^2 / 2`` with theta the change of the angle at carbon."""
    positions_av = molecule.positions_av
    axis_v = (positions_av[1] - positions_av[2]) / np.linalg.norm(positions_av[1] - positions_av[2])
    hessian = spring(positions_av, 0, 1, STRETCH) + spring(positions_av, 0, 2, STRETCH)
    across = np.eye(3) - np.outer(axis_v, axis_v)
    weights_a = np.array([-2.0, 1.0, 1.0]) / BOND
    return hessian + BEND * np.kron(np.outer(weights_a, weights_a), across)


def test_a_diatomic_has_one_frequency():
    molecule = Molecule(("C", "O"), np.array([[0.1, 0.2, 0.3], [1.3, -0.4, 1.9]]))
    found = vibrations(molecule, spring(molecule.positions_av, 0, 1, 1.2))
    carbon, oxygen = molecule.masses_a
    assert found.frequencies_k == pytest.approx([np.sqrt(1.2 * (1 / carbon + 1 / oxygen))], rel=1e-12)
    assert found.zero_point_energy == pytest.approx(0.5 * found.frequencies_k[0])
    assert found.n_imaginary == 0


def test_a_linear_molecule_has_two_bends(rng):
    molecule = carbon_dioxide(random_rotation(rng))
    found = vibrations(molecule, carbon_dioxide_hessian(molecule))
    carbon, oxygen = molecule.masses_a[:2]
    bend = np.sqrt(BEND * (2 / oxygen + 4 / carbon)) / BOND
    symmetric, antisymmetric = np.sqrt(STRETCH / oxygen), np.sqrt(STRETCH * (1 / oxygen + 2 / carbon))
    assert found.frequencies_k == pytest.approx([bend, bend, symmetric, antisymmetric], rel=1e-10)


@pytest.mark.parametrize("bent", [1e-7, 1e-5, 1e-3])
def test_a_nearly_linear_molecule_keeps_its_bends(bent):
    straight = carbon_dioxide()
    found = vibrations(carbon_dioxide(bent=bent), carbon_dioxide_hessian(straight))
    expected = vibrations(straight, carbon_dioxide_hessian(straight)).frequencies_k
    assert found.frequencies_k == pytest.approx(expected, rel=1e-5)


def test_imaginary_modes_are_negative():
    molecule = carbon_dioxide()
    hessian = carbon_dioxide_hessian(molecule)
    unstable = hessian - 2 * BEND * np.kron(np.outer([-2, 1, 1], [-2, 1, 1]) / BOND**2, np.diag([1.0, 0.0, 0.0]))
    found = vibrations(molecule, unstable)
    stable = vibrations(molecule, hessian).frequencies_k
    assert found.n_imaginary == 1
    assert found.frequencies_k[:2] == pytest.approx([-stable[0], stable[0]], rel=1e-10)
    assert found.zero_point_energy == pytest.approx(0.5 * stable[1:].sum())


def test_modes_are_orthonormal_with_the_masses(rng):
    molecule = carbon_dioxide(random_rotation(rng))
    found = vibrations(molecule, carbon_dioxide_hessian(molecule))
    flat = found.displacements_kav.reshape(4, 9)
    weights = np.repeat(molecule.masses_a, 3)
    assert flat @ (weights[:, None] * flat.T) == pytest.approx(np.eye(4), abs=1e-12)
    assert np.abs(np.tensordot(molecule.masses_a, found.displacements_kav, axes=(0, 1))).max() < 1e-9


def test_dipole_slopes_of_point_charges():
    """mu = sum q_a R_a: only the modes without inversion symmetry absorb, and a diatomic does with q^2 / reduced mass."""
    diatomic = Molecule(("C", "O"), np.array([[0.0, 0, 0], [0, 0, 2.1]]))
    found = vibrations(diatomic, spring(diatomic.positions_av, 0, 1, 1.2))
    gradient_cv = np.kron(np.array([0.2, -0.2])[:, None], np.eye(3))
    slopes_kv = found.dipole_slopes(gradient_cv)
    assert (slopes_kv**2).sum() == pytest.approx(0.04 * (1 / diatomic.masses_a).sum())
    molecule = carbon_dioxide()
    found = vibrations(molecule, carbon_dioxide_hessian(molecule))
    strength_k = (found.dipole_slopes(np.kron(np.array([0.6, -0.3, -0.3])[:, None], np.eye(3))) ** 2).sum(axis=1)
    assert strength_k[2] < 1e-20
    assert strength_k[[0, 1]] == pytest.approx(strength_k[3], rel=1e-9)


def test_an_atom_does_not_vibrate():
    assert len(vibrations(Molecule(("O",), np.zeros((1, 3))), np.zeros((3, 3))).frequencies_k) == 0


@pytest.mark.parametrize("hessian", [np.zeros((6, 6)), np.full((9, 9), np.nan)])
def test_impossible_hessians_are_refused(hessian):
    with pytest.raises(GeometryError, match=r"finite values of shape \(9, 9\)"):
        vibrations(carbon_dioxide(), hessian)
