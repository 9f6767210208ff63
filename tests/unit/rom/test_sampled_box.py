"""The sampled box: inside, outside, and closed under mirrors."""

import numpy as np
import pytest

from mpiqmd.molecule.bent import water_positions
from mpiqmd.rom.sampled_box import sampled_box

pytestmark = pytest.mark.serial

MIRROR = [(np.array([1.0, -1.0, 1.0]), np.array([0, 2, 1]))]


def test_bent_molecules_are_measured_by_bonds_and_angle():
    box = sampled_box([water_positions(1.9, 1.7, 1.8), water_positions(2.0, 1.8, 1.9)], vertex=0)
    assert box.names == ("L1", "L2", "theta")
    assert box.lower_k == pytest.approx([1.9, 1.7, 1.8]) and box.upper_k == pytest.approx([2.0, 1.8, 1.9])
    assert box.excess(water_positions(1.95, 1.75, 1.85)) == 0.0
    assert box.excess(water_positions(2.0, 1.8, 1.9)) == 0.0
    assert box.excess(water_positions(2.05, 1.75, 1.85)) == pytest.approx(1.0)
    assert box.excess(water_positions(1.95, 1.75, 1.775)) == pytest.approx(0.5)


def test_mirror_images_count_as_sampled():
    box = sampled_box([water_positions(1.9, 1.7, 1.8), water_positions(2.0, 1.8, 1.9)], vertex=0, mirrors=MIRROR)
    assert box.lower_k[:2] == pytest.approx([1.7, 1.7]) and box.upper_k[:2] == pytest.approx([2.0, 2.0])


def test_other_molecules_are_measured_by_body_coordinates(rng):
    positions = rng.normal(size=(5, 4, 3))
    positions[:, 0] = 0.0
    box = sampled_box(positions)
    assert box.names[:3] == ("x0", "y0", "z0") and len(box.names) == 12
    assert all(box.excess(sample) == 0.0 for sample in positions)
    moved = positions[0].copy()
    moved[0, 2] = 0.5
    widest = 0.5 * (positions.max(axis=0) - positions.min(axis=0)).max()
    assert box.excess(moved) == pytest.approx(0.5 / widest)
