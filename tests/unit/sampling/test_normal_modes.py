"""Normal modes of a spring model whose frequencies are known in closed form, and the boxes built on them."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.sampling.normal_modes import FILLED, ThermalRegion, normal_modes
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial

STRETCH, BEND, LENGTH, ANGLE = 0.54, 0.15, 1.81, np.radians(104.5)


def wilson_vectors(positions_av, step=1e-5):
    """Derivatives of (L1, L2, theta) by the Cartesian coordinates, shape (3, 9), by central differences."""
    derivatives = np.empty((3, 9))
    for column in range(9):
        moved = [positions_av.ravel().copy() for _ in range(2)]
        moved[0][column] += step
        moved[1][column] -= step
        upper, lower = (np.array(bent_coordinates(flat.reshape(3, 3))) for flat in moved)
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
    symmetric = np.linalg.eigvals(np.array([[g_stretch, g_mixed], [g_mixed, g_bend]]) @ np.diag([STRETCH, BEND]))
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
        length_1, length_2, angle = bent_coordinates(positions_av)
        stretches = (length_1 - LENGTH) ** 2 + (length_2 - LENGTH) ** 2
        energy = 0.5 * STRETCH * stretches + 0.5 * BEND * (angle - ANGLE) ** 2
        assert energy == pytest.approx(0.5 * frequency**2 * amplitude**2, rel=0.02)


TEMPERATURE = 9.5e-4


def amplitudes(modes, positions_sav):
    """Amplitudes in standard deviations, which come back from the positions by projection."""
    weighted_kav = modes.displacements_kav * modes.molecule.masses_a[:, None]
    projected_sk = np.einsum("kav,sav->sk", weighted_kav, positions_sav - modes.molecule.positions_av)
    return projected_sk / modes.deviations(TEMPERATURE)


def test_samples_fill_the_region_in_a_fixed_order(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    region = ThermalRegion(modes, TEMPERATURE, width=2.5)
    samples = region.samples(60)
    scaled_sk = np.array([list(label.values()) for label in samples.labels])
    assert list(samples.labels[0]) == ["q1", "q2", "q3"]
    assert amplitudes(modes, samples.positions_sav) == pytest.approx(scaled_sk, abs=1e-10)
    # the reference, both ends of each axis, then thermal motion
    assert samples.positions_sav[0] == pytest.approx(water.positions_av, abs=1e-14)
    assert scaled_sk[1:7] == pytest.approx(2.5 * np.repeat(np.eye(3), 2, axis=0) * np.tile([[1], [-1]], (3, 1)))
    assert np.abs(scaled_sk).max() <= 2.5 + 1e-12
    assert np.linalg.norm(scaled_sk, axis=1).max() <= region.radius + 1e-12
    assert len(np.unique(scaled_sk.round(9), axis=0)) == 60
    assert np.array_equal(region.samples(20).positions_sav, samples.positions_sav[:20])


def test_samples_fill_the_ellipsoid_evenly(water):
    """Moments of a normal distribution, far better than random ones would be; the tails are pulled in."""
    modes = normal_modes(water, spring_hessian(water.positions_av))
    region = ThermalRegion(modes, TEMPERATURE, width=3.0)
    scaled_sk = amplitudes(modes, region.samples(519).positions_sav[7:])
    assert scaled_sk.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.03)
    squares = np.cov(scaled_sk.T)
    assert np.abs(squares - np.diag(np.diag(squares))).max() < 0.08
    assert 0.75 * region.radius < np.sqrt(np.trace(squares)) < FILLED * region.radius
    assert region.spread == pytest.approx(FILLED * region.radius / np.sqrt(3))


def test_the_ellipsoid_holds_as_much_of_all_modes_as_the_box_of_one(water, rng):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    region = ThermalRegion(modes, TEMPERATURE, width=2.0)
    inside = np.linalg.norm(rng.normal(size=(200_000, 3)), axis=1) < region.radius
    assert inside.mean() == pytest.approx(0.9545, abs=2e-3)
    one = Molecule(("H", "F"), [[0, 0, 0], [0, 0, 1.73]])
    assert ThermalRegion(normal_modes(one, np.eye(6)), TEMPERATURE, 2.0).radius == pytest.approx(2.0)


def test_random_geometries_are_thermal(water, rng):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    region = ThermalRegion(modes, TEMPERATURE, width=4.0)
    scaled_sk = amplitudes(modes, region.random(4000, rng))
    assert scaled_sk.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.06)
    assert scaled_sk.std(axis=0) == pytest.approx(np.ones(3), rel=0.05)
    assert np.linalg.norm(scaled_sk, axis=1).max() <= region.radius + 1e-9


def test_how_far_atoms_move(water):
    modes = normal_modes(water, spring_hessian(water.positions_av))
    region = ThermalRegion(modes, TEMPERATURE, width=2.0)
    ends_sav = region.samples(7).positions_sav[1:]
    assert region.reach == pytest.approx(np.linalg.norm(ends_sav - water.positions_av, axis=2).max())


def test_no_sample_is_the_mirror_image_of_another():
    body = Molecule(("O", "H", "H"), water_positions(LENGTH, LENGTH, ANGLE))
    modes = normal_modes(body, spring_hessian(body.positions_av))
    symmetries = grid_symmetries(body)
    positions_sav = ThermalRegion(modes, TEMPERATURE).samples(40, symmetries).positions_sav
    assert len(positions_sav) == 40
    images = [symmetry.image(positions_av) for positions_av in positions_sav for symmetry in symmetries]
    plane = [np.abs(image - positions_sav[s // 3]).max() < 1e-9 for s, image in enumerate(images)]
    others = [np.abs(np.delete(positions_sav, s // 3, axis=0) - image).max(axis=(1, 2)) for s, image in enumerate(images)]
    assert all(plane[s] or differences.min() > 1e-6 for s, differences in enumerate(others))
    assert min(differences.min() for differences in others) > 1e-6
    # the ends of the antisymmetric stretch are images of each other: one is left out
    assert sum(sum(abs(q) > 2.9 for q in row) for row in amplitudes(modes, positions_sav)[1:7]) == 5


def test_what_has_no_normal_modes_is_refused(water):
    hessian = spring_hessian(water.positions_av)
    with pytest.raises(GeometryError, match="minimum"):
        normal_modes(water, -hessian)
    with pytest.raises(GeometryError, match="shape"):
        normal_modes(water, hessian[:6, :6])
    with pytest.raises(ConfigError, match=r"train\.temperature"):
        ThermalRegion(normal_modes(water, hessian), temperature=0.0)


def test_few_geometries_show_all_modes(water):
    """The ends of some axes alone would leave the others out."""
    modes = normal_modes(water, spring_hessian(water.positions_av))
    for count, ends in ((6, False), (7, True)):
        scaled_sk = amplitudes(modes, ThermalRegion(modes, TEMPERATURE).samples(count).positions_sav)
        assert (np.count_nonzero(np.abs(scaled_sk[1:]) > 1e-6, axis=1) == 1).all() == ends
        assert (np.abs(scaled_sk).max(axis=0) > 0.5).all()
