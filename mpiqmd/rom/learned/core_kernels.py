"""The model core of an ion at a few points, compiled to machine code."""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled

CLOSE = 1e-9
"""Distance (bohr) below which a direction is not told from another: there f'/r is f''."""


@compiled()
def add_core(
    positions: np.ndarray,
    seen_from: np.ndarray,
    places: np.ndarray,
    spline: tuple[np.ndarray, float],
    values: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Add ``f(|r - x|)`` and, if there is room, its gradient in r, and the derivatives of both in x, for x (B, 3).

    ``seen_from`` (e, 3) are points r or images of them, ``places`` (e,) where they go in ``values`` (B, 1 or 4, Q) and
    ``slopes`` (B, 3, 1 or 4, Q); ``spline`` holds the coefficients of f (i, 4) and the intervals per bohr.
    """
    coefficients, inverse_step = spline
    with_gradient = values.shape[1] > 1
    away = np.empty(3)
    for b in range(len(positions)):
        for e in range(len(places)):
            for v in range(3):
                away[v] = seen_from[e, v] - positions[b, v]
            distance = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2)
            scaled = distance * inverse_step
            if not scaled < len(coefficients):
                continue
            i = int(scaled)
            t, c, q = (scaled - i) / inverse_step, coefficients[i], places[e]
            second = 2.0 * c[2] + 6.0 * t * c[3]
            first = c[1] + t * (2.0 * c[2] + 3.0 * t * c[3])
            # f'/r, and what is left of f'' along the direction, over r²
            per_length = first / distance if distance > CLOSE else second
            along = (second - per_length) / distance**2 if distance > CLOSE else 0.0
            values[b, 0, q] += c[0] + t * (c[1] + t * (c[2] + t * c[3]))
            for v in range(3):
                slopes[b, v, 0, q] -= per_length * away[v]
                if with_gradient:
                    values[b, 1 + v, q] += per_length * away[v]
                    for u in range(3):
                        slopes[b, v, 1 + u, q] -= along * away[v] * away[u] + (per_length if u == v else 0.0)
