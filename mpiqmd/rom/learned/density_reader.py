"""The density at the points of the learned grid, what is read off it there, and the way back from what acts on it.

    c = ζ (ρ - ρ̄),     v = ζ^T dE/dc

The density functions are chosen so that their interaction K is diagonal.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import LearnedPoints
from mpiqmd.rom.learned.packed import Packed, pad


class DensityReader:
    """The learned grid online.  Replicated, not collective.

    Attributes
    ----------
    interaction_f
        K, Ha, padded.
    """

    def __init__(self, points: LearnedPoints) -> None:
        self._at_points, self._back = Packed(points.modes_qk), Packed(points.modes_qk.T)
        self._mean_q, self.interaction_f = pad(points.mean_q), pad(points.interaction_f)
        self._charges, self._potential = Packed(points.reading_fq), Packed(points.reading_fq.T)

    def charges(self, orbitals_bnk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return c (B, f) of orbitals (B, n, k), and the orbitals at the points (B, n, Q), bohr^-3/2; all are padded."""
        seen_bnq, rho_bq = kernels.see_density(orbitals_bnk, self._at_points.panels, SPIN_WEIGHT)
        return self._charges.times(rho_bq - self._mean_q), seen_bnq

    def pull(self, response_bf: np.ndarray, seen_bnq: np.ndarray, applied_bnk: np.ndarray) -> None:
        """Add what dE/dc (B, f), Ha, does to the orbitals (B, n, k), given those at the points, which are overwritten."""
        kernels.add_local(self._potential.times(response_bf), seen_bnq, self._back.panels, applied_bnk)
