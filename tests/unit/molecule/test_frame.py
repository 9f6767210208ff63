"""Body frames: where they put the nuclei, invariance under rigid motions, the exact gradient through them.

The energies of these tests are functions of the body coordinates that are *not* invariant under rotations, as
those of a truncated basis: a frame derivative that is left out, or wrong, shows at once.
"""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, EckartFrame, make_frame
from mpiqmd.molecule.linear import LinearFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import Alignment, best_rotation
from tests.helpers.rigid_motions import laboratory_positions, random_rotation

pytestmark = pytest.mark.serial

WATER = Molecule(("O", "H", "H"), water_positions(1.83, 1.83, np.radians(104.5)))
PEROXIDE = Molecule(("O", "O", "H", "H"), [[1.37, 0.1, 0], [-1.37, 0, 0], [1.7, 1.3, 1.2], [-1.6, 1.2, -1.3]])
AMMONIA = Molecule(("N", "H", "H", "H"), [[0, 0, 0.1], [1.77, 0, -0.6], [-0.885, 1.533, -0.6], [-0.885, -1.533, -0.6]])
BENT_CARBON_DIOXIDE = Molecule(("C", "O", "O"), [[0, 0.2, 0], [2.2, 0, 0], [-2.2, 0, 0]])
FLUORIDE = Molecule(("H", "F"), [[0, 0, 0], [1.73, 0, 0]])
ATOM = Molecule(("H",), [[0.3, 0.1, -0.2]])
CYANIDE = Molecule(("H", "C", "N"), [[0.3, 0, 0.1], [0.3, 2.0, 0.1], [0.3, 4.2, 0.1]])


class WavyEnergy:
    """``sum_a w_a sin(k_a . x_a + p_a) + (sum_a u_a . x_a)^2 / 10`` with fixed random coefficients."""

    def __init__(self, n_atoms, rng):
        self.waves_av = rng.normal(size=(n_atoms, 3))
        self.weights_a = rng.normal(size=n_atoms)
        self.phases_a = rng.uniform(0, 6, size=n_atoms)
        self.linear_av = rng.normal(size=(n_atoms, 3))

    def value(self, body_av):
        phases_a = (self.waves_av * body_av).sum(axis=1) + self.phases_a
        return self.weights_a @ np.sin(phases_a) + (self.linear_av * body_av).sum() ** 2 / 10

    def gradient(self, body_av):
        phases_a = (self.waves_av * body_av).sum(axis=1) + self.phases_a
        waves_av = (self.weights_a * np.cos(phases_a))[:, None] * self.waves_av
        return waves_av + (self.linear_av * body_av).sum() / 5 * self.linear_av


def numerical_forces(frame, energy, positions_av, step=2e-4):
    """Central differences of fourth order of E(R) = Ebar(x(R))."""

    def value(displacement, index):
        moved_av = positions_av.copy()
        moved_av[index] += displacement
        return energy.value(frame.align(moved_av).body_positions_av)

    forces_av = np.zeros_like(positions_av)
    for index in np.ndindex(*positions_av.shape):
        first = value(step, index) - value(-step, index)
        second = value(2 * step, index) - value(-2 * step, index)
        forces_av[index] = -(8 * first - second) / (12 * step)
    return forces_av


def moved(positions_av, rng):
    return positions_av @ random_rotation(rng).T + rng.normal(size=3)


def bent(length_1, length_2, degrees, vertex=0):
    return water_positions(length_1, length_2, np.radians(degrees), vertex)


