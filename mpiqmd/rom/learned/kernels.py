"""The loops of an online step, compiled to machine code.

The first axis b counts the geometries of a batch; each is treated by itself, so that its numbers are the same in any company.
Rows are padded with zeros (``packed``), which no loop here minds.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled

SUMS = {"contract", "reassoc", "nsz"}
"""What the compiler may do with sums: add in several accumulators.  NaN and infinity keep their meaning."""


@compiled(fastmath=SUMS)
def block_products(rows: np.ndarray, blocks: np.ndarray, result: np.ndarray) -> None:
    """Add ``rows @ matrix^T`` to ``result`` (r, at least o): rows (r, blocks, width), matrix (blocks, o, width)."""
    n_rows, outputs, width = len(rows), blocks.shape[1], blocks.shape[2]
    together = n_rows - n_rows % 4
    for block in range(len(blocks)):
        for r in range(0, together, 4):
            row_0, row_1, row_2, row_3 = rows[r, block], rows[r + 1, block], rows[r + 2, block], rows[r + 3, block]
            for o in range(outputs):
                column = blocks[block, o]
                sum_0, sum_1, sum_2, sum_3 = 0.0, 0.0, 0.0, 0.0
                for i in range(width):
                    value = np.float64(column[i])
                    sum_0 += row_0[i] * value
                    sum_1 += row_1[i] * value
                    sum_2 += row_2[i] * value
                    sum_3 += row_3[i] * value
                result[r, o] += sum_0
                result[r + 1, o] += sum_1
                result[r + 2, o] += sum_2
                result[r + 3, o] += sum_3
        for r in range(together, n_rows):
            row = rows[r, block]
            for o in range(outputs):
                column, total = blocks[block, o], 0.0
                for i in range(width):
                    total += row[i] * np.float64(column[i])
                result[r, o] += total


@compiled(fastmath=SUMS)
def dot(left: np.ndarray, right: np.ndarray) -> float:
    """Return ``Σ_i left_i right_i``."""
    total = 0.0
    for i in range(len(left)):
        total += left[i] * right[i]
    return total


@compiled(fastmath=SUMS)
def add_multiple(target: np.ndarray, factor: float, values: np.ndarray) -> None:
    """Add ``factor * values`` to a row."""
    for i in range(len(target)):
        target[i] += factor * values[i]


@compiled()
def chebyshev_rows(position: np.ndarray, lower: np.ndarray, upper: np.ndarray, degrees: np.ndarray, rows: np.ndarray) -> None:
    """Set products of Chebyshev polynomials of a position (3,) and their derivatives along x, y and z, ``rows`` (4, >= k)."""
    count = degrees.max() + 2
    t, dt = np.zeros((3, count)), np.zeros((3, count))
    for v in range(3):
        t[v, 0] = 1.0
        if upper[v] > lower[v]:
            half = 0.5 * (upper[v] - lower[v])
            x = min(max((position[v] - 0.5 * (upper[v] + lower[v])) / half, -3.0), 3.0)
            t[v, 1], dt[v, 1] = x, 1.0 / half
            for j in range(2, count):
                t[v, j] = 2.0 * x * t[v, j - 1] - t[v, j - 2]
                dt[v, j] = 2.0 * t[v, j - 1] / half + 2.0 * x * dt[v, j - 1] - dt[v, j - 2]
    for k in range(len(degrees)):
        t_x, t_y, t_z = t[0, degrees[k, 0]], t[1, degrees[k, 1]], t[2, degrees[k, 2]]
        rows[0, k] = t_x * t_y * t_z
        rows[1, k] = dt[0, degrees[k, 0]] * t_y * t_z
        rows[2, k] = t_x * dt[1, degrees[k, 1]] * t_z
        rows[3, k] = t_x * t_y * dt[2, degrees[k, 2]]


@compiled(fastmath=SUMS)
def orthonormalise(spanning: np.ndarray, inverse: np.ndarray) -> None:
    """Turn rows U (B, n, k) into ``L^-1 U`` in place and set L^-1 (B, n, n), with ``U U^T = L L^T``.

    NaN where the rows are not independent.
    """
    n = spanning.shape[1]
    lower = np.empty((n, n))
    for b in range(len(spanning)):
        for i in range(n):
            for j in range(i + 1):
                total = dot(spanning[b, i], spanning[b, j])
                for m in range(j):
                    total -= lower[i, m] * lower[j, m]
                lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
        for i in range(n):
            inverse[b, i, :] = 0.0
            inverse[b, i, i] = 1.0 / lower[i, i]
            for j in range(i):
                total = 0.0
                for m in range(j, i):
                    total += lower[i, m] * inverse[b, m, j]
                inverse[b, i, j] = -total / lower[i, i]
        for i in range(n - 1, -1, -1):
            row = spanning[b, i]
            for k in range(len(row)):
                row[k] *= inverse[b, i, i]
            for j in range(i):
                add_multiple(row, inverse[b, i, j], spanning[b, j])


@compiled(fastmath=SUMS)
def residual_pull(orbitals: np.ndarray, inverse: np.ndarray, applied: np.ndarray, weight: float, pull: np.ndarray) -> None:
    """Set ``weight L^-T (Ũ H)(1 - P)``, shape (B, n, k), from Ũ, L^-1 and Ũ H; the last is overwritten."""
    n = orbitals.shape[1]
    inside = np.empty(n)
    for b in range(len(orbitals)):
        for i in range(n):
            for j in range(n):
                inside[j] = dot(applied[b, i], orbitals[b, j])
            for j in range(n):
                add_multiple(applied[b, i], -inside[j], orbitals[b, j])
        for i in range(n):
            pull[b, i, :] = 0.0
            for j in range(i, n):
                add_multiple(pull[b, i], weight * inverse[b, j, i], applied[b, j])


@compiled(fastmath=SUMS)
def add_one_electron(
    orbitals: np.ndarray, products: np.ndarray, factors: np.ndarray, weight: float, applied: np.ndarray, energies: np.ndarray
) -> None:
    """Add ``Σ_l f_l Ũ h_l`` to ``applied`` (B, n, k) and set ``w tr(Ũ h_l Ũ^T)`` (B, l), given ``Ũ h_l`` (B, n, l, k)."""
    for b in range(len(orbitals)):
        for m in range(products.shape[2]):
            total = 0.0
            for n in range(orbitals.shape[1]):
                total += dot(orbitals[b, n], products[b, n, m])
                add_multiple(applied[b, n], factors[b, m], products[b, n, m])
            energies[b, m] = weight * total


@compiled(fastmath=SUMS)
def add_nonlocal(
    orbitals: np.ndarray,
    overlaps: np.ndarray,
    coupling: np.ndarray,
    weight: float,
    applied: np.ndarray,
    energies: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Add the energy ``w Σ_n b_n·D b_n``, ``b_n = Ũ_n β``, its Hamiltonian on the orbitals and its slopes (B, 3).

    ``overlaps`` (B, 4, p, k) are β and its derivatives along x, y and z.
    """
    count = len(coupling)
    along, pulled = np.empty(count), np.empty(count)
    for b in range(len(orbitals)):
        for n in range(orbitals.shape[1]):
            for p in range(count):
                along[p] = dot(orbitals[b, n], overlaps[b, 0, p])
            for p in range(count):
                pulled[p] = 0.0
                for q in range(count):
                    pulled[p] += coupling[p, q] * along[q]
            for p in range(count):
                energies[b] += weight * along[p] * pulled[p]
                add_multiple(applied[b, n], pulled[p], overlaps[b, 0, p])
                for v in range(3):
                    gradient[b, v] += 2.0 * weight * pulled[p] * dot(orbitals[b, n], overlaps[b, 1 + v, p])


