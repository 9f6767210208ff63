"""Farthest-point selection: copies, mirror images, and how well the chosen cover the rest."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.sampling.selection import farthest_points

pytestmark = pytest.mark.serial


def line(values):
    """Two atoms, the second at these positions along x."""
    return np.array([[[0.0, 0.0, 0.0], [value, 0.0, 0.0]] for value in values])


def test_points_on_a_line_are_chosen_from_the_middle_to_the_ends():
    assert farthest_points(line([0.0, 4.9, 5.0, 9.0, 7.4, 2.4]), 5) == [1, 0, 3, 5, 4]


def test_copies_are_chosen_once():
    assert sorted(farthest_points(line([1.0, 3.0, 1.0, 3.0, 2.0]), 5)) == [0, 1, 4]


def test_mirror_images_are_one():
    first, second = (water_positions(*lengths, 1.8) for lengths in ((1.7, 1.9), (1.9, 1.7)))
    symmetries = grid_symmetries(Molecule(("O", "H", "H"), water_positions(1.8, 1.8, 1.8)))
    assert len(farthest_points(np.array([first, second]), 2)) == 2
    assert len(farthest_points(np.array([first, second]), 2, symmetries)) == 1


def test_the_chosen_cover_all_within_their_own_distance(rng):
    positions_sav = rng.normal(size=(300, 4, 3))
    chosen = farthest_points(positions_sav, 25)
    assert len(set(chosen)) == 25
    distances = np.linalg.norm(positions_sav[:, None] - positions_sav[chosen][None], axis=(2, 3))
    between = distances[chosen] + np.diag(np.full(25, np.inf))
    assert distances.min(axis=1).max() <= between.min() + 1e-12
    assert farthest_points(positions_sav, 10) == chosen[:10]
