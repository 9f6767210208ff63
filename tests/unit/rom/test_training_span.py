"""What training geometries span: a bond stretched alone, a plane, all of a molecule."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.training_span import TrainingSpan
from tests.helpers.rigid_motions import random_rotation

pytestmark = pytest.mark.serial
AMMONIA = Molecule(
    ("N", "H", "H", "H"),
    np.array([[0.0, 0.0, 0.1], [1.77, 0.0, 0.8], [-0.885, 1.533, 0.8], [-0.885, -1.533, 0.8]]),
)
PLANAR = Molecule(("B", "H", "H", "H"), AMMONIA.positions_av * [1.0, 1.0, 0.0])


def bodies(molecule, changes_sav):
    """Geometries in the frame of the molecule, and the frame."""
    frame = make_frame(molecule)
    return np.array([frame.align(molecule.positions_av + change).body_positions_av for change in changes_sav]), frame


def stretches(count):
    changes_sav = np.zeros((count, 4, 3))
    changes_sav[:, 1] = np.linspace(-0.1, 0.1, count)[:, None] * AMMONIA.positions_av[1]
    return changes_sav


def test_a_bond_stretched_alone_is_all_that_is_known(rng):
    """In the Eckart frame all atoms move with it, but only together."""
    trained_sav, frame = bodies(AMMONIA, stretches(6))
    span = TrainingSpan.of_geometries(trained_sav)
    assert len(span.missing_dk) == 11 and all(span.off(positions_av) is None for positions_av in trained_sav)
    between_av = AMMONIA.positions_av + 0.33 * stretches(2)[1]
    assert span.off(frame.align(between_av @ random_rotation(rng).T + rng.normal(size=3)).body_positions_av) is None
    other_av = AMMONIA.positions_av.copy()
    other_av[2, 2] += 1e-3
    off_av = span.off(frame.align(other_av).body_positions_av)
    assert 2e-4 < np.abs(off_av).max() < 1e-3 and np.abs(off_av).argmax() == 8


def test_out_of_the_plane_of_all_geometries(rng):
    trained_sav, frame = bodies(PLANAR, 0.1 * rng.normal(size=(30, 4, 3)) * [1.0, 1.0, 0.0])
    span = TrainingSpan.of_geometries(trained_sav)
    assert len(span.missing_dk) == 12 - 5
    inside_av = PLANAR.positions_av + 0.1 * rng.normal(size=(4, 3)) * [1.0, 1.0, 0.0]
    assert span.off(frame.align(inside_av).body_positions_av) is None
    inside_av[0, 2] += 0.0019
    assert 1e-4 < np.abs(span.off(frame.align(inside_av).body_positions_av)).max() < 0.0019


def test_all_directions_of_a_molecule_leave_those_of_its_frame(rng):
    trained_sav, frame = bodies(AMMONIA, 0.1 * rng.normal(size=(30, 4, 3)))
    span = TrainingSpan.of_geometries(trained_sav)
    assert len(span.missing_dk) == 6
    moved_av = AMMONIA.positions_av + 0.3 * rng.normal(size=(4, 3))
    assert span.off(frame.align(moved_av @ random_rotation(rng).T).body_positions_av) is None


def test_mirror_images_span_too():
    trained_sav, frame = bodies(AMMONIA, [[[0.0, 0.0, 0.0]] * 4, *(0.1 * np.eye(12)[[4, 7, 8, 5]].reshape(4, 4, 3))])
    symmetries = grid_symmetries(Molecule(AMMONIA.symbols, frame.align(AMMONIA.positions_av).body_positions_av))
    assert len(symmetries) == 1
    alone, closed = (TrainingSpan.of_geometries(trained_sav, each) for each in ((), symmetries))
    image_av = symmetries[0].image(trained_sav[2])
    assert closed.off(image_av) is None
    assert len(alone.missing_dk) != len(closed.missing_dk)


def test_too_few_geometries_miss_only_what_none_has_moved(rng):
    trained_sav = np.zeros((3, 4, 3))
    trained_sav[:, 1:] = AMMONIA.positions_av[1:] + 0.1 * rng.normal(size=(3, 3, 3))
    span = TrainingSpan.of_geometries(trained_sav)
    moved_av = trained_sav[0] + 0.1 * rng.normal(size=(4, 3))
    assert np.array_equal(np.flatnonzero(np.abs(span.off(moved_av))), [0, 1, 2])
    moved_av[0] = 0.0
    assert span.off(moved_av) is None


def test_coordinates_of_one_value():
    lower_av = np.zeros((2, 3))
    upper_av = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    span = TrainingSpan.of_coordinates(lower_av, upper_av)
    assert span.off(np.array([[0.0, 0.0, 0.0], [0.05, 1e-9, 0.0]])) is None
    assert np.array_equal(span.off(np.array([[0.0, 0.0, 0.0], [5.0, 0.0, -0.5]])), [[0.0] * 3, [0.0, 0.0, -0.5]])
