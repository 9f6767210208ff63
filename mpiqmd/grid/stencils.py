"""Central finite-difference coefficients of any even order, from their moment conditions.

For half width ``w = order / 2`` the weights of the first and second derivative on a unit spacing are

    d1_k = -(-1)^k (w!)^2 / (k (w-k)! (w+k)!),     d2_k = 2 d1_k / k,     d2_0 = -2 sum_k 1/k^2,   k = 1..w,

the unique solution of the moment conditions (Fornberg, Math. Comp. 51, 699 (1988)).
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np

ORDERS = (2, 4, 6, 8, 10, 12)


def first_derivative(order: int) -> list[Fraction]:
    """Return the ``order + 1`` weights of d/dx at offsets ``-w..w`` on a unit grid, exactly.  Not collective."""
    width = order // 2
    positive = [
        -Fraction((-1) ** k * factorial(width) ** 2, k * factorial(width - k) * factorial(width + k))
        for k in range(1, width + 1)
    ]
    return [-weight for weight in reversed(positive)] + [Fraction(0)] + positive


def second_derivative(order: int) -> list[Fraction]:
    """Return the ``order + 1`` weights of d²/dx² at offsets ``-w..w`` on a unit grid, exactly.  Not collective."""
    width = order // 2
    first = first_derivative(order)[width + 1 :]
    positive = [2 * weight / k for k, weight in enumerate(first, start=1)]
    centre = -2 * sum(positive, Fraction(0))
    return list(reversed(positive)) + [centre] + positive


def matrix(weights: list[Fraction], spacing_power: float, n: int, periodic: bool) -> np.ndarray:
    """Return the dense ``(n, n)`` matrix of a stencil on ``n`` points, scaled by ``spacing_power``.

    In the unit of ``spacing_power``: 1/bohr² for a second derivative.  Periodic rows wrap; otherwise the function is zero
    beyond the last points.  Not collective.
    """
    width = len(weights) // 2
    result = np.zeros((n, n))
    for offset, weight in zip(range(-width, width + 1), weights, strict=True):
        for row in range(n):
            column = row + offset
            if periodic:
                result[row, column % n] += float(weight)
            elif 0 <= column < n:
                result[row, column] += float(weight)
    return result * spacing_power