CASES = {
    "equal bonds": (BisectorFrame(), bent(1.83, 1.83, 104.5)),
    "long first": (BisectorFrame(), bent(1.95, 1.75, 98.0)),
    "long second": (BisectorFrame(), bent(1.7, 2.0, 110.0)),
    "sharp": (BisectorFrame(), bent(1.8, 1.9, 20.0)),
    "nearly straight": (BisectorFrame(), bent(1.8, 1.9, 172.0)),
    "vertex last": (BisectorFrame(vertex=2), bent(1.8, 1.9, 100.0, vertex=2)),
    "not folded": (BisectorFrame(fold=True), bent(1.95, 1.75, 98.0)),
    "folded": (BisectorFrame(fold=True), bent(1.75, 1.95, 98.0)),
    "folded, vertex between": (BisectorFrame(vertex=1, fold=True), bent(1.75, 1.95, 98.0, vertex=1)),
    "peroxide": (EckartFrame(PEROXIDE), PEROXIDE.positions_av),
    "peroxide, pivot": (EckartFrame(PEROXIDE, pivot=1), PEROXIDE.positions_av),
    "ammonia": (EckartFrame(AMMONIA), AMMONIA.positions_av),
    "ammonia, pivot": (EckartFrame(AMMONIA, pivot=0), AMMONIA.positions_av),
    "bent carbon dioxide": (EckartFrame(BENT_CARBON_DIOXIDE), BENT_CARBON_DIOXIDE.positions_av),
    "two atoms": (LinearFrame(FLUORIDE), FLUORIDE.positions_av),
    "one atom": (LinearFrame(ATOM), ATOM.positions_av),
}


@pytest.fixture(params=list(CASES))
def case(request, rng):
    frame, positions_av = CASES[request.param]
    noise = 0.1 if isinstance(frame, EckartFrame) else 0.0
    distorted_av = positions_av + noise * rng.normal(size=positions_av.shape)
    return frame, moved(distorted_av, rng), WavyEnergy(len(positions_av), rng)


def test_gradient_forces_are_minus_the_derivative(case):
    frame, positions_av, energy = case
    alignment = frame.align(positions_av)
    forces_av = alignment.gradient_forces(energy.gradient(alignment.body_positions_av))
    assert forces_av == pytest.approx(numerical_forces(frame, energy, positions_av), abs=1e-8)


def test_gradient_forces_have_no_net_force_and_no_torque(case):
    frame, positions_av, energy = case
    alignment = frame.align(positions_av)
    forces_av = alignment.gradient_forces(energy.gradient(alignment.body_positions_av))
    assert forces_av.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    assert np.cross(positions_av, forces_av).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-11)


def test_rotated_forces_lack_the_frame_derivative(case):
    frame, positions_av, energy = case
    alignment = frame.align(positions_av)
    gradient_av = energy.gradient(alignment.body_positions_av)
    rotated_av = alignment.rotated_forces(gradient_av)
    assert rotated_av[alignment.permutation_a] == pytest.approx(-gradient_av @ alignment.rotation_vv, abs=1e-14)
    assert np.abs(rotated_av.sum(axis=0)).max() > 1e-3


def test_alignment_is_the_stated_rigid_motion(case):
    frame, positions_av, _ = case
    alignment = frame.align(positions_av)
    q = alignment.rotation_vv
    assert q @ q.T == pytest.approx(np.eye(3), abs=1e-14)
    expected_av = (positions_av[alignment.permutation_a] - alignment.origin_v) @ q.T
    assert alignment.body_positions_av == pytest.approx(expected_av, abs=1e-14)
    assert laboratory_positions(alignment) == pytest.approx(positions_av, abs=1e-13)
    assert alignment.origin_weights_a @ alignment.body_positions_av == pytest.approx(np.zeros(3), abs=1e-14)


def test_rigid_motions_leave_body_coordinates_and_turn_forces(case, rng):
    frame, positions_av, energy = case
    first = frame.align(positions_av)
    forces_av = first.gradient_forces(energy.gradient(first.body_positions_av))
    for _ in range(5):
        rotation_vv = random_rotation(rng)
        second = frame.align(positions_av @ rotation_vv.T + rng.normal(size=3))
        turned_av = second.gradient_forces(energy.gradient(second.body_positions_av))
        assert second.body_positions_av == pytest.approx(first.body_positions_av, abs=5e-14)
        assert turned_av == pytest.approx(forces_av @ rotation_vv.T, abs=1e-12)


