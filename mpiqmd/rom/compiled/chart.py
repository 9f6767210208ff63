"""Occupied subspaces near a reference, as a vector of free numbers.

With reference orbitals C_o (occupied) and C_v (empty), every occupied subspace not too far away is spanned by

    U = C_o + C_v κ,    P = U S^-1 U^T,    S = U^T U = 1 + κ^T κ

for exactly one κ.  Any κ gives a valid density matrix, so densities are extrapolated in time and accelerated by plain
linear combinations of κ, and the free energy is minimised without constraints:

    dA/dκ = 4 C_v^T (1 - P) H U S^-1

(the chart of the Grassmann manifold of Edelman, Arias, Smith, SIAM J. Matrix Anal. 20, 303 (1998)).  Sectors do not mix.
"""

from __future__ import annotations

import numpy as np


class GrassmannChart:
    """The chart about reference orbitals.  Replicated, not collective.

    Parameters
    ----------
    orbitals_mn
        Reference orbitals as columns, shape (modes, modes), each inside one sector.
    occupied_n
        Which of them are occupied.
    sectors_n
        Sector of each.

    Attributes
    ----------
    occupied, empty
        The reference orbitals by kind.
    sectors_n
        Sector of each, the occupied ones first.
    """

    def __init__(self, orbitals_mn: np.ndarray, occupied_n: np.ndarray, sectors_n: np.ndarray) -> None:
        self.occupied = np.ascontiguousarray(orbitals_mn[:, occupied_n])
        self.empty = np.ascontiguousarray(orbitals_mn[:, ~occupied_n])
        self.sectors_n = np.concatenate([sectors_n[occupied_n], sectors_n[~occupied_n]])
        allowed = sectors_n[~occupied_n][:, None] == sectors_n[occupied_n][None, :]
        self.rows, self.columns = np.nonzero(allowed)
        self._flat = np.ravel_multi_index((self.rows, self.columns), allowed.shape)
        self._shape = allowed.shape
        self._identity = np.eye(self.occupied.shape[1])

    @classmethod
    def between(cls, occupied_mn: np.ndarray, empty_mn: np.ndarray, sectors_n: np.ndarray) -> GrassmannChart:
        """Return the chart about given occupied and empty orbitals, ``sectors_n`` in that order."""
        n_occupied, n_modes = occupied_mn.shape[1], len(sectors_n)
        return cls(np.hstack([occupied_mn, empty_mn]), np.arange(n_modes) < n_occupied, sectors_n)

    def __len__(self) -> int:
        return len(self.rows)

    def span(self, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return U and ``W = U S^-1``, each (modes, occupied); ``P = W U^T``."""
        matrix = np.zeros(self._shape)
        matrix.ravel()[self._flat] = kappa
        u = self.occupied + self.empty @ matrix
        return u, u @ np.linalg.inv(self._identity + matrix.T @ matrix)

    def gradient(self, u: np.ndarray, w: np.ndarray, applied: np.ndarray) -> np.ndarray:
        """Return dA/dκ given ``applied = H U``."""
        overlap = w.T @ applied
        residual = (applied - u @ overlap) @ (w.T @ w)
        return 4.0 * (self.empty.T @ residual).ravel()[self._flat]

    def coordinates(self, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return κ of the subspace that an idempotent density matrix projects on."""
        on_occupied = self.occupied.T @ density_matrix_mm @ self.occupied
        matrix = self.empty.T @ density_matrix_mm @ self.occupied @ np.linalg.inv(on_occupied)
        return matrix.ravel()[self._flat]
