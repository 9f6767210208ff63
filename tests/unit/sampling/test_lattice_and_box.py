"""The published lattice, points in boxes, and the container of both."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import bent_coordinates
from mpiqmd.molecule.frame import BisectorFrame
from mpiqmd.sampling.box import random_in_box, sobol_in_box
from mpiqmd.sampling.lattice import bent_samples, water_lattice
from mpiqmd.sampling.samples import Samples

pytestmark = pytest.mark.serial

SCALES, ANGLE, OFFSETS = (0.95, 1.0, 1.05), np.radians(104.5), np.radians([-5, 0, 5])
LOWER, UPPER = [1.7, 1.7, 1.5], [2.0, 1.9, 2.0]


def published_lattice():
    return water_lattice(1.83, SCALES, ANGLE, OFFSETS)


def test_published_lattice_has_eighteen_geometries():
    samples = published_lattice()
    assert len(samples) == 18
    assert samples.positions_sav.shape == (18, 3, 3)
    expected = {
        (round(1.83 * s1, 9), round(1.83 * s2, 9), round(float(ANGLE + offset), 9))
        for s1 in SCALES
        for s2 in SCALES
        if s2 <= s1
        for offset in OFFSETS
    }
    assert {tuple(round(value, 9) for value in label.values()) for label in samples.labels} == expected


def test_lattice_labels_describe_the_positions_in_the_bisector_frame():
    samples = published_lattice()
    for positions_av, label in zip(samples.positions_sav, samples.labels, strict=True):
        assert bent_coordinates(positions_av) == pytest.approx((label["L1"], label["L2"], label["theta"]))
        assert label["L2"] <= label["L1"]
        assert BisectorFrame().align(positions_av).body_positions_av == pytest.approx(positions_av, abs=1e-14)


def test_lattice_for_another_atom_order():
    last = water_lattice(1.83, SCALES, ANGLE, OFFSETS, vertex=2).positions_sav
    assert np.array_equal(last[:, [2, 0, 1]], published_lattice().positions_sav)


def test_joined_lattices_share_their_centre_once():
    wide = water_lattice(1.83, (0.9, 1.0, 1.1), ANGLE, np.radians([-15, 0, 15]))
    both = published_lattice().joined(wide, "nested")
    assert (len(both), len(both.labels), both.name) == (35, 35, "nested")
    assert np.array_equal(both.positions_sav[:18], published_lattice().positions_sav)


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: random_in_box(n, np.random.default_rng(3), LOWER, UPPER),
        lambda n: sobol_in_box(n, LOWER, UPPER),
        lambda n: sobol_in_box(n, LOWER, UPPER, seed=5),
    ],
    ids=["random", "sobol", "scrambled sobol"],
)
def test_points_are_in_the_box_different_and_repeatable(draw):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in (1, 5, 37):
            points_sd = draw(n)
            assert points_sd.shape == (n, 3)
            assert (points_sd >= LOWER).all() and (points_sd <= UPPER).all()
            assert len(np.unique(points_sd, axis=0)) == n
            assert np.array_equal(points_sd, draw(n))


def test_sobol_starts_at_the_centre_continues_itself_and_fills_evenly():
    points_sd = sobol_in_box(63, LOWER, UPPER)
    assert points_sd[0] == pytest.approx(np.mean([LOWER, UPPER], axis=0))
    assert np.array_equal(sobol_in_box(20, LOWER, UPPER), points_sd[:20])
    # 63 points and the corner that was left out: one in each sixty-fourth of every axis
    unit_sd = (points_sd - LOWER) / (np.array(UPPER) - LOWER)
    for axis in range(3):
        assert sorted(np.floor(64 * unit_sd[:, axis] + 1e-9).astype(int)) == list(range(1, 64))


@pytest.mark.parametrize("n, lower, upper", [(0, [0], [1]), (3, [1], [0]), (3, [0, 0], [1]), (3, [np.nan], [1])])
def test_empty_boxes_are_refused(n, lower, upper):
    with pytest.raises(ConfigError, match="box"):
        sobol_in_box(n, lower, upper)


def test_samples_from_box_points_and_what_samples_refuse():
    samples = bent_samples(sobol_in_box(4, LOWER, UPPER), "sobol")
    assert (len(samples), samples.name) == (4, "sobol")
    with pytest.raises(ValueError):
        samples.positions_sav[0, 0, 0] = 1.0
    with pytest.raises(GeometryError, match="finite"):
        Samples(np.full((2, 3, 3), np.nan))
    with pytest.raises(GeometryError, match="labels"):
        Samples(np.zeros((2, 3, 3)), [{"L1": 1.0}])
    with pytest.raises(GeometryError, match="joined"):
        samples.joined(Samples(np.zeros((2, 4, 3))))
