"""Finite-difference tables: exact moment conditions, published coefficients, and the matrices made of them."""

from fractions import Fraction as F
from math import factorial

import numpy as np
import pytest

from mpiqmd.grid.stencils import ORDERS, first_derivative, matrix, second_derivative

pytestmark = pytest.mark.serial

PUBLISHED_FIRST = {
    2: [F(1, 2)],
    4: [F(2, 3), F(-1, 12)],
    6: [F(3, 4), F(-3, 20), F(1, 60)],
    8: [F(4, 5), F(-1, 5), F(4, 105), F(-1, 280)],
    10: [F(5, 6), F(-5, 21), F(5, 84), F(-5, 504), F(1, 1260)],
    12: [F(6, 7), F(-15, 56), F(5, 63), F(-1, 56), F(1, 385), F(-1, 5544)],
}
PUBLISHED_SECOND = {
    2: [F(-2), F(1)],
    4: [F(-5, 2), F(4, 3), F(-1, 12)],
    6: [F(-49, 18), F(3, 2), F(-3, 20), F(1, 90)],
    8: [F(-205, 72), F(8, 5), F(-1, 5), F(8, 315), F(-1, 560)],
    10: [F(-5269, 1800), F(5, 3), F(-5, 21), F(5, 126), F(-5, 1008), F(1, 3150)],
    12: [F(-5369, 1800), F(12, 7), F(-15, 56), F(10, 189), F(-1, 112), F(2, 1925), F(-1, 16632)],
}
"""Weights at offsets 0 (second derivative only), 1, 2, ...: Fornberg, Math. Comp. 51, 699 (1988), and their pattern."""


def moments(weights):
    """``Σ_k w_k k^m`` for all powers m up to ``order + 3``, exactly."""
    width = len(weights) // 2
    return [sum(w * F(k) ** m for k, w in zip(range(-width, width + 1), weights, strict=True)) for m in range(2 * width + 4)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("derivative, weights", [(1, first_derivative), (2, second_derivative)])
def test_moment_conditions_hold_exactly_and_no_further(order, derivative, weights):
    found = moments(weights(order))
    exact_up_to = order + derivative - 1
    expected = [factorial(derivative) if m == derivative else 0 for m in range(exact_up_to + 1)]
    assert found[: exact_up_to + 1] == expected
    assert found[exact_up_to + 1] != 0


@pytest.mark.parametrize("order", ORDERS)
def test_weights_are_the_published_ones(order):
    width = order // 2
    assert first_derivative(order)[width + 1 :] == PUBLISHED_FIRST[order]
    assert second_derivative(order)[width:] == PUBLISHED_SECOND[order]


@pytest.mark.parametrize("order", ORDERS)
def test_parity(order):
    first, second = first_derivative(order), second_derivative(order)
    assert [-w for w in reversed(first)] == first
    assert list(reversed(second)) == second


@pytest.mark.parametrize("order", ORDERS)
def test_periodic_matrix_is_circulant_and_isolated_is_its_corner_free_part(order):
    n = 17
    weights = second_derivative(order)
    periodic, isolated = matrix(weights, 1.0, n, True), matrix(weights, 1.0, n, False)
    rows = np.arange(n)
    assert all(np.array_equal(np.roll(periodic[0], shift), periodic[shift]) for shift in rows)
    assert np.abs(periodic.sum(axis=1)).max() < 1e-13
    near = np.abs(rows[:, None] - rows[None, :]) <= order // 2
    assert np.array_equal(isolated, np.where(near, periodic, 0.0))


def test_scale_multiplies():
    weights = first_derivative(4)
    assert matrix(weights, 2.5, 9, False) == pytest.approx(2.5 * matrix(weights, 1.0, 9, False))
