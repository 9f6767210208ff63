"""The loops of an online step, compiled to machine code.

The first axis b counts the geometries of a batch; each is treated by itself, so that its numbers are the same in any company.
Rows are padded with zeros (``packed``), which no loop here minds.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled
from mpiqmd.rom.learned.panels import Panels, packed_product

FARTHEST = 3.0
"""Distance from the middle of a box, in half-widths, beyond which polynomials are those at this distance."""
SUMS = {"contract", "reassoc", "nsz"}
"""What the compiler may do with sums: add in several accumulators.  NaN and infinity keep their meaning."""


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
def chebyshev_rows(
    positions: np.ndarray, lower: np.ndarray, upper: np.ndarray, degrees: np.ndarray, rows: np.ndarray, excess: np.ndarray
) -> None:
    """Set products of Chebyshev polynomials of positions (B, 3) and their derivatives along x, y and z, ``rows`` (B, 4, >= k).

    ``excess`` (B,) becomes how far outside the box a position is, if that is more than it was.
    """
    count = degrees.max() + 2
    t, dt = np.zeros((3, count)), np.zeros((3, count))
    for b in range(len(positions)):
        for v in range(3):
            t[v, 0] = 1.0
            if upper[v] > lower[v]:
                beyond = max(lower[v] - positions[b, v], positions[b, v] - upper[v])
                # a position that is no number is far outside
                excess[b] = max(excess[b], beyond) if beyond == beyond else np.inf
                half = 0.5 * (upper[v] - lower[v])
                x = min(max((positions[b, v] - 0.5 * (upper[v] + lower[v])) / half, -FARTHEST), FARTHEST)
                t[v, 1], dt[v, 1] = x, 1.0 / half
                for j in range(2, count):
                    t[v, j] = 2.0 * x * t[v, j - 1] - t[v, j - 2]
                    dt[v, j] = 2.0 * t[v, j - 1] / half + 2.0 * x * dt[v, j - 1] - dt[v, j - 2]
        for k in range(len(degrees)):
            t_x, t_y, t_z = t[0, degrees[k, 0]], t[1, degrees[k, 1]], t[2, degrees[k, 2]]
            rows[b, 0, k] = t_x * t_y * t_z
            rows[b, 1, k] = dt[0, degrees[k, 0]] * t_y * t_z
            rows[b, 2, k] = t_x * dt[1, degrees[k, 1]] * t_z
            rows[b, 3, k] = t_x * t_y * dt[2, degrees[k, 2]]


@compiled()
def look_up(
    rows: np.ndarray, left: np.ndarray, right: np.ndarray, mean: np.ndarray, tables: np.ndarray, on_mean: np.ndarray
) -> None:
    """Set ``rows left right`` on the density functions (B, 4, f) and on the mean density (B, 4), given rows (B, 4, k)."""
    size, inputs = len(rows), rows.shape[2]
    inner = packed_product(rows.reshape(4 * size, inputs), left)
    found = packed_product(inner, right)
    for b in range(size):
        for i in range(4):
            tables[b, i] = found[4 * b + i]
            on_mean[b, i] = dot(inner[4 * b + i], mean)


@compiled(fastmath=SUMS)
def add_external_slopes(slopes: np.ndarray, charges: np.ndarray, atoms: np.ndarray, gradient: np.ndarray) -> None:
    """Add ``c · dl/dx`` of the moving ions, given tables with their slopes (B, a, 4, f), to ``gradient`` (B, N, 3)."""
    for b in range(len(charges)):
        for a in range(len(atoms)):
            for v in range(3):
                gradient[b, atoms[a], v] += dot(slopes[b, a, 1 + v], charges[b])


@compiled(fastmath=SUMS, error_model="numpy")
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


@compiled()
def orthonormal_orbitals(latent: np.ndarray, spanning: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Ũ (B, n, k) and L^-1 (B, n, n) of latent coordinates (B, d), given the packed directions and U_0 (n, k)."""
    size, n, k = len(latent), origin.shape[0], origin.shape[1]
    orbitals, inverse = packed_product(latent, spanning).reshape(size, n, k), np.empty((size, n, n))
    for b in range(size):
        orbitals[b] += origin
    orthonormalise(orbitals, inverse)
    return orbitals, inverse


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


@compiled()
def latent_slopes(
    orbitals: np.ndarray, inverse: np.ndarray, applied: np.ndarray, weight: float, directions: np.ndarray
) -> np.ndarray:
    """Return dE/dz (B, d), padded, from Ũ, L^-1 and ``Ũ H``, which is overwritten."""
    size, n, k = orbitals.shape
    pull = np.empty_like(applied)
    residual_pull(orbitals, inverse, applied, weight, pull)
    return packed_product(pull.reshape(size, n * k), directions)


