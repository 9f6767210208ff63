"""The loops of an online step that no matrix product has, compiled to machine code.

The first axis b counts the geometries of a batch; each is treated by itself, so that its numbers are the same in any company.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled


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
        for q in range(rho.shape[1]):
            total = 0.0
            for n in range(orbitals.shape[1]):
                total += orbitals[b, n, q] ** 2
            rho[b, q] = weight * total


@compiled()
def multiply(potential: np.ndarray, orbitals: np.ndarray, result: np.ndarray) -> None:
    """Set ``v φ_n`` (B, n, Q) of potentials (B, Q) and orbitals at points (B, n, Q)."""
    for b in range(len(potential)):
        for n in range(orbitals.shape[1]):
            for q in range(potential.shape[1]):
                result[b, n, q] = potential[b, q] * orbitals[b, n, q]