def test_folding_puts_the_longer_bond_first_and_says_so():
    alignment = BisectorFrame(fold=True).align(bent(1.7, 1.9, 100.0))
    assert bent_coordinates(alignment.body_positions_av) == pytest.approx((1.9, 1.7, np.radians(100.0)))
    assert alignment.permutation_a.tolist() == [0, 2, 1]
    assert np.linalg.det(alignment.rotation_vv) == pytest.approx(-1.0)
    assert alignment.rotation_vv == pytest.approx(np.diag([1.0, -1.0, 1.0]), abs=1e-14)


def test_bisector_frame_of_water(rng):
    body_av = BisectorFrame().align(moved(bent(1.75, 1.9, 100.0), rng)).body_positions_av
    assert body_av == pytest.approx(bent(1.75, 1.9, 100.0), abs=1e-13)
    assert (body_av[1, 0] > 0, body_av[1, 1] > 0, body_av[2, 1] < 0) == (True, True, True)
    assert not body_av[0].any() and not body_av[:, 2].any()


def test_mirror_images(rng):
    """A planar molecule has the coordinates of its image; a chiral one must not be confused with it."""
    positions_av = moved(bent(1.75, 1.9, 100.0), rng)
    mirror = np.array([1.0, 1.0, -1.0])
    bisector = BisectorFrame()
    image_av = bisector.align(positions_av * mirror).body_positions_av
    assert image_av == pytest.approx(bisector.align(positions_av).body_positions_av, abs=1e-13)
    peroxide = EckartFrame(PEROXIDE)
    image_av = peroxide.align(PEROXIDE.positions_av * mirror).body_positions_av
    assert np.abs(image_av - peroxide.align(PEROXIDE.positions_av).body_positions_av).max() > 0.5


def test_eckart_condition_and_reference(rng):
    frame = EckartFrame(AMMONIA)
    reference_av = AMMONIA.positions_av - AMMONIA.centre_of_mass_v
    assert frame.align(AMMONIA.positions_av).body_positions_av == pytest.approx(reference_av, abs=1e-14)
    distorted_av = moved(AMMONIA.positions_av + 0.1 * rng.normal(size=(4, 3)), rng)
    body_av = frame.align(distorted_av).body_positions_av
    condition_v = (AMMONIA.masses_a[:, None] * np.cross(reference_av, body_av)).sum(axis=0)
    assert condition_v / AMMONIA.masses_a.sum() == pytest.approx(np.zeros(3), abs=1e-14)
    assert np.linalg.det(frame.align(distorted_av).rotation_vv) == pytest.approx(1.0)


def test_best_rotation_recovers_a_known_one(rng):
    reference_av = rng.normal(size=(5, 3))
    rotation_vv = random_rotation(rng)
    assert np.linalg.det(rotation_vv) == pytest.approx(1.0)
    found_vv = best_rotation(reference_av @ rotation_vv, reference_av, np.ones(5))
    assert found_vv == pytest.approx(rotation_vv, abs=1e-13)


def test_fixed_alignment_only_rotates():
    gradient_av = np.arange(6.0).reshape(2, 3)
    fixed = Alignment(np.zeros((2, 3)), np.eye(3), np.zeros(3), np.arange(2))
    assert np.array_equal(fixed.gradient_forces(gradient_av), -gradient_av)


def test_vectors_go_back_to_the_laboratory(rng):
    positions_av = moved(bent(1.75, 1.9, 100.0), rng)
    alignment = BisectorFrame().align(positions_av)
    hydrogen_v = alignment.laboratory_vector(alignment.body_positions_av[1])
    assert hydrogen_v == pytest.approx(positions_av[1] - positions_av[0], abs=1e-13)