@compiled()
def polynomial_pull(
    terms: np.ndarray, weights: np.ndarray, parents: np.ndarray, factors: np.ndarray, n_coordinates: int
) -> np.ndarray:
    """Return ``Σ_t w_t ∂y^t/∂y``, shape (B, y), unit of w, for products of coordinates, each a factor more than its parent.

    ``terms`` (B, t) are the products at y, the first one 1, then the coordinates themselves.
    """
    result = np.zeros((len(terms), n_coordinates))
    adjoint = np.empty(terms.shape[1])
    for b in range(len(terms)):
        adjoint[:] = weights[b]
        for k in range(len(parents) - 1, -1, -1):
            value, factor = adjoint[k + 1], factors[k]
            adjoint[parents[k]] += value * terms[b, factor + 1]
            result[b, factor] += value * terms[b, parents[k]]
    return result


@compiled()
def densities(orbitals: np.ndarray, weight: float, rho: np.ndarray) -> None:
    """Set the densities (B, Q) ``w Σ_n φ_n²`` of orbitals at points (B, n, Q)."""
    for b in range(len(rho)):
        target = rho[b]
        target[:] = 0.0
        for n in range(orbitals.shape[1]):
            row = orbitals[b, n]
            for q in range(len(row)):
                target[q] += weight * row[q] * row[q]


@compiled()
def multiply(potential: np.ndarray, orbitals: np.ndarray) -> None:
    """Turn orbitals at points (B, n, Q) into ``v φ_n``, given potentials (B, Q)."""
    for b in range(len(potential)):
        for n in range(orbitals.shape[1]):
            row, values = orbitals[b, n], potential[b]
            for q in range(len(row)):
                row[q] *= values[q]
