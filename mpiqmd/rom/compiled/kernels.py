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
def chebyshev_weights(positions, atoms, lower, upper, starts, degrees, weights, slopes):
    """Set the polynomial products of all tables and their derivatives; return how far outside its box an atom is."""
    excess = 0.0
    t = np.zeros((3, 64))
    dt = np.zeros((3, 64))
    for table in range(len(atoms)):
        for v in range(3):
            t[v, 0] = 1.0
            dt[v, 0] = 0.0
            low, high, at = lower[table, v], upper[table, v], positions[atoms[table], v]
            if high > low:
                excess = max(excess, low - at, at - high)
                half = 0.5 * (high - low)
                x = (at - 0.5 * (high + low)) / half
                t[v, 1] = x
                dt[v, 1] = 1.0 / half
                for j in range(2, 64):
                    t[v, j] = 2.0 * x * t[v, j - 1] - t[v, j - 2]
                    dt[v, j] = 2.0 * t[v, j - 1] / half + 2.0 * x * dt[v, j - 1] - dt[v, j - 2]
        for k in range(starts[table], starts[table + 1]):
            a, b, c = degrees[k, 0], degrees[k, 1], degrees[k, 2]
            weights[k] = t[0, a] * t[1, b] * t[2, c]
            slopes[k, 0] = dt[0, a] * t[1, b] * t[2, c]
            slopes[k, 1] = t[0, a] * dt[1, b] * t[2, c]
            slopes[k, 2] = t[0, a] * t[1, b] * dt[2, c]
    return excess


@njit(cache=True)
def fold(weights, targets, factors, size):
    """Return the polynomials added up on the tables they share, with the signs of each class, shape (classes, size)."""
    result = np.zeros((len(factors), size))
    for c in range(len(factors)):
        for k in range(len(weights)):
            result[c, targets[k]] += factors[c, k] * weights[k]
    return result


@njit(cache=True)
def add_pull(pull, targets, factors, slopes, starts, atoms, gradient):
    """Add ``Σ_k slope_k Σ_c factor_ck pull_c`` of every atom to ``gradient``."""
    for table in range(len(atoms)):
        for k in range(starts[table], starts[table + 1]):
            total = 0.0
            for c in range(len(pull)):
                total += factors[c, k] * pull[c, targets[k]]
            for v in range(3):
                gradient[atoms[table], v] += total * slopes[k, v]


@njit(cache=True)
def polynomial_terms(x, parents, factors):
    """Return 1 and the products of coordinates, each one factor more than its parent."""
    result = np.empty(len(parents) + 1)
    result[0] = 1.0
    for k in range(len(parents)):
        result[k + 1] = result[parents[k]] * x[factors[k]]
    return result


@njit(cache=True)
def density_at_points(
    kappa, at_points, chart_rows, chart_columns, occupied, empty, pair_rows, pair_columns, multiplicities,
    modes_qm, u, w, d, left, right, rho
):
    """Set U, W (modes, n), the pair coefficients d of P = W Uᵀ and, if asked, orbitals and density at the points."""
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
    if at_points and len(modes_qm):
        np.dot(modes_qm, u, left)
        np.dot(modes_qm, w, right)
        for q in range(len(rho)):
            total = 0.0
            for k in range(n):
                total += left[q, k] * right[q, k]
            rho[q] = 2.0 * total


@njit(cache=True)
def density_slope(flat_slopes, u, right, orbital_slopes, slope, sigma):
    """Set the orbital gradients (3 Q, n), the density gradient (3, Q) and its square (Q,) at the quadrature points."""
    np.dot(flat_slopes, u, orbital_slopes)
    for q in range(len(sigma)):
        sigma[q] = 0.0
        for v in range(3):
            total = 0.0
            for k in range(u.shape[1]):
                total += orbital_slopes[3 * q + v, k] * right[q, k]
            slope[v, q] = 4.0 * total
            sigma[q] += slope[v, q] ** 2


@njit(cache=True)
def linear_response(vectors, signs, counts, edges, linear, pair_rows, pair_columns, d, potential, u, applied):
    """Set ``potential = K d`` and ``applied = (h + K d) U``; return ``d·h + ½ d·K d``.

    ``vectors`` holds the rows g of K class after class, ``counts`` of them, and ``edges`` where its pairs begin.
    """
    first, row = 0, 0
    for c in range(len(counts)):
        start, stop, count = edges[c], edges[c + 1], counts[c]
        block = vectors[first : first + count * (stop - start)].reshape(count, stop - start)
        charges = np.dot(block, d[start:stop])
        charges *= signs[row : row + count]
        np.dot(charges, block, potential[start:stop])
        first += count * (stop - start)
        row += count
    energy = 0.0
    n_modes = len(u)
    matrix = np.zeros((n_modes, n_modes))
    for p in range(len(d)):
        energy += d[p] * (linear[p] + 0.5 * potential[p])
        value = linear[p] + potential[p]
        matrix[pair_rows[p], pair_columns[p]] = value
        matrix[pair_columns[p], pair_rows[p]] = value
    np.dot(matrix, u, applied)
    return energy


