"""The distance to the training geometries: zero at them, one as far as they are apart, blind to rigid motion and mirrors."""

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.rom.training_distance import LEAST_VARIATION, SMALLEST_VARIATION, TrainingDistance
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial

MIRROR = [Symmetry((0, 1, 2), np.array([1.0, -1.0, 1.0]), np.array([0, 2, 1]))]
AMMONIA = Molecule(
    ("N", "H", "H", "H"),
    np.array([[0.0, 0.0, 0.1], [1.77, 0.0, 0.8], [-0.885, 1.533, 0.8], [-0.885, -1.533, 0.8]]),
)
LATTICE = [water_positions(first, second, angle) for first in (1.7, 1.9) for second in (1.7, 1.9) for angle in (1.7, 1.9)]


def test_a_lattice_is_one_spacing_wide_in_every_direction():
    """Eight corners of a cube: each has its nearest a spacing away."""
    far = TrainingDistance(LATTICE, vertex=0)
    assert max(far.distance(corner) for corner in LATTICE) < 1e-7
    assert far.distance(water_positions(1.8, 1.8, 1.8)) == pytest.approx(np.sqrt(0.75))
    for point in ((2.1, 1.9, 1.9), (1.9, 1.5, 1.7), (1.7, 1.9, 2.1)):
        assert far.distance(water_positions(*point)) == pytest.approx(1.0)
    assert far.distance(water_positions(1.9 + 3 * 0.2, 1.9, 1.9)) == pytest.approx(3.0)


def test_units_of_coordinates_do_not_matter():
    """Angles a tenth as wide count ten times as much."""
    narrow = [water_positions(first, 1.8, angle) for first in (1.7, 1.9) for angle in (1.79, 1.81)]
    far = TrainingDistance(narrow, vertex=0)
    assert far.distance(water_positions(1.9, 1.8, 1.83)) == pytest.approx(1.0)
    assert far.distance(water_positions(2.1, 1.8, 1.81)) == pytest.approx(1.0)


def test_mirror_images_count_as_trained_on():
    training = [water_positions(1.9, 1.7, 1.8), water_positions(2.0, 1.7, 1.9)]
    alone, closed = TrainingDistance(training, 0), TrainingDistance(training, 0, MIRROR)
    image = water_positions(1.7, 1.9, 1.8)
    assert closed.distance(image) < 1e-7 and alone.distance(image) > 1.0


def test_the_molecule_may_be_anywhere(rng):
    frame = make_frame(AMMONIA)
    shaken = AMMONIA.positions_av + 0.1 * rng.normal(size=(12, 4, 3))
    far = TrainingDistance(np.array([frame.align(positions_av).body_positions_av for positions_av in shaken]))
    other_av = AMMONIA.positions_av + 0.1 * rng.normal(size=(4, 3))
    here = far.distance(frame.align(other_av).body_positions_av)
    there = far.distance(frame.align(other_av @ random_rotation(rng).T + rng.normal(size=3)).body_positions_av)
    assert 0.05 < here == pytest.approx(there, rel=1e-9)
    distances = [far.distance(frame.align(AMMONIA.positions_av * scale).body_positions_av) for scale in (1.1, 1.3, 1.6)]
    assert distances == sorted(distances) and distances[-1] > 2.0


def stretched(width):
    """Geometries of two atoms that differ along x by steps, and along z by a width."""
    training = np.zeros((4, 2, 3))
    training[:, 1, 0] = 1.7 + np.array([-0.3, -0.1, 0.1, 0.3])
    training[:, 1, 2] = width * np.array([-1.0, 1.0, 1.0, -1.0])
    return training


def test_what_varied_little_in_training_counts_by_what_varied_much():
    """A twentieth of the largest spread is one standard deviation where it is more than that of the direction."""
    training = stretched(1e-4)
    far, moved_av = TrainingDistance(training), training[1].copy()
    moved_av[1, 2] += LEAST_VARIATION * 0.2
    assert far.distance(moved_av) == pytest.approx(1.0, rel=1e-3)


def test_what_did_not_vary_in_training_is_outside_at_once():
    """0.001 angstrom out of the plane of all training geometries; round-off is at home."""
    training = stretched(0.0)
    far, moved_av = TrainingDistance(training), training[1].copy()
    moved_av[1, 2] = 0.0019
    assert far.distance(moved_av) > 10.0
    moved_av[1, 2] = 1e-12
    assert far.distance(moved_av) < 1e-6


def test_an_angle_that_training_never_changed_is_outside_at_once():
    far = TrainingDistance([water_positions(first, 1.8, 1.8) for first in (1.7, 1.8, 1.9)], vertex=0)
    assert far.distance(water_positions(1.75, 1.8, 1.8)) == pytest.approx(0.5)
    assert far.distance(water_positions(1.75, 1.8, 1.802)) > 10.0 < far.distance(water_positions(1.75, 1.802, 1.8))


def test_a_single_geometry_is_measured_in_hundredths_of_a_bohr():
    training = np.array([[[0.0, 0.0, 0.0], [1.7, 0.0, 0.0]]])
    far, moved_av = TrainingDistance(training), training[0].copy()
    moved_av[1, 0] += 3 * SMALLEST_VARIATION
    assert far.distance(training[0]) == 0.0 and far.distance(moved_av) == pytest.approx(3.0)