@compiled(fastmath=SUMS)
def add_one_electron(
    orbitals: np.ndarray,
    matrices: tuple[np.ndarray, np.ndarray],
    displacements: np.ndarray,
    weight: float,
    applied: np.ndarray,
    energies: np.ndarray,
) -> np.ndarray:
    """Add energies (B,) and Hamiltonian, to ``applied`` (B, n, k), of ``h_0 + Σ_l y_l h_l``; return ``w tr(Ũ h_l Ũ^T)``.

    ``matrices`` are h_0 and all h_l, packed.
    """
    size, n, k = orbitals.shape
    rows, count = orbitals.reshape(size * n, k), displacements.shape[1]
    applied_0, applied_l = packed_product(rows, matrices[0]), packed_product(rows, matrices[1])
    slopes = np.zeros((size, count))
    for b in range(size):
        for i in range(n):
            row, orbital = b * n + i, orbitals[b, i]
            add_multiple(applied[b, i], 1.0, applied_0[row])
            energies[b] += weight * dot(orbital, applied_0[row])
            for m in range(count):
                along = applied_l[row, m * k : (m + 1) * k]
                slopes[b, m] += weight * dot(orbital, along)
                add_multiple(applied[b, i], displacements[b, m], along)
        for m in range(count):
            energies[b] += displacements[b, m] * slopes[b, m]
    return slopes


@compiled(fastmath=SUMS)
def add_nonlocal(
    orbitals: np.ndarray,
    overlaps: np.ndarray,
    coupling: np.ndarray,
    weight: float,
    applied: np.ndarray,
    results: tuple[np.ndarray, np.ndarray],
) -> None:
    """Add the energy ``w Σ_n b_n·D b_n``, ``b_n = Ũ_n β``, its Hamiltonian on the orbitals and its slopes (B, 3).

    ``results`` are energies and slopes; ``overlaps`` (B, 4, p, k) are β and its derivatives along x, y and z.
    """
    (energies, gradient), count = results, len(coupling)
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
def newton_steps(slopes: np.ndarray, inverse_hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps ``-B^-1 g`` (B, d) and what they gain (B,), given slopes g (B, d) and the packed inverse Hessian."""
    steps, gains = packed_product(slopes, inverse_hessian), np.empty(len(slopes))
    for b in range(len(slopes)):
        gains[b] = 0.5 * dot(steps[b], slopes[b])
        steps[b] *= -1.0
    return steps, gains


@compiled(fastmath=SUMS)
def see_density(orbitals: np.ndarray, at_points: Panels, n_species: int, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return φ^τ, shape (B, n, species Q), bohr^-3/2, and ``ρ_σ = w Σ_n Σ_τ φ_n^τ φ_n^{τσ}``, shape (B, species Q), bohr⁻³."""
    size, n, k = orbitals.shape
    seen = packed_product(orbitals.reshape(size * n, k), at_points).reshape(size, n, -1)
    count = seen.shape[2] // n_species
    rho = np.zeros((size, n_species * count))
    for b in range(size):
        for i in range(n):
            for first in range(n_species):
                for other in range(n_species):
                    one, two = first * count, other * count
                    add_products(rho[b], (first ^ other) * count, weight, seen[b, i, one : one + count], seen[b, i, two:])
    return seen, rho


@compiled(fastmath=SUMS)
def add_products(target: np.ndarray, start: int, factor: float, left: np.ndarray, right: np.ndarray) -> None:
    """Add ``factor left_q right_q`` to what begins at a place of a row."""
    for q in range(len(left)):
        target[start + q] += factor * left[q] * right[q]


@compiled(fastmath=SUMS)
def respond(charges: np.ndarray, external: np.ndarray, interaction: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return ``l + K c`` (B, f) at charges c (B, f), and add ``c·l + ½ c·K c`` to energies (B,).

    ``external`` (B, a, 4, f) are the tables of the ions, whose values are summed to l.
    """
    response = np.zeros(charges.shape)
    for b in range(len(charges)):
        for a in range(external.shape[1]):
            response[b] += external[b, a, 0]
        for f in range(charges.shape[1]):
            energies[b] += charges[b, f] * (response[b, f] + 0.5 * interaction[f] * charges[b, f])
            response[b, f] += interaction[f] * charges[b, f]
    return response


@compiled()
def add_local(potential: np.ndarray, seen: np.ndarray, n_species: int, back: Panels, applied: np.ndarray) -> None:
    """Add ``(v φ_n) · modes`` to ``applied`` (B, n, k): potentials (B, species Q), orbitals at points (B, n, species Q)."""
    size, n, length = seen.shape
    count, pulled = length // n_species, np.zeros(seen.shape)
    for b in range(size):
        for i in range(n):
            for first in range(n_species):
                for other in range(n_species):
                    one, two = first * count, other * count
                    add_products(pulled[b, i], (first ^ other) * count, 1.0, potential[b, one : one + count], seen[b, i, two:])
    found = packed_product(pulled.reshape(size * n, length), back)
    for b in range(size):
        for i in range(n):
            applied[b, i] += found[b * n + i]
