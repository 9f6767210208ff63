"""Products of modes, the basis of every density the reduced model can form.

With ``χ_p = ψ_i ψ_j`` for the pairs p = (i <= j),

    ρ = 2 Σ_ij P_ij ψ_i ψ_j = Σ_p d_p χ_p,    d_p = 2 (2 - δ_ij) P_ij,

and a potential v acts through ``v_p = ∫ v χ_p dr``, which is V_ij.  Mirrors that every geometry keeps (the molecular plane
of water) make P block diagonal, so only pairs inside a *sector* occur; mirrors of the reference alone (y of water) still
decouple the pair products into *classes* between which the Hartree matrix vanishes.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


class PairProducts:
    """The pairs of modes that occur, ordered by class.  Replicated, not collective.

    Parameters
    ----------
    sectors_m
        Sector of each mode, integers from 0; P has no elements between sectors.
    characters_mg
        Parity (+1 or -1) of each mode under each mirror g of the reference, shape (modes, mirrors).
    """

    def __init__(self, sectors_m: np.ndarray, characters_mg: np.ndarray) -> None:
        self.sectors_m = np.asarray(sectors_m, int)
        self.characters_mg = np.asarray(characters_mg, int)
        self.n_modes = len(self.sectors_m)
        rows, columns = np.triu_indices(self.n_modes)
        keep = self.sectors_m[rows] == self.sectors_m[columns]
        rows, columns = rows[keep], columns[keep]
        parities = characters_mg[rows] * characters_mg[columns]
        _, labels = np.unique(-parities, axis=0, return_inverse=True) if parities.shape[1] else (None, 0 * rows)
        order = np.argsort(labels, kind="stable")
        self.rows, self.columns = rows[order], columns[order]
        edges = np.searchsorted(labels[order], np.arange(labels.max() + 2))
        self.classes = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self.multiplicities_p = np.where(self.rows == self.columns, 2.0, 4.0)

    def __len__(self) -> int:
        return len(self.rows)

    def coefficients(self, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return d of a symmetric density matrix, shape (pairs,)."""
        return density_matrix_mm[self.rows, self.columns] * self.multiplicities_p

    def packed(self, matrix_mm: np.ndarray) -> np.ndarray:
        """Return the elements of a symmetric matrix on the pairs, shape (pairs,)."""
        return matrix_mm[self.rows, self.columns]

    def matrix(self, packed_p: np.ndarray) -> np.ndarray:
        """Return the symmetric matrix with these elements on the pairs and zero elsewhere."""
        result = np.zeros((self.n_modes, self.n_modes))
        result[self.rows, self.columns] = packed_p
        result[self.columns, self.rows] = packed_p
        return result
