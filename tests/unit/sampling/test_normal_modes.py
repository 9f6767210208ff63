"""Normal modes of a spring model whose frequencies are known in closed form, and the boxes built on them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import internal_coordinates, water_positions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import random_rotation
from mpiqmd.sampling.normal_modes import normal_mode_samples, normal_modes

pytestmark = pytest.mark.serial

STRETCH, BEND, LENGTH, ANGLE = 0.54, 0.15, 1.81, np.radians(104.5)


def wilson_vectors(positions_av, step=1e-5):
    """Derivatives of (L1, L2, theta) by the Cartesian coordinates, shape (3, 9), by central differences."""
    derivatives = np.empty((3, 9))
    for column in range(9):
        moved = [positions_av.ravel().copy() for _ in range(2)]
        moved[0][column] += step
        moved[1][column] -= step
        upper, lower = (np.array(internal_coordinates(flat.reshape(3, 3))) for flat in moved)
        derivatives[:, column] = (upper - lower) / (2 * step)
    return derivatives


def spring_hessian(positions_av):
    """At the minimum the Hessian of sum f_i (q_i - q_i0)^2 / 2 is B^T f B."""
    vectors = wilson_vectors(positions_av)
    return vectors.T @ np.diag([STRETCH, STRETCH, BEND]) @ vectors


@pytest.fixture
def water(rng):
    positions_av = water_positions(LENGTH, LENGTH, ANGLE) @ random_rotation(rng).T + rng.normal(size=3)
    return Molecule(("O", "H", "H"), positions_av)


def test_frequencies_equal_the_wilson_gf_ones(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    oxygen, hydrogen = water.masses_a[:2]
    cosine, sine = np.cos(ANGLE), np.sin(ANGLE)
    # antisymmetric stretch: f times its G element in closed form
    antisymmetric = np.sqrt(STRETCH * (1 / hydrogen + (1 - cosine) / oxygen))
    g_stretch = 1 / hydrogen + (1 + cosine) / oxygen
    g_bend = 2 / LENGTH**2 * (1 / hydrogen + (1 - cosine) / oxygen)
    g_mixed = -np.sqrt(2) * sine / (LENGTH * oxygen)
    symmetric = np.linalg.eigvals(
        np.array([[g_stretch, g_mixed], [g_mixed, g_bend]]) @ np.diag([STRETCH, BEND])
    )
    expected = np.sort([antisymmetric, *np.sqrt(symmetric)])
    assert modes.frequencies_k == pytest.approx(expected, rel=1e-6)


def test_modes_are_orthonormal_with_masses_and_carry_no_rigid_motion(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    weighted_kav = modes.displacements_kav * water.masses_a[:, None]
    overlaps_kk = np.einsum("kav,lav->kl", weighted_kav, modes.displacements_kav)
    assert overlaps_kk == pytest.approx(np.eye(3), abs=1e-12)
    assert weighted_kav.sum(axis=1) == pytest.approx(np.zeros((3, 3)), abs=1e-10)
    angular_kv = np.cross(water.positions_av - water.centre_of_mass_v, weighted_kav).sum(axis=1)
    assert angular_kv == pytest.approx(np.zeros((3, 3)), abs=1e-9)


@pytest.mark.parametrize("symbols, n_modes", [(("H", "F"), 1), (("O", "C", "O"), 4)])
def test_linear_molecules_have_one_more_vibration(symbols, n_modes, rng):
    line = np.array([[-2.2, 0, 0], [0, 0, 0], [2.2, 0, 0]])[: len(symbols)]
    molecule = Molecule(symbols, line)
    modes = normal_modes(molecule, np.eye(3 * len(symbols)))
    assert len(modes.frequencies_k) == n_modes


def test_diatomic_frequency():
    molecule = Molecule(("H", "F"), [[0, 0, 0], [0, 0, 1.73]])
    hessian = np.zeros((6, 6))
    hessian[np.ix_([2, 5], [2, 5])] = 0.6 * np.array([[1, -1], [-1, 1]])
    reduced_mass = np.prod(molecule.masses_a) / molecule.masses_a.sum()
    assert normal_modes(molecule, hessian).frequencies_k == pytest.approx([np.sqrt(0.6 / reduced_mass)])


def test_deviations_classical_quantum_and_their_limits(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    hot, cold = 50 * modes.frequencies_k[-1], 0.02 * modes.frequencies_k[0]
    assert modes.deviations(1e-3) == pytest.approx(np.sqrt(1e-3) / modes.frequencies_k)
    # equipartition of the mean potential energy, and half the zero-point energy
    assert 0.5 * modes.frequencies_k**2 * modes.deviations(1e-3) ** 2 == pytest.approx(0.5e-3)
    assert modes.deviations(hot, quantum=True) == pytest.approx(modes.deviations(hot), rel=1e-4)
    for temperature in (0.0, cold):
        energies_k = 0.5 * modes.frequencies_k**2 * modes.deviations(temperature, quantum=True) ** 2
        assert energies_k == pytest.approx(0.25 * modes.frequencies_k)


def test_a_displaced_mode_has_the_harmonic_energy(water):
    """Potential energy along q_k is omega_k^2 q_k^2 / 2, to third order in q."""
    modes = normal_modes(water, spring_hessian(water.positions_av))
    for k, frequency in enumerate(modes.frequencies_k):
        amplitude = 1e-3 / frequency
        positions_av = modes.positions(amplitude * np.eye(3)[[k]])[0]
        length_1, length_2, angle = internal_coordinates(positions_av)
        stretches = (length_1 - LENGTH) ** 2 + (length_2 - LENGTH) ** 2
        energy = 0.5 * STRETCH * stretches + 0.5 * BEND * (angle - ANGLE) ** 2
        assert energy == pytest.approx(0.5 * frequency**2 * amplitude**2, rel=0.02)


def test_box_samples(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    samples = normal_mode_samples(modes, 33, temperature=9.5e-4, k_sigma=2.5)
    assert samples.positions_sav.shape == (33, 3, 3)
    assert samples.positions_sav[0] == pytest.approx(water.positions_av, abs=1e-14)
    amplitudes_sk = np.array([list(label.values()) for label in samples.labels])
    assert list(samples.labels[0]) == ["q1", "q2", "q3"]
    assert np.abs(amplitudes_sk).max() <= 2.5
    assert np.abs(amplitudes_sk).max(axis=0).min() > 2.2
    assert len(np.unique(amplitudes_sk, axis=0)) == 33
    # amplitudes come back from the positions by projection
    weighted_kav = modes.displacements_kav * water.masses_a[:, None]
    projected_sk = np.einsum("kav,sav->sk", weighted_kav, samples.positions_sav - water.positions_av)
    assert projected_sk / modes.deviations(9.5e-4) == pytest.approx(amplitudes_sk, abs=1e-10)


def test_scrambled_box_keeps_the_reference_first(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    one, other = (normal_mode_samples(modes, 9, 1e-3, seed=seed) for seed in (1, 2))
    assert one.positions_sav[0] == pytest.approx(water.positions_av)
    assert np.abs(one.positions_sav[1:] - other.positions_sav[1:]).max() > 0.01


def test_what_has_no_normal_modes_is_refused(water):
    hessian = spring_hessian(water.positions_av)
    with pytest.raises(GeometryError, match="minimum"):
        normal_modes(water, -hessian)
    with pytest.raises(GeometryError, match="shape"):
        normal_modes(water, hessian[:6, :6])
    with pytest.raises(ConfigError, match="box"):
        normal_mode_samples(normal_modes(water, hessian), 5, temperature=0.0)
