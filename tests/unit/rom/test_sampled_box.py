"""The sampled box: its bounds, closed under mirrors."""

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.rom.sampled_box import sampled_box

pytestmark = pytest.mark.serial

MIRROR = [Symmetry((0, 1, 2), np.array([1.0, -1.0, 1.0]), np.array([0, 2, 1]))]


def test_bent_molecules_are_measured_by_bonds_and_angle():
    box = sampled_box([water_positions(1.9, 1.7, 1.8), water_positions(2.0, 1.8, 1.9)], vertex=0)
    assert box.names == ("L1", "L2", "theta")
    assert box.lower_k == pytest.approx([1.9, 1.7, 1.8]) and box.upper_k == pytest.approx([2.0, 1.8, 1.9])


def test_mirror_images_count_as_sampled():
    box = sampled_box([water_positions(1.9, 1.7, 1.8), water_positions(2.0, 1.8, 1.9)], vertex=0, symmetries=MIRROR)
    assert box.lower_k[:2] == pytest.approx([1.7, 1.7]) and box.upper_k[:2] == pytest.approx([2.0, 2.0])


def test_other_molecules_are_measured_by_body_coordinates(rng):
    positions = rng.normal(size=(5, 4, 3))
    box = sampled_box(positions)
    assert box.names[:3] == ("x0", "y0", "z0") and len(box.names) == 12
    assert np.array_equal(box.lower_k, positions.min(axis=0).ravel())
    assert np.array_equal(box.upper_k, positions.max(axis=0).ravel())
