"""Anderson's acceleration: exact for a linear problem after as many steps as it has dimensions."""

import numpy as np
import pytest

from mpiqmd.rom.learned.anderson import accelerated

pytestmark = pytest.mark.serial


def test_a_linear_fixed_point_is_found_in_as_many_steps_as_dimensions(rng):
    matrix, fixed = 0.3 * rng.normal(size=(4, 4)), rng.normal(size=4)
    iterates, steps, x = [], [], np.zeros(4)
    for _ in range(5):
        iterates.append(x)
        steps.append((matrix - np.eye(4)) @ (x - fixed))
        x = accelerated(iterates, steps)
    assert np.abs(iterates[-1] - fixed).max() > 1e-3
    np.testing.assert_allclose(x, fixed, atol=1e-7)


def test_without_a_history_the_step_is_taken(rng):
    x, step = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(accelerated([x], [step]), x + step)


def test_steps_that_are_the_same_have_a_next_one(rng):
    x, step = rng.normal(size=(2, 3))
    assert np.isfinite(accelerated([x, x, x], [step, step, step])).all()