@pytest.mark.parametrize(
    "molecule, name",
    [
        (WATER, "bisector"),
        (Molecule(("H", "O", "H"), bent(1.8, 1.8, 104, vertex=1)), "bisector"),
        (BENT_CARBON_DIOXIDE, "bisector"),
        # hydrogen is the odd one out but at the end of the chain: no bisector
        (Molecule(("O", "O", "H"), [[0, 0, 0], [2.5, 0, 0], [3.0, 1.77, 0]]), "eckart"),
        (PEROXIDE, "eckart"),
        (FLUORIDE, "linear"),
        (CYANIDE, "linear"),
        (Molecule(("C", "O", "O"), [[0, 0.015, 0], [2.2, 0, 0], [-2.2, 0, 0]]), "linear"),
        (Molecule(("C", "O", "O"), [[0, 0.05, 0], [2.2, 0, 0], [-2.2, 0, 0]]), "bisector"),
    ],
)
def test_automatic_choice_and_round_trip_by_name(molecule, name, rng):
    frame = make_frame(molecule)
    assert frame.name == name
    positions_av = moved(molecule.positions_av + 0.02 * rng.normal(size=(len(molecule), 3)), rng)
    again = make_frame(molecule, frame.name).align(positions_av).body_positions_av
    assert np.array_equal(again, frame.align(positions_av).body_positions_av)


def test_pivot_is_part_of_the_name():
    frame = make_frame(AMMONIA, "eckart-0")
    assert frame.name == "eckart-0"
    assert frame.align(AMMONIA.positions_av).origin_v.tolist() == [0, 0, 0.1]
    assert make_frame(WATER, "bisector-folded").name == "bisector-folded"


@pytest.mark.parametrize("degrees", [0.3, 179.7])
def test_straight_geometries_are_refused(degrees):
    with pytest.raises(GeometryError, match="bond angle"):
        BisectorFrame().align(bent(1.8, 1.8, degrees))


def test_what_has_no_frame_is_refused():
    straight = Molecule(("O", "C", "O"), [[-2.2, 0, 0], [0, 0, 0], [2.2, 0, 0]])
    with pytest.raises(GeometryError, match="180"):
        make_frame(straight, "bisector")
    with pytest.raises(GeometryError, match="one line"):
        make_frame(straight, "eckart")
    with pytest.raises(GeometryError, match="orientation"):
        EckartFrame(BENT_CARBON_DIOXIDE).align(np.array([[0, 0, 0], [2.2, 0, 0], [-2.2, 0, 0]]))
    with pytest.raises(GeometryError, match="shape"):
        EckartFrame(AMMONIA).align(WATER.positions_av)
    with pytest.raises(GeometryError, match="three atoms"):
        BisectorFrame().align(AMMONIA.positions_av)
    with pytest.raises(GeometryError, match="coincide"):
        LinearFrame(FLUORIDE).align(np.zeros((2, 3)))
    with pytest.raises(GeometryError, match="2 atoms"):
        LinearFrame(FLUORIDE).align(WATER.positions_av)
    with pytest.raises(GeometryError, match="one line"):
        make_frame(WATER, "linear")
    for kind, words in {
        "bisector": "bisector",
        "eckart-9": "frame 'eckart-9' does not suit",
        "inertia": "inertia",
    }.items():
        with pytest.raises(ConfigError, match=words):
            make_frame(AMMONIA, kind)


@pytest.mark.parametrize("vertex", [0, 1, 2])
@pytest.mark.parametrize("degrees", [1e-4, 60.0, 104.5, 179.9999])
def test_internal_coordinates_invert_water_positions(vertex, degrees):
    positions_av = bent(1.7, 1.9, degrees, vertex)
    expected = (1.7, 1.9, np.radians(degrees))
    assert bent_coordinates(positions_av, vertex) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["bisector", "eckart", "linear"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e308, -2e8])
def test_absurd_positions_have_no_frame(kind, wrong):
    """In words, with the atom named, and without a warning about numbers."""
    symbols = ("O", "H", "H")[: 2 if kind == "linear" else 3]
    positions_av = np.array([[0.0, 0.0, 0.0], [1.1, 1.4, 0.0], [1.1, -1.4, 0.0]])[: len(symbols)]
    frame = make_frame(Molecule(symbols, positions_av), kind)
    positions_av[1, 2] = wrong
    with pytest.raises(GeometryError, match="position of atom 2 "), np.errstate(all="raise"):
        frame.align(positions_av)
    with pytest.raises(GeometryError, match=r"position of atom H2"):
        Molecule(symbols, positions_av).check()
