"""The density at the points of the learned grid, what is read off it there, and how its parts interact.

    c = ζ (ρ - ρ̄),     E = c·l + ½ c·K c,     v = ζ^T (l + K c)

The density functions are chosen so that K is diagonal.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import LearnedPoints
from mpiqmd.rom.learned.packed import Packed, pad


class DensityReader:
    """The learned grid online.  Replicated, not collective.

    Attributes
    ----------
    modes_qk
        Active modes at the points, with zeros at those that pad them, bohr^-3/2.
    """

    def __init__(self, points: LearnedPoints) -> None:
        self.modes_qk = pad(points.modes_qk.T).T
        self._mean_q, self._interaction_f = pad(points.mean_q), pad(points.interaction_f)
        self._charges, self._potential = Packed(points.reading_fq), Packed(points.reading_fq.T)

    def interact(
        self, rho_bq: np.ndarray, tables_baif: np.ndarray, potential_bq: np.ndarray, energies_b: np.ndarray
    ) -> np.ndarray:
        """Return c (B, f); set the potential at the points, the first of all, Ha, and add the energies (B,), Ha.

        ``rho`` are the densities at all points, bohr⁻³, ``tables`` those of the ions with their slopes, Ha; all are padded.
        """
        reading = self._charges.panels, self._potential.panels
        return kernels.interact(rho_bq, self._mean_q, reading, self._interaction_f, tables_baif, (potential_bq, energies_b))
