"""The few loops of the online step, compiled to machine code.

Each kernel is the plain form of an equation in ``energy`` and ``chart``; those NumPy versions are the reference the tests
compare with.  Sizes are tens to hundreds, so what matters is one pass over each array and no temporary objects.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def chebyshev_table(coefficients, lower, upper, position, values, gradient):
    """Add a tabulated function at a position to ``values`` (K,) and set its ``gradient`` (3, K).

    ``coefficients`` has shape (n_x, n_y, n_z, K) with n = 1 along directions that do not move.
    """
    t = np.zeros((3, 64))
    dt = np.zeros((3, 64))
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


@njit(cache=True)
def span_and_density(
    kappa, chart_rows, chart_columns, occupied, empty, pair_rows, pair_columns, multiplicities, modes_qm, u, w, d, left, rho
):
    """Set U, W (modes, n), the pair coefficients d of P = W Uᵀ, and the orbitals and density at the quadrature points."""
    n = occupied.shape[1]
    matrix = np.zeros((empty.shape[1], n))
    for k in range(len(kappa)):
        matrix[chart_rows[k], chart_columns[k]] = kappa[k]
    overlap = np.dot(matrix.T, matrix)
    for i in range(n):
        overlap[i, i] += 1.0
    u[:] = occupied + np.dot(empty, matrix)
    w[:] = np.dot(u, np.linalg.inv(overlap))
    for p in range(len(d)):
        i, j = pair_rows[p], pair_columns[p]
        total = 0.0
        for k in range(n):
            total += w[i, k] * u[j, k]
        d[p] = multiplicities[p] * total
    if len(modes_qm):
        left[:] = np.dot(modes_qm, u)
        right = np.dot(modes_qm, w)
        for q in range(len(rho)):
            total = 0.0
            for k in range(n):
                total += left[q, k] * right[q, k]
            rho[q] = 2.0 * total


@njit(cache=True)
def density_slope(slopes_qvm, u, w, left, modes_qm, orbital_slopes, slope):
    """Set the orbital gradients (Q, 3, n) and the density gradient (3, Q) at the quadrature points."""
    right = np.dot(modes_qm, w)
    n_points, _, n_modes = slopes_qvm.shape
    n = u.shape[1]
    flat = np.dot(slopes_qvm.reshape(3 * n_points, n_modes), u)
    orbital_slopes[:] = flat.reshape(n_points, 3, n)
    for q in range(n_points):
        for v in range(3):
            total = 0.0
            for k in range(n):
                total += orbital_slopes[q, v, k] * right[q, k]
            slope[v, q] = 4.0 * total


@njit(cache=True)
def interaction_energy(interaction, edges, d, potential):
    """Set ``potential = K d`` class by class and return ``½ d·K d``."""
    first, energy = 0, 0.0
    for c in range(len(edges) - 1):
        start, stop = edges[c], edges[c + 1]
        size = stop - start
        block = interaction[first : first + size * size].reshape(size, size)
        potential[start:stop] = np.dot(block, d[start:stop])
        first += size * size
    for p in range(len(d)):
        energy += 0.5 * d[p] * potential[p]
    return energy


@njit(cache=True)
def applied_hamiltonian(linear_mm, potential, pair_rows, pair_columns, u, applied):
    """Set ``applied = (h + V) U`` with V given on the pairs."""
    matrix = linear_mm.copy()
    for p in range(len(potential)):
        i, j = pair_rows[p], pair_columns[p]
        matrix[i, j] += potential[p]
        if i != j:
            matrix[j, i] += potential[p]
    applied[:] = np.dot(matrix, u)


@njit(cache=True)
def lda_rest(weights, e, v_rho, rho, rho0, e0, v0, rr, modes_qm, left, applied):
    """Add the quadrature's Hamiltonian times U to ``applied`` and return its energy, for a local functional."""
    energy = 0.0
    weighted = np.empty_like(left)
    for q in range(len(weights)):
        change = rho[q] - rho0[q]
        energy += weights[q] * (e[q] - e0[q] - change * (v0[q] + 0.5 * rr[q] * change))
        pull = weights[q] * (v_rho[q] - v0[q] - rr[q] * change)
        for k in range(left.shape[1]):
            weighted[q, k] = pull * left[q, k]
    applied += np.dot(modes_qm.T, weighted)
    return energy


@njit(cache=True)
def gradient_and_step(u, w, applied, empty, chart_rows, chart_columns, inverse_hessian, gradient, step):
    """Set dA/dκ and the quasi-Newton step; return the step's largest element."""
    residual = np.dot(applied - np.dot(u, np.dot(w.T, applied)), np.dot(w.T, w))
    full = np.dot(empty.T, residual)
    for k in range(len(gradient)):
        gradient[k] = 4.0 * full[chart_rows[k], chart_columns[k]]
    step[:] = -np.dot(inverse_hessian, gradient)
    return np.abs(step).max()


@njit(cache=True)
def anderson(iterates, steps, count):
    """Return Anderson's next iterate from ``count`` stored rows, the latest last."""
    last = count - 1
    result = iterates[last] + steps[last]
    if last == 0:
        return result
    differences = np.empty((last, iterates.shape[1]))
    for j in range(last):
        differences[j] = steps[last] - steps[j]
    matrix = np.dot(differences, differences.T)
    for j in range(last):
        matrix[j, j] = matrix[j, j] * (1.0 + 1e-12) + 1e-300
    theta = np.linalg.solve(matrix, np.dot(differences, steps[last]))
    for j in range(last):
        result -= theta[j] * (differences[j] + iterates[last] - iterates[j])
    return result


@njit(cache=True)
def coulomb_pairs(positions, charges, gradient):
    """Add the gradient of ``Σ Z_a Z_b / |R_ab|`` to ``gradient`` and return the energy."""
    energy = 0.0
    for a in range(len(charges)):
        for b in range(a):
            square = 0.0
            for v in range(3):
                square += (positions[a, v] - positions[b, v]) ** 2
            product = charges[a] * charges[b] / np.sqrt(square)
            energy += product
            for v in range(3):
                slope = -product * (positions[a, v] - positions[b, v]) / square
                gradient[a, v] += slope
                gradient[b, v] -= slope
    return energy
