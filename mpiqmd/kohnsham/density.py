"""The electron density of orbitals and a density matrix."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals


def density_of(orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Field:
    """Return ``ρ = 2 Σ_ij P_ij φ_i φ_j`` on the grid of the orbitals.  Not collective (P is replicated)."""
    diagonal = np.diag(density_matrix_nn)
    if not np.any(density_matrix_nn - np.diag(diagonal)):
        return orbitals.density(2.0 * diagonal)
    rotated = orbitals.combine(density_matrix_nn)
    flat = 2.0 * np.einsum("ij,ij->j", orbitals.matrix_local, rotated.matrix_local)
    return Field(orbitals.grid, flat.reshape(orbitals.grid.local_shape))
