"""The frame of linear molecules: where it puts them, and exact forces whatever an energy makes of a turn about the axis."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.linear import TURNED_FROM, LinearFrame, linear_axis
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.rigid import shortest_rotation
from mpiqmd.molecule.symmetry import grid_symmetries, symmetrised_hessian
from mpiqmd.molecule.vibrations import vibrations
from tests.helpers.rigid_motions import random_rotation
from tests.unit.molecule.test_frame import WavyEnergy, numerical_forces

pytestmark = pytest.mark.serial

DIOXIDE = Molecule(("C", "O", "O"), [[0, 0, 0], [2.2, 0, 0], [-2.2, 0, 0]])
CYANIDE = Molecule(("H", "C", "N"), [[-3.1, 0, 0], [-1.1, 0, 0], [1.1, 0, 0]])
ACETYLENE = Molecule(("C", "C", "H", "H"), [[1.14, 0, 0], [-1.14, 0, 0], [3.15, 0, 0], [-3.15, 0, 0]])
MOLECULES = pytest.mark.parametrize("molecule", [DIOXIDE, CYANIDE, ACETYLENE], ids=["CO2", "HCN", "C2H2"])


class RoundEnergy(WavyEnergy):
    """A wavy energy of coordinates along the axis and of products of those across it: turns about the axis change nothing."""

    def value(self, body_av):
        return super().value(self._round(body_av))

    def gradient(self, body_av):
        outer_av, across_av = super().gradient(self._round(body_av)), body_av[:, 1:]
        total_v = across_av.sum(axis=0)
        gradient_av = np.empty_like(body_av)
        gradient_av[:, 0] = outer_av[:, 0]
        gradient_av[:, 1:] = 2.0 * outer_av[:, 1:2] * across_av + outer_av[:, 2:3] * total_v
        gradient_av[:, 1:] += (outer_av[:, 2:3] * across_av).sum(axis=0)
        return gradient_av

    def _round(self, body_av):
        across_av = body_av[:, 1:]
        return np.column_stack([body_av[:, 0], (across_av**2).sum(axis=1), across_av @ across_av.sum(axis=0)])


def forces_of(frame, energy, positions_av):
    alignment = frame.align(positions_av)
    return alignment.gradient_forces(energy.gradient(alignment.body_positions_av))


def turned_about_x(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])


@pytest.mark.parametrize("bend", [0.0, 1e-7, 0.1, 1.0])
@MOLECULES
def test_forces_are_minus_the_derivative(molecule, bend, rng):
    """Of an energy that a turn about the axis changes, as a grid's, at any orientation."""
    frame, energy = LinearFrame(molecule), WavyEnergy(len(molecule), rng)
    for _ in range(4):
        bent_av = molecule.positions_av + bend * rng.normal(size=(len(molecule), 3))
        positions_av = bent_av @ random_rotation(rng).T + rng.normal(size=3)
        found_av = forces_of(frame, energy, positions_av)
        assert found_av == pytest.approx(numerical_forces(frame, energy, positions_av), abs=1e-8)
        assert found_av.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_without_the_turn_about_the_axis_they_are_not(rng):
    """Bent molecules far from the direction that the shortest turn leads to: what the third row of the equations is for."""
    frame, energy = LinearFrame(DIOXIDE), WavyEnergy(3, rng)
    bent_av = DIOXIDE.positions_av + 0.3 * rng.normal(size=(3, 3))
    positions_av = bent_av @ shortest_rotation(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])).T
    alignment = frame.align(positions_av)
    alignment.no_turn_v[:] = [1.0, 0.0, 0.0]
    wrong_av = alignment.gradient_forces(energy.gradient(alignment.body_positions_av))
    assert np.abs(wrong_av - numerical_forces(frame, energy, positions_av)).max() > 1e-3


@MOLECULES
def test_symmetric_energies_are_left_alone_by_rigid_motions(molecule, rng):
    frame, energy = LinearFrame(molecule), RoundEnergy(len(molecule), rng)
    positions_av = molecule.positions_av + 0.1 * rng.normal(size=(len(molecule), 3))
    value, forces_av = energy.value(frame.align(positions_av).body_positions_av), forces_of(frame, energy, positions_av)
    assert np.cross(positions_av, forces_av).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-11)
    for _ in range(5):
        rotation_vv = random_rotation(rng)
        there_av = positions_av @ rotation_vv.T + rng.normal(size=3)
        assert energy.value(frame.align(there_av).body_positions_av) == pytest.approx(value, abs=1e-12)
        assert forces_of(frame, energy, there_av) == pytest.approx(forces_av @ rotation_vv.T, abs=1e-11)


def test_a_bend_through_the_straight_geometry_is_smooth(rng):
    """Second differences of energy and forces fall with the square of the step, also across the straight geometry."""
    frame, energy, rotation_vv = LinearFrame(DIOXIDE), WavyEnergy(3, rng), random_rotation(rng)
    bend_av = np.array([[0.0, 1.0, 0.5], [0.0, -0.4, -0.2], [0.0, -0.4, -0.2]])

    def at(amplitude):
        positions_av = (DIOXIDE.positions_av + amplitude * bend_av) @ rotation_vv.T
        value = energy.value(frame.align(positions_av).body_positions_av)
        return np.append(forces_of(frame, energy, positions_av), value)

    curvatures = [np.abs(at(step) - 2 * at(0.0) + at(-step)).max() / step**2 for step in (1e-1, 1e-2, 1e-3)]
    assert curvatures[1] == pytest.approx(curvatures[2], rel=0.05) and 0.01 < curvatures[0] < 2 * curvatures[2]


