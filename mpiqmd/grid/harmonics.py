"""Real solid harmonics ``S_lm = r^l Y_lm`` with their gradients, l = 0 to 3.

``Y_lm`` are the real spherical harmonics, orthonormal on the unit sphere.  Polynomials of x, y, z, so they are smooth
at the origin.
"""

from __future__ import annotations

import numpy as np


def solid_harmonics(angular_momentum: int, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Return the 2l + 1 functions ``S_lm(x, y, z)``, each of the broadcast shape, in bohr^l.  Not collective."""
    ones = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape))
    return [_polynomial(terms, x, y, z, ones) for terms in _HARMONICS[angular_momentum]]


def solid_harmonic_gradients(
    angular_momentum: int, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return ``(∂x, ∂y, ∂z) S_lm`` for the 2l + 1 functions, each of the broadcast shape, in bohr^(l-1).  Not collective."""
    ones = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape))
    return [
        tuple(_polynomial(_differentiate(terms, axis), x, y, z, ones) for axis in range(3))
        for terms in _HARMONICS[angular_momentum]
    ]


Terms = dict[tuple[int, int, int], float]


def _polynomial(terms: Terms, x: np.ndarray, y: np.ndarray, z: np.ndarray, ones: np.ndarray) -> np.ndarray:
    result = 0.0 * ones
    for (i, j, k), coefficient in terms.items():
        result += coefficient * x**i * y**j * z**k
    return result


def _differentiate(terms: Terms, axis: int) -> Terms:
    result: Terms = {}
    for powers, coefficient in terms.items():
        if powers[axis]:
            x, y, z = (power - (position == axis) for position, power in enumerate(powers))
            result[x, y, z] = coefficient * powers[axis]
    return result


def _normalised(scale: float, terms: Terms) -> Terms:
    return {powers: float(np.sqrt(scale / np.pi)) * coefficient for powers, coefficient in terms.items()}


_HARMONICS: list[list[Terms]] = [
    [_normalised(1 / 4, {(0, 0, 0): 1})],
    [
        _normalised(3 / 4, {(0, 1, 0): 1}),
        _normalised(3 / 4, {(0, 0, 1): 1}),
        _normalised(3 / 4, {(1, 0, 0): 1}),
    ],
    [
        _normalised(15 / 4, {(1, 1, 0): 1}),
        _normalised(15 / 4, {(0, 1, 1): 1}),
        _normalised(5 / 16, {(0, 0, 2): 2, (2, 0, 0): -1, (0, 2, 0): -1}),
        _normalised(15 / 4, {(1, 0, 1): 1}),
        _normalised(15 / 16, {(2, 0, 0): 1, (0, 2, 0): -1}),
    ],
    [
        _normalised(35 / 32, {(2, 1, 0): 3, (0, 3, 0): -1}),
        _normalised(105 / 4, {(1, 1, 1): 1}),
        _normalised(21 / 32, {(0, 1, 2): 4, (2, 1, 0): -1, (0, 3, 0): -1}),
        _normalised(7 / 16, {(0, 0, 3): 2, (2, 0, 1): -3, (0, 2, 1): -3}),
        _normalised(21 / 32, {(1, 0, 2): 4, (3, 0, 0): -1, (1, 2, 0): -1}),
        _normalised(105 / 16, {(2, 0, 1): 1, (0, 2, 1): -1}),
        _normalised(35 / 32, {(3, 0, 0): 1, (1, 2, 0): -3}),
    ],
]
