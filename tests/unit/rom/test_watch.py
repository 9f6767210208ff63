"""What was seen of a reduced surface's errors: summaries of several owners, of frames, and what they come to."""

import numpy as np
import pytest

from mpiqmd.rom.reactions import Tolerance
from mpiqmd.rom.watch import Watch

pytestmark = pytest.mark.serial
TOLERANCE = Tolerance(1e-5, 1e-4)


def watched(estimates, distances, **where):
    watch = Watch()
    for estimate, distance in zip(estimates, distances, strict=True):
        watch = watch.checked(estimate, 2.0 * estimate, TOLERANCE).evaluated(1, distance, **where)
    return watch


def test_evaluations_of_several_owners_are_counted_through():
    one, other = watched([1e-6, 3e-6, 2e-6], [0.1, 0.2, 0.9]), watched([1e-6, 2e-5], [0.5, 0.3])
    joined = Watch.joined([one, other])
    assert (joined.evaluations, joined.checks, joined.exceeded) == (5, 5, 1)
    assert (joined.largest, joined.largest_at, joined.largest_force_at) == (2e-5, 4, 4)
    assert (joined.farthest, joined.farthest_at) == (0.9, 2)
    assert Watch.joined([other, one]).largest_at == 1 and Watch.joined([]) == Watch()


def test_frames_keep_their_numbers():
    """The second was not evaluated, the third solved on the grid, the last in full for want of an energy of the surface."""
    extras = {
        "error_estimate": np.array([1e-6, np.nan, 2e-5, np.nan]),
        "force_error_estimate": np.array([1e-5, np.nan, 3e-5, np.nan]),
        "training_distance": np.array([0.3, np.nan, 4.0, np.nan]),
        "on_grid": np.array([0.0, np.nan, 1.0, 0.0]),
        "hifi": np.array([0.0, np.nan, 0.0, 1.0]),
    }
    seen = Watch.of_frames(extras, [0, 2, 3], 4, TOLERANCE)
    assert (seen.evaluations, seen.checks, seen.exceeded, seen.unknown, seen.on_grid, seen.full) == (3, 2, 1, 2, 1, 1)
    assert (seen.largest, seen.largest_at, seen.largest_force_at, seen.farthest_at) == (2e-5, 2, 2, 2)
    assert Watch.of_frames({}, [0, 1], 2, TOLERANCE).checks == 0


def test_estimates_speak_for_a_result_or_against_it():
    good, bad = watched([1e-6, 5e-6], [0.0, 0.0]), watched([1e-6, 4e-5], [0.0, 0.0])
    (found,) = good.findings(TOLERANCE, False)
    assert found == (True, "all 2 estimates of the error are within the tolerance, at most 0.5 of it")
    (found,) = bad.findings(TOLERANCE, False)
    assert found.good is False and "1 of 2 estimates" in found.words and "up to 4 times" in found.words
    (found,) = bad.findings(TOLERANCE, True)
    assert found.good and "solved in full" in found.words
    (found,) = Watch().evaluated(0).findings(TOLERANCE, False)
    assert found.good is None


def test_what_was_outside_is_proven_where_it_was_solved_in_full():
    _, outside = watched([1e-6], [3.0], is_unknown=True, on_grid=True).findings(TOLERANCE, False)
    assert outside == (None, "1 of 1 geometries were outside the model's tables")
    _, outside = watched([1e-6], [3.0], is_unknown=True, full=True).findings(TOLERANCE, True)
    assert outside == (True, "1 of 1 geometries were outside the model's tables, and solved in full")