@pytest.mark.parametrize("pole_v", [TURNED_FROM, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])])
def test_the_axis_turns_all_around(pole_v, rng):
    """In a plane through the direction that the axis is turned from and its opposite, and in others."""
    frame, energy = LinearFrame(DIOXIDE), RoundEnergy(3, rng)
    bent_av = DIOXIDE.positions_av + 0.1 * rng.normal(size=(3, 3))
    start_vv = shortest_rotation(np.array([1.0, 0.0, 0.0]), pole_v)
    across_v = np.cross(pole_v, rng.normal(size=3))
    across_v /= np.linalg.norm(across_v)
    cross_vv = np.cross(np.eye(3), across_v)
    values, moments = [], []
    for angle in np.linspace(0.0, 2 * np.pi, 25):
        turn_vv = np.eye(3) + np.sin(angle) * cross_vv + (1 - np.cos(angle)) * cross_vv @ cross_vv
        positions_av = bent_av @ start_vv.T @ turn_vv.T
        alignment = frame.align(positions_av)
        assert alignment.rotation_vv @ alignment.rotation_vv.T == pytest.approx(np.eye(3), abs=1e-12)
        values.append(energy.value(alignment.body_positions_av))
        moments.append(forces_of(frame, energy, positions_av) @ turn_vv @ start_vv)
    assert np.ptp(values) < 1e-10 and np.ptp(moments, axis=0).max() < 1e-9


@MOLECULES
def test_body_coordinates(molecule, rng):
    """Eckart conditions of the straight reference; a geometry in the frame stays where it is, others up to a turn about x."""
    frame = LinearFrame(molecule)
    bent_av = molecule.positions_av + 0.2 * rng.normal(size=(len(molecule), 3))
    body_av = frame.align(bent_av @ random_rotation(rng).T + 1.0).body_positions_av
    places_a = (molecule.positions_av - molecule.centre_of_mass_v)[:, 0]
    moments_v = (molecule.masses_a * places_a) @ body_av
    assert moments_v[0] > 0 and moments_v[1:] / moments_v[0] == pytest.approx([0.0, 0.0], abs=1e-14)
    assert molecule.masses_a @ body_av / molecule.masses_a.sum() == pytest.approx(np.zeros(3), abs=1e-14)
    assert frame.align(body_av).body_positions_av == pytest.approx(body_av, abs=1e-14)
    about_x = body_av @ turned_about_x(1.1).T
    assert frame.align(about_x).body_positions_av == pytest.approx(about_x, abs=1e-14)
    assert frame.n_coordinates == 3 * len(molecule) - 5


def test_reversed_molecules_lie_as_they_did(rng):
    """Of both directions of the axis the one with the shorter turn is +x: a run does not start where the turn is not unique."""
    for _ in range(10):
        laid = CYANIDE.with_positions(CYANIDE.positions_av @ random_rotation(rng).T)
        assert LinearFrame(laid).align(laid.positions_av).rotation_vv[0] @ TURNED_FROM >= 0.0


@pytest.mark.parametrize(
    "molecule, sides, count",
    [
        (DIOXIDE, (0, 1, 1), 15),
        (DIOXIDE, (0, 0, 0), 15),
        (DIOXIDE, (0, 1, 2), 7),
        (CYANIDE, (0, 1, 1), 7),
        (CYANIDE, (0, 1, 0), 3),
    ],
)
def test_the_grid_shows_the_symmetry(molecule, sides, count, rng):
    """D4h or C4v where y and z may be exchanged, D2h or C2v where not; the nearly straight becomes straight."""
    shaken_av = molecule.positions_av + 1e-3 * rng.normal(size=(len(molecule), 3))
    body = oriented(molecule.with_positions(shaken_av @ random_rotation(rng).T + 2.0), sides)
    assert len(grid_symmetries(body, sides, 1e-9)) == count
    assert np.abs(body.positions_av[:, 1:]).max() < 1e-15
    frame = make_frame(body)
    assert frame.name == "linear" and frame.align(body.positions_av).body_positions_av == pytest.approx(body.positions_av)


def test_images_are_in_the_frame(rng):
    body = oriented(ACETYLENE)
    frame = make_frame(body)
    bent_av = frame.align(body.positions_av + 0.2 * rng.normal(size=(4, 3))).body_positions_av
    for symmetry in grid_symmetries(body):
        image_av = symmetry.image(bent_av)
        assert frame.align(image_av).body_positions_av == pytest.approx(image_av, abs=1e-13)


def test_which_molecules_are_linear():
    assert linear_axis(np.zeros((1, 3))) is not None and linear_axis(np.array([[0.0, 0, 0], [1, 2, 3]])) is not None
    assert abs(linear_axis(DIOXIDE.positions_av)[0]) == pytest.approx(1.0)
    for off_axis, is_linear in ((0.02, True), (0.04, False)):
        assert (linear_axis(DIOXIDE.positions_av + [[0, off_axis, 0], [0, 0, 0], [0, 0, 0]]) is not None) == is_linear


def test_bends_lie_along_the_axes_of_the_grid(rng):
    """Of two bends with one frequency any mixture is as good; the same are taken whatever round-off has mixed."""
    body = oriented(DIOXIDE)
    symmetries = grid_symmetries(body)
    for _ in range(3):
        matrix = rng.normal(size=(9, 9))
        hessian_cc = symmetrised_hessian(matrix @ matrix.T, symmetries)
        bends = [mode for mode in vibrations(body, hessian_cc).directions_kav if np.abs(mode[:, 0]).max() < 1e-6]
        assert len(bends) == 2
        assert [np.abs(bend).max(axis=0).argmax() for bend in bends] == [1, 2]
        assert all(np.count_nonzero(np.abs(bend) > 1e-9) == 3 for bend in bends)