@njit(cache=True)
def lda_rest(weights, e, v_rho, rho, rho0, e0, v0, rr, modes_qm, left, weighted, applied):
    """Add the quadrature's Hamiltonian times U to ``applied`` and return its energy, for a local functional.

    ``e`` is the energy per electron.
    """
    energy = 0.0
    for q in range(len(weights)):
        change = rho[q] - rho0[q]
        energy += weights[q] * (e[q] * rho[q] - e0[q] - change * (v0[q] + 0.5 * rr[q] * change))
        pull = weights[q] * (v_rho[q] - v0[q] - rr[q] * change)
        for k in range(left.shape[1]):
            weighted[q, k] = pull * left[q, k]
    applied += np.dot(modes_qm.T, weighted)
    return energy


@njit(cache=True)
def gga_rest(
    weights, e, v_rho, v_sigma, rho, slope, first, second, slope0, modes_qm, flat_slopes, left,
    orbital_slopes, weighted, along, applied
):
    """The same for a functional of the gradient.

    ``first`` holds ρ0, e0, ∂e/∂ρ and ∂e/∂σ at the reference, ``second`` the second derivatives ρρ, ρσ, σσ.
    """
    energy = 0.0
    n = left.shape[1]
    pull = np.empty(3)
    for q in range(len(weights)):
        change = rho[q] - first[0, q]
        cross, bend = 0.0, 0.0
        for v in range(3):
            difference = slope[v, q] - slope0[v, q]
            cross += 2.0 * slope0[v, q] * difference
            bend += difference * difference
        rr, rs, ss = second[0, q], second[1, q], second[2, q]
        value = e[q] * rho[q] - first[1, q] - first[2, q] * change - first[3, q] * (cross + bend)
        value -= 0.5 * (rr * change * change + 2.0 * rs * change * cross + ss * cross * cross)
        energy += weights[q] * value
        d_rho = weights[q] * (v_rho[q] - first[2, q] - rr * change - rs * cross)
        tilt = 2.0 * (rs * change + ss * cross + first[3, q])
        for v in range(3):
            difference = slope[v, q] - slope0[v, q]
            pull[v] = weights[q] * (2.0 * v_sigma[q] * slope[v, q] - tilt * slope0[v, q] - 2.0 * first[3, q] * difference)
        for k in range(n):
            total = d_rho * left[q, k]
            for v in range(3):
                total += pull[v] * orbital_slopes[3 * q + v, k]
                along[3 * q + v, k] = pull[v] * left[q, k]
            weighted[q, k] = total
    applied += np.dot(modes_qm.T, weighted)
    applied += np.dot(flat_slopes.T, along)
    return energy


@njit(cache=True, fastmath=True)
def packed_product(triangle, vector, out):
    """Set ``out = B v`` for a symmetric B given by its lower triangle, row by row."""
    n = len(vector)
    total = np.zeros(n, np.float32)
    first = 0
    for i in range(n):
        row = triangle[first : first + i]
        own, sum_left = vector[i], np.float32(0.0)
        for j in range(i):
            sum_left += row[j] * vector[j]
            total[j] += row[j] * own
        total[i] += sum_left + triangle[first + i] * own
        first += i + 1
    for i in range(n):
        out[i] = total[i]


@njit(cache=True)
def gradient_and_step(u, w, applied, empty, chart_rows, chart_columns, inverse_hessian, gradient, step):
    """Set dA/dκ and the quasi-Newton step; return the step's largest element and its product with the gradient.

    ``inverse_hessian`` is the lower triangle, row by row, in single precision.
    """
    residual = np.dot(applied - np.dot(u, np.dot(w.T, applied)), np.dot(w.T, w))
    full = np.dot(empty.T, residual)
    for k in range(len(gradient)):
        gradient[k] = 4.0 * full[chart_rows[k], chart_columns[k]]
    packed_product(inverse_hessian, gradient.astype(np.float32), step)
    size, slope = 0.0, 0.0
    for k in range(len(gradient)):
        step[k] = -step[k]
        size = max(size, abs(step[k]))
        slope += step[k] * gradient[k]
    if not np.isfinite(slope):
        size = np.inf
    return size, slope


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
