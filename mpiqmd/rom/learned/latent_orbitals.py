"""Orthonormal orbitals of latent coordinates online, and the way back from a Hamiltonian to a slope (equations: ``latent``)."""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.packed import Packed, pad


class LatentOrbitals:
    """The latent subspaces, packed.  Replicated, not collective.

    Attributes
    ----------
    n, k
        Occupied orbitals, and active modes with their padding.
    """

    def __init__(self, subspaces: LatentSubspaces) -> None:
        self.origin_nk, directions_dnk = pad(subspaces.origin_nk), pad(subspaces.directions_dnk)
        self.n, self.k = self.origin_nk.shape
        flat = directions_dnk.reshape(len(directions_dnk), -1)
        self._spanning, self._slopes = Packed(flat.T, np.float16), Packed(flat, np.float16)

    def orthonormal(self, latent_bd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Ũ (B, n, k), padded, and L^-1 (B, n, n), dimensionless, of padded latent coordinates (B, d).

        NaN where the coordinates are so far out that the orbitals are not independent.
        """
        return kernels.orthonormal_orbitals(latent_bd, self._spanning.panels, self.origin_nk)

    def pull(self, orbitals_bnk: np.ndarray, inverse_bnn: np.ndarray, applied_bnk: np.ndarray) -> np.ndarray:
        """Return dE/dz, padded, shape (B, d), square roots of Ha, given ``applied = Ũ H`` (Ha), which is overwritten."""
        return kernels.latent_slopes(orbitals_bnk, inverse_bnn, applied_bnk, BRA_AND_KET * SPIN_WEIGHT, self._slopes.panels)
