"""Non-negative least squares that stop early: the exact weights where there are any, and no more points than are allowed."""

import numpy as np
import pytest

from mpiqmd.rom.learned.nonnegative_weights import early_stopped_nnls, nonnegative_weights

pytestmark = pytest.mark.serial


def test_non_negative_least_squares(rng):
    matrix = rng.uniform(size=(30, 12))
    weights = np.where(np.arange(12) % 3 == 0, rng.uniform(0.5, 1.0, size=12), 0.0)
    np.testing.assert_allclose(early_stopped_nnls(matrix, matrix @ weights, 12), weights, atol=1e-10)
    fewer = early_stopped_nnls(matrix, matrix @ rng.normal(size=12), 3)
    assert (fewer >= 0).all() and np.count_nonzero(fewer) <= 3


def test_more_points_are_better(rng):
    """Of smooth functions, whose equations have a low rank."""
    points, centres = rng.uniform(-1, 1, size=(400, 2)), rng.uniform(-1.5, 1.5, size=(60, 2))
    equations = np.exp(-((centres[:, None] - points[None]) ** 2).sum(axis=2))
    exact = equations.mean(axis=1)
    errors = []
    for count in (5, 20, 40):
        weights = nonnegative_weights(equations, exact, count)
        assert (weights >= 0).all() and 0 < np.count_nonzero(weights) <= count
        errors.append(np.abs(equations @ weights - exact).max())
    assert errors[0] > 10 * errors[1] and errors[1] > 10 * errors[2]


@pytest.mark.parametrize("shape", [(10, 1), (1, 10), (10, 2), (2, 2)])
def test_few_equations_or_points_are_solved(shape, rng):
    matrix = rng.uniform(0.5, 1.0, size=shape)
    exact = matrix @ np.ones(shape[1])
    weights = nonnegative_weights(matrix, exact, 20)
    np.testing.assert_allclose(matrix @ weights, exact, rtol=1e-9)


def test_as_many_points_as_equations_may_lose_some_again():
    """Three of these have the factors square on the way."""
    for seed in (15, 131, 279):
        rng = np.random.default_rng(seed)
        matrix, exact = rng.normal(size=(5, 40)), rng.normal(size=5)
        weights = early_stopped_nnls(matrix, exact, 30)
        assert (weights >= 0).all() and np.count_nonzero(weights) <= 5
        np.testing.assert_allclose(matrix @ weights, exact, atol=1e-9)
