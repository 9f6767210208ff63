"""The loops of the online step over orbitals, densities and κ, compiled to machine code.

Each kernel is the plain form of an equation in ``energy`` and ``chart``; those NumPy versions are the reference the tests
compare with.  The first axis b of most arrays counts the geometries of a batch.  Products with a matrix that all of them
share are not here but in ``inner``, as one matrix product for the batch; what is here treats each geometry by itself, so that
its numbers are the same in any company.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled


@compiled()
def coordinates(kappa, chart_rows, chart_columns, matrix):
    """Set the matrices κ^T (B, occupied, empty) from the free numbers (B, κ); the other elements stay."""
    for b in range(len(kappa)):
        for k in range(len(chart_rows)):
            matrix[b, chart_columns[k], chart_rows[k]] = kappa[b, k]


@compiled()
def occupied_spaces(matrix, moved, occupied, places, multiplicities, spanning, inverse, u, w, d):
    """Set U and W (B, modes, n), U^T, S^-1 and the pair coefficients d (B, pairs) of P = W U^T from κ^T and κ^T C_v^T.

    ``places`` are those of the pairs in a flattened matrix.
    """
    n = matrix.shape[1]
    for b in range(len(d)):
        overlap = np.dot(matrix[b], matrix[b].T)
        for i in range(n):
            overlap[i, i] += 1.0
        inverse[b] = np.linalg.inv(overlap)
        spanning[b] = occupied + moved[b]
        u[b] = spanning[b].T
        np.dot(u[b], inverse[b], w[b])
        density = np.dot(w[b], spanning[b]).ravel()
        for p in range(d.shape[1]):
            d[b, p] = multiplicities[p] * density[places[p]]


@compiled()
def densities(left, inverse, right, rho):
    """Set the dual orbitals S^-1 U^T (B, n, Q) and the density (B, Q) from the orbitals at the quadrature points."""
    for b in range(len(rho)):
        np.dot(inverse[b], left[b], right[b])
        for q in range(rho.shape[1]):
            total = 0.0
            for k in range(left.shape[1]):
                total += left[b, k, q] * right[b, k, q]
            rho[b, q] = 2.0 * total


@compiled()
def density_slopes(orbital_slopes, right, slope, sigma):
    """Set the density's gradient (B, 3, Q) and its square (B, Q) from the orbitals' gradients (B, n, 3, Q)."""
    for b in range(len(sigma)):
        for q in range(sigma.shape[1]):
            sigma[b, q] = 0.0
            for v in range(3):
                total = 0.0
                for k in range(right.shape[1]):
                    total += orbital_slopes[b, k, v, q] * right[b, k, q]
                slope[b, v, q] = 4.0 * total
                sigma[b, q] += slope[b, v, q] ** 2


@compiled()
def lda_rest(weights, e, v_rho, rho, rho0, e0, v0, rr, left, weighted, energies):
    """Add the quadrature's energies (B,) and set its potential times the orbitals (B, n, Q), for a local functional.

    ``e`` is the energy per electron.
    """
    for b in range(len(energies)):
        energy = 0.0
        for q in range(len(weights)):
            change = rho[b, q] - rho0[q]
            energy += weights[q] * (e[b, q] * rho[b, q] - e0[q] - change * (v0[q] + 0.5 * rr[q] * change))
            pull = weights[q] * (v_rho[b, q] - v0[q] - rr[q] * change)
            for k in range(left.shape[1]):
                weighted[b, k, q] = pull * left[b, k, q]
        energies[b] += energy


@compiled()
def gga_rest(weights, e, v_rho, v_sigma, rho, slope, first, second, slope0, left, orbital_slopes, weighted, along, energies):
    """The same for a functional of the gradient, ``along`` (B, n, 3, Q) for what acts through the orbitals' gradients.

    ``first`` holds ρ0, e0, ∂e/∂ρ and ∂e/∂σ at the reference, ``second`` the second derivatives ρρ, ρσ, σσ.
    """
    pull = np.empty(3)
    for b in range(len(energies)):
        energy = 0.0
        for q in range(len(weights)):
            change = rho[b, q] - first[0, q]
            cross, bend = 0.0, 0.0
            for v in range(3):
                difference = slope[b, v, q] - slope0[v, q]
                cross += 2.0 * slope0[v, q] * difference
                bend += difference * difference
            rr, rs, ss = second[0, q], second[1, q], second[2, q]
            value = e[b, q] * rho[b, q] - first[1, q] - first[2, q] * change - first[3, q] * (cross + bend)
            value -= 0.5 * (rr * change * change + 2.0 * rs * change * cross + ss * cross * cross)
            energy += weights[q] * value
            d_rho = weights[q] * (v_rho[b, q] - first[2, q] - rr * change - rs * cross)
            tilt = 2.0 * (rs * change + ss * cross + first[3, q])
            for v in range(3):
                bent = 2.0 * first[3, q] * (slope[b, v, q] - slope0[v, q])
                pull[v] = weights[q] * (2.0 * v_sigma[b, q] * slope[b, v, q] - tilt * slope0[v, q] - bent)
            for k in range(left.shape[1]):
                total = d_rho * left[b, k, q]
                for v in range(3):
                    total += pull[v] * orbital_slopes[b, k, v, q]
                    along[b, k, v, q] = pull[v] * left[b, k, q]
                weighted[b, k, q] = total
        energies[b] += energy


@compiled()
def residuals(linear, potential, d, upper, lower, u, w, rest, matrix, residual, energies):
    """Add ``d·h + ½ d·K d`` to the energies (B,) and set ``[(1 - U W^T) H U W^T W]^T`` (B, n, modes).

    ``H U`` is that of ``h + K d`` on the pairs and ``rest`` (B, n, modes), that of the quadrature; ``matrix`` is room for H,
    in which ``upper`` and ``lower`` are the places of the pairs when it is flattened.
    """
    flat = matrix.reshape(matrix.size)
    for b in range(len(energies)):
        energy = 0.0
        for p in range(d.shape[1]):
            energy += d[b, p] * (linear[b, p] + 0.5 * potential[b, p])
            value = linear[b, p] + potential[b, p]
            flat[upper[p]] = value
            flat[lower[p]] = value
        energies[b] += energy
        applied = np.dot(matrix, u[b])
        applied += rest[b].T
        applied -= np.dot(u[b], np.dot(w[b].T, applied))
        residual[b] = np.dot(applied, np.dot(w[b].T, w[b])).T


@compiled()
def gradients(full, chart_rows, chart_columns, gradient, single):
    """Set dA/dκ (B, κ), also in single precision, from dA/dκ^T / 4 (B, occupied, empty)."""
    for b in range(len(full)):
        for k in range(len(chart_rows)):
            gradient[b, k] = 4.0 * full[b, chart_columns[k], chart_rows[k]]
            single[b, k] = gradient[b, k]


@compiled()
def measure(single, gradient, step, sizes, slopes):
    """Set the steps (B, κ) from those in single precision, their largest elements and products with the gradient (B,)."""
    for b in range(len(step)):
        size, slope = 0.0, 0.0
        for k in range(step.shape[1]):
            step[b, k] = single[b, k]
            size = max(size, abs(step[b, k]))
            slope += step[b, k] * gradient[b, k]
        sizes[b], slopes[b] = size if np.isfinite(slope) else np.inf, slope


@compiled()
def accept(base, sizes, slopes, step, rate, tolerance, energies, kappa, errors):
    """Take the steps (B, κ), set the errors they leave and return how many of these are below the tolerance.

    Adds the base and ``½ s·dA/dκ`` to the energies.  κ after a step that is not finite is 0.
    """
    count = 0
    for b in range(len(kappa)):
        energies[b] += base[b] + 0.5 * slopes[b]
        errors[b] = sizes[b] * rate
        if errors[b] < tolerance:
            count += 1
        if np.isfinite(sizes[b]):
            kappa[b] += step[b]
        else:
            kappa[b] = 0.0
    return count


@compiled()
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
