"""The loops of the online step over what depends on the geometry, compiled to machine code.

Each kernel is the plain form of an equation in ``chebyshev``, ``tables``, ``ions`` and ``predictor``.  Sizes are tens to
hundreds, so what matters is one pass over each array and no temporary objects.  The first axis b of most arrays counts the
geometries of a batch; each is treated by itself, so that its numbers are the same in any company.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled

FARTHEST = 3.0
"""Distance from the middle of a box, in half-widths, beyond which polynomials are those at this distance."""
MOST_NODES = 64
"""Chebyshev nodes per direction for which the kernels have room."""


@compiled()
def chebyshev_table(coefficients, lower, upper, position, values, gradient):
    """Add a tabulated function at a position to ``values`` (K,) and set its ``gradient`` (3, K).

    ``coefficients`` has shape (n_x, n_y, n_z, K) with n = 1 along directions that do not move.
    """
    t = np.zeros((3, MOST_NODES))
    dt = np.zeros((3, MOST_NODES))
    for v in range(3):
        n = coefficients.shape[v]
        t[v, 0] = 1.0
        if n > 1:
            half = 0.5 * (upper[v] - lower[v])
            x = (position[v] - 0.5 * (upper[v] + lower[v])) / half
            t[v, 1] = x
            dt[v, 1] = 1.0
            for j in range(2, n):
                t[v, j] = 2.0 * x * t[v, j - 1] - t[v, j - 2]
                dt[v, j] = 2.0 * t[v, j - 1] + 2.0 * x * dt[v, j - 1] - dt[v, j - 2]
            for j in range(n):
                dt[v, j] /= half
    gradient[:] = 0.0
    n_x, n_y, n_z, size = coefficients.shape
    for i in range(n_x):
        for j in range(n_y):
            for k in range(n_z):
                weight = t[0, i] * t[1, j] * t[2, k]
                w_x = dt[0, i] * t[1, j] * t[2, k]
                w_y = t[0, i] * dt[1, j] * t[2, k]
                w_z = t[0, i] * t[1, j] * dt[2, k]
                row = coefficients[i, j, k]
                if n_z == 1:
                    for p in range(size):
                        c = row[p]
                        values[p] += weight * c
                        gradient[0, p] += w_x * c
                        gradient[1, p] += w_y * c
                else:
                    for p in range(size):
                        c = row[p]
                        values[p] += weight * c
                        gradient[0, p] += w_x * c
                        gradient[1, p] += w_y * c
                        gradient[2, p] += w_z * c


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


@compiled()
def polynomial_terms(positions, axes, offset, parents, factors, n_low):
    """Return the terms (B, M) of polynomials of ``axes · x - offset`` and the first of them in single precision (B, n_low).

    The terms are 1 and products of coordinates, each one factor more than its parent; positions are (B, 3 N).
    """
    size, count = len(positions), len(parents) + 1
    result, low = np.empty((size, count)), np.empty((size, n_low), np.float32)
    x = np.empty(len(offset))
    for b in range(size):
        for d in range(len(offset)):
            total = 0.0
            for i in range(axes.shape[1]):
                total += axes[d, i] * positions[b, i]
            x[d] = total - offset[d]
        result[b, 0] = 1.0
        for k in range(count - 1):
            result[b, k + 1] = result[b, parents[k]] * x[factors[k]]
        for k in range(n_low):
            low[b, k] = result[b, k]
    return result, low


@compiled()
def gradient_forces(body, gradient, conditions, weights, rotation, permutation, forces):
    """Set the forces (N, 3) in the laboratory from the gradient in the body frame: ``Alignment.gradient_forces``."""
    torque, matrix = np.zeros(3), np.zeros((3, 3))
    for a in range(len(body)):
        for v in range(3):
            y, z = (v + 1) % 3, (v + 2) % 3
            torque[v] += body[a, y] * gradient[a, z] - body[a, z] * gradient[a, y]
            for k in range(3):
                matrix[v, k] += body[a, y] * conditions[k, a, z] - body[a, z] * conditions[k, a, y]
    multipliers = np.linalg.solve(matrix, torque)
    left, net = np.empty_like(gradient), np.zeros(3)
    for a in range(len(body)):
        for v in range(3):
            left[a, v] = gradient[a, v]
            for k in range(3):
                left[a, v] -= multipliers[k] * conditions[k, a, v]
            net[v] += left[a, v]
    for a in range(len(body)):
        for v in range(3):
            total = 0.0
            for k in range(3):
                total += (left[a, k] - weights[a] * net[k]) * rotation[k, v]
            forces[permutation[a], v] = -total


@compiled(error_model="numpy")
def coulomb_pairs(positions, charges, energies, gradient):
    """Set the energies (B,) ``Σ Z_a Z_b / |R_ab|`` of positions (B, N, 3) and add their gradients to ``gradient``.

    Infinite where two nuclei coincide, which the provider then finds outside its tables.
    """
    for g in range(len(positions)):
        energy = 0.0
        for a in range(len(charges)):
            for b in range(a):
                square = 0.0
                for v in range(3):
                    square += (positions[g, a, v] - positions[g, b, v]) ** 2
                product = charges[a] * charges[b] / np.sqrt(square)
                energy += product
                for v in range(3):
                    slope = -product * (positions[g, a, v] - positions[g, b, v]) / square
                    gradient[g, a, v] += slope
                    gradient[g, b, v] -= slope
        energies[g] = energy
