"""Occupied subspaces along a few latent directions.

    U(z) = U_0 + Σ_d z_d U_d,     P = Ũ^T Ũ,     Ũ = L^-1 U,     U U^T = L L^T

with orbitals as rows over the *active* modes, the combinations of modes that these subspaces need.  The directions are the
principal ones of occupied subspaces that geometries reach, in the metric of the energy's curvature: a distance |z - z'|
costs about ½ |z - z'|² Ha.  Any z gives a valid density matrix, and

    dE/dz_d = tr(R U_d^T),     R = 2 w L^-T [Ũ H (1 - P)]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LatentSubspaces:
    """The map from latent coordinates to occupied subspaces.  Replicated, not collective.

    Attributes
    ----------
    active_mk
        Active modes as combinations of all modes, orthonormal columns, shape (modes, active).
    origin_nk
        U_0, shape (occupied, active).
    directions_dnk
        U_d, shape (directions, occupied, active), one over square root of Ha.
    """

    active_mk: np.ndarray
    origin_nk: np.ndarray
    directions_dnk: np.ndarray

    def __len__(self) -> int:
        return len(self.directions_dnk)

    def orthonormal(self, latent_bd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Ũ (B, occupied, active) and L^-1 (B, occupied, occupied), dimensionless, of latent coordinates (B, d)."""
        size, (n, k) = len(latent_bd), self.origin_nk.shape
        flat = self.directions_dnk.reshape(len(self), n * k)
        spanning_bnk = self.origin_nk + (latent_bd @ flat).reshape(size, n, k)
        lower_bnn = np.linalg.cholesky(spanning_bnk @ spanning_bnk.transpose(0, 2, 1))
        inverse_bnn = np.linalg.inv(lower_bnn)
        return inverse_bnn @ spanning_bnk, inverse_bnn

    def slopes(self, orbitals_nk: np.ndarray, inverse_nn: np.ndarray, directions_jd: np.ndarray) -> np.ndarray:
        """Return the changes ``δŨ_j = L^-1 (Σ_d c_jd U_d) (1 - P)`` of one, shape (j, occupied, active), dimensionless."""
        change_jnk = inverse_nn @ np.tensordot(directions_jd, self.directions_dnk, axes=1)
        return change_jnk - (change_jnk @ orbitals_nk.T) @ orbitals_nk

    def density_matrix(self, orbitals_nk: np.ndarray) -> np.ndarray:
        """Return P over all modes, shape (modes, modes), dimensionless, of orthonormal orbitals over the active ones."""
        orbitals_mn = self.active_mk @ orbitals_nk.T
        return orbitals_mn @ orbitals_mn.T
