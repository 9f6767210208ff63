"""Matrix elements of potentials between modes of equal sector, in cache-sized blocks."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.rom.compiled.pairs import PairProducts

BLOCK = 1024
"""Grid points per block: a block of modes and its product with the potential stay in cache."""


def packed_elements(modes: Orbitals, pairs: PairProducts, potentials: list[Field]) -> np.ndarray:
    """Return ``∫ ψ_i v ψ_j dr`` on all pairs for several potentials, shape (potentials, pairs).  Collective."""
    flat = modes.matrix_local
    sectors = [np.nonzero(pairs.sectors_m == s)[0] for s in np.unique(pairs.sectors_m)]
    local = np.zeros((len(potentials), pairs.n_modes, pairs.n_modes))
    blocks = [np.zeros((len(potentials), len(sector), len(sector))) for sector in sectors]
    values = np.stack([potential.local.ravel() for potential in potentials])
    for start in range(0, flat.shape[1], BLOCK):
        for sector, matrix in zip(sectors, blocks, strict=True):
            piece = flat[sector, start : start + BLOCK]
            weighted = values[:, None, start : start + BLOCK] * piece
            matrix += (weighted.reshape(-1, piece.shape[1]) @ piece.T).reshape(matrix.shape)
    for sector, matrix in zip(sectors, blocks, strict=True):
        local[:, sector[:, None], sector] = matrix
    local = 0.5 * (local + local.transpose(0, 2, 1))
    packed = np.ascontiguousarray(local[:, pairs.rows, pairs.columns])
    return modes.grid.volume_element * sum_over_ranks(modes.grid.comm, packed)


def density_of_pairs(modes: Orbitals, pairs: PairProducts, coefficients_p: np.ndarray) -> Field:
    """Return ``ρ = Σ_p d_p ψ_i ψ_j``.  Not collective."""
    matrix = pairs.matrix(coefficients_p / pairs.multiplicities_p)
    values, vectors = np.linalg.eigh(matrix)
    keep = np.abs(values) > 1e-13 * max(1.0, np.abs(values).max())
    return modes.combine(vectors[:, keep]).density(2.0 * values[keep])
