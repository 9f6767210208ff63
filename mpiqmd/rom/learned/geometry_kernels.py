"""The loops of an online step over positions alone, compiled to machine code.

The first axis b of most arrays counts the geometries of a batch; each is treated by itself, so that its numbers are the same in
any company.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled


@compiled()
def products(
    positions: np.ndarray, axes: np.ndarray, offset: np.ndarray, parents: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Return products (B, p), without unit, of the coordinates ``axes · x - offset`` at positions (B, 3 N).

    The first is 1, each other one has one factor more than its parent.
    """
    size, count = len(positions), len(parents) + 1
    result, x = np.empty((size, count)), np.empty(len(offset))
    for b in range(size):
        for d in range(len(offset)):
            total = 0.0
            for i in range(axes.shape[1]):
                total += axes[d, i] * positions[b, i]
            x[d] = total - offset[d]
        result[b, 0] = 1.0
        for k in range(count - 1):
            result[b, k + 1] = result[b, parents[k]] * x[factors[k]]
    return result


@compiled()
def terms(values: np.ndarray, members: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return the sums ``Σ_g s_tg p_{m_tg}``, shape (B, t), without unit, of values of products (B, p)."""
    result = np.zeros((len(values), len(members)))
    for b in range(len(values)):
        for t in range(len(members)):
            for g in range(members.shape[1]):
                result[b, t] += signs[t, g] * values[b, members[t, g]]
    return result


@compiled()
def polynomial_pull(
    values: np.ndarray, weights: np.ndarray, members: tuple[np.ndarray, np.ndarray], parents: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Return ``Σ_t w_t ∂(term t)/∂y``, shape (B, y), unit of w; coordinates come after the first of the products.

    ``values`` (B, p) are the products at y, ``members`` those of each term and their signs; ``weights`` (B, t) may be padded.
    """
    (places, signs), n_coordinates = members, factors.max() + 1
    result = np.zeros((len(values), n_coordinates))
    for b in range(len(values)):
        adjoint = np.zeros(values.shape[1])
        for t in range(len(places)):
            for g in range(places.shape[1]):
                adjoint[places[t, g]] += signs[t, g] * weights[b, t]
        for k in range(len(parents) - 1, -1, -1):
            value, factor = adjoint[k + 1], factors[k]
            adjoint[parents[k]] += value * values[b, factor + 1]
            result[b, factor] += value * values[b, parents[k]]
    return result


@compiled()
def gradient_forces(
    body: np.ndarray,
    gradient: np.ndarray,
    conditions: np.ndarray,
    weights: np.ndarray,
    back: tuple[np.ndarray, np.ndarray],
    no_turn: np.ndarray,
) -> np.ndarray:
    """Return ``Alignment.gradient_forces``, shape (N, 3), Ha/bohr: forces in the laboratory from the body frame's gradient.

    ``back`` is the rotation (3, 3) and the permutation (N,) between the two; ``no_turn`` (3,) is zero with three conditions.
    """
    rotation, permutation = back
    torque, matrix, count = np.zeros(3), np.zeros((3, 3)), len(conditions)
    matrix[:, 2] = no_turn
    for a in range(len(body)):
        for v in range(3):
            y, z = (v + 1) % 3, (v + 2) % 3
            torque[v] += body[a, y] * gradient[a, z] - body[a, z] * gradient[a, y]
            for k in range(count):
                matrix[v, k] += body[a, y] * conditions[k, a, z] - body[a, z] * conditions[k, a, y]
    multipliers = np.linalg.solve(matrix, torque)
    left, net, forces = np.empty(gradient.shape), np.zeros(3), np.empty(gradient.shape)
    for a in range(len(body)):
        for v in range(3):
            left[a, v] = gradient[a, v]
            for k in range(count):
                left[a, v] -= multipliers[k] * conditions[k, a, v]
            net[v] += left[a, v]
    for a in range(len(body)):
        for v in range(3):
            total = 0.0
            for k in range(3):
                total += (left[a, k] - weights[a] * net[k]) * rotation[k, v]
            forces[permutation[a], v] = -total
    return forces


@compiled(error_model="numpy")
def add_coulomb(positions: np.ndarray, charges: np.ndarray, energies: np.ndarray, gradient: np.ndarray) -> None:
    """Add ``Σ Z_a Z_b / |R_ab|`` of positions (B, N, 3) to energies (B,), and its gradient (B, N, 3).

    Infinite where two nuclei coincide, which is then found to be outside the tables.
    """
    for g in range(len(positions)):
        for a in range(len(charges)):
            for b in range(a):
                square = 0.0
                for v in range(3):
                    square += (positions[g, a, v] - positions[g, b, v]) ** 2
                product = charges[a] * charges[b] / np.sqrt(square)
                energies[g] += product
                for v in range(3):
                    slope = -product * (positions[g, a, v] - positions[g, b, v]) / square
                    gradient[g, a, v] += slope
                    gradient[g, b, v] -= slope
