"""The loops over Chebyshev tables of a compiled model, compiled to machine code.

The first axis b of most arrays counts the geometries of a batch; each is treated by itself.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled

FARTHEST = 3.0
"""Distance from the middle of a box, in half-widths, beyond which polynomials are those at this distance."""


@compiled()
def chebyshev_weights(positions, atoms, lower, upper, starts, degrees, n_degrees, weights, slopes, excess):
    """Set the polynomial products of all tables (B, K), their derivatives, and how far outside its box an atom is (B,)."""
    t = np.zeros((3, n_degrees))
    dt = np.zeros((3, n_degrees))
    for b in range(len(positions)):
        excess[b] = 0.0
        for table in range(len(atoms)):
            for v in range(3):
                t[v, 0] = 1.0
                dt[v, 0] = 0.0
                low, high, at = lower[table, v], upper[table, v], positions[b, atoms[table], v]
                if high > low:
                    excess[b] = max(excess[b], low - at, at - high)
                    half = 0.5 * (high - low)
                    # far outside nobody wants the values, which might overflow
                    x = min(max((at - 0.5 * (high + low)) / half, -FARTHEST), FARTHEST)
                    t[v, 1] = x
                    dt[v, 1] = 1.0 / half
                    for j in range(2, n_degrees):
                        t[v, j] = 2.0 * x * t[v, j - 1] - t[v, j - 2]
                        dt[v, j] = 2.0 * t[v, j - 1] / half + 2.0 * x * dt[v, j - 1] - dt[v, j - 2]
            for k in range(starts[table], starts[table + 1]):
                x_degree, y_degree, z_degree = degrees[k, 0], degrees[k, 1], degrees[k, 2]
                t_x, t_y, t_z = t[0, x_degree], t[1, y_degree], t[2, z_degree]
                weights[b, k] = t_x * t_y * t_z
                slopes[b, k, 0] = dt[0, x_degree] * t_y * t_z
                slopes[b, k, 1] = t_x * dt[1, y_degree] * t_z
                slopes[b, k, 2] = t_x * t_y * dt[2, z_degree]


@compiled()
def fold(weights, targets, factors, size):
    """Return the polynomials added up on the tables they share, with the signs of each class, shape (classes, B, size)."""
    result = np.zeros((len(factors), len(weights), size))
    for c in range(len(factors)):
        for b in range(len(weights)):
            for k in range(len(targets)):
                result[c, b, targets[k]] += factors[c, k] * weights[b, k]
    return result


@compiled()
def add_pull(pull, targets, factors, slopes, starts, atoms, gradient):
    """Add ``Σ_k slope_k Σ_c factor_ck pull_c`` of every atom to ``gradient`` (B, N, 3)."""
    for b in range(len(gradient)):
        for table in range(len(atoms)):
            for k in range(starts[table], starts[table + 1]):
                total = 0.0
                for c in range(len(pull)):
                    total += factors[c, k] * pull[c, b, targets[k]]
                for v in range(3):
                    gradient[b, atoms[table], v] += total * slopes[b, k, v]
