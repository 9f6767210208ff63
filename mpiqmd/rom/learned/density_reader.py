"""The density at the points of the learned grid, what is read off it there, and how its parts interact.

    c = ζ (ρ - ρ̄),     E = c·l + ½ c·K c,     v = ζ^T (l + K c)

The density functions are chosen so that K is diagonal.
"""

from __future__ import annotations

import numpy as np

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

    def interact(self, rho_bq: np.ndarray, external_bf: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return c (B, f), the potential at the points (B, q), Ha, and the energies (B,), Ha.

        ``rho`` are the densities at the points, bohr⁻³, ``external`` is l(x), Ha; all are padded.
        """
        charges_bf = self._charges.times(rho_bq - self._mean_q)
        response_bf = self._interaction_f * charges_bf
        energies_b = np.einsum("bf,bf->b", charges_bf, external_bf + 0.5 * response_bf)
        return charges_bf, self._potential.times(response_bf + external_bf), energies_b
