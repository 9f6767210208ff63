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
    core: tuple[np.ndarray, float, np.ndarray],
    values: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Add ``f(|r - x|)`` and, if there is room, its gradient in r, and the derivatives of both in x, for x (B, 3).

    ``seen_from`` (e, 3) are points r or images of them, ``places`` (e,) where they go in ``values`` (B, 1 or 4, Q) and
    ``slopes`` (B, 3, 1 or 4, Q); ``core`` holds the spline's coefficients of f (i, 4), its intervals per bohr, and along which
    axes it moves (3,): there are no derivatives along the others.
    """
    coefficients, inverse_step, moves = core
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
                if with_gradient:
                    values[b, 1 + v, q] += per_length * away[v]
                if moves[v]:
                    slopes[b, v, 0, q] -= per_length * away[v]
                if moves[v] and with_gradient:
                    for u in range(3):
                        slopes[b, v, 1 + u, q] -= along * away[v] * away[u] + (per_length if u == v else 0.0)


@compiled()
def multiply_curvature(slope: np.ndarray, second: tuple[np.ndarray, ...], changes: np.ndarray, result: np.ndarray) -> None:
    """Set the second derivative of e(ρ, |∇ρ|²) times changes (n, 1 or 4, P) of ρ and ∇ρ at gradients (3, P).

    ``second`` are ∂²e/∂ρ², ∂²e/∂ρ∂σ, ∂²e/∂σ² and ∂e/∂σ, each (P,).
    """
    rr, rs, ss, v_sigma = second
    with_gradient = changes.shape[1] > 1
    for n in range(len(changes)):
        change, target = changes[n], result[n]
        for p in range(change.shape[1]):
            target[0, p] = rr[p] * change[0, p]
            if with_gradient:
                d_sigma = 0.0
                for v in range(3):
                    d_sigma += 2.0 * slope[v, p] * change[1 + v, p]
                along = 2.0 * (rs[p] * change[0, p] + ss[p] * d_sigma)
                target[0, p] += rs[p] * d_sigma
                for v in range(3):
                    target[1 + v, p] = along * slope[v, p] + 2.0 * v_sigma[p] * change[1 + v, p]


@compiled()
def add_slopes(slopes: np.ndarray, acting: np.ndarray, atoms: np.ndarray, gradient: np.ndarray) -> None:
    """Add ``Σ_u slopes (3, u, P) acting (u, P)`` to a gradient (N, 3): pair p is of an atom and a point."""
    for v in range(3):
        for u in range(len(acting)):
            for p in range(len(atoms)):
                gradient[atoms[p], v] += slopes[v, u, p] * acting[u, p]


@compiled()
def add_at(values: np.ndarray, places: np.ndarray, target: np.ndarray) -> None:
    """Add values (u, P) of pairs of an atom and a point to those of the points (u, Q)."""
    for u in range(len(values)):
        for p in range(len(places)):
            target[u, places[p]] += values[u, p]
