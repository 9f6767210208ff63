"""The density at the points of the learned grid, what is read off it there, and the way back from what acts on it.

    c = ζ (ρ - ρ̄),     v = ζ^T dE/dc,     (v φ)^τ = Σ_σ v_σ φ^{τσ}

species by species (``data.LearnedPoints``).  The density functions are chosen so that their interaction K is diagonal.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import LearnedPoints
from mpiqmd.rom.learned.packed import Packed, by_species, pad, padded


class DensityReader:
    """The learned grid online.  Replicated, not collective.

    Attributes
    ----------
    interaction_f
        K, Ha, padded.
    n_species
        How many symmetry species there may be.
    """

    def __init__(self, points: LearnedPoints) -> None:
        self.n_species, size = points.n_species, padded(len(points.mean_q))
        at_points = by_species(points.modes_qk.T, points.labels_k, self.n_species, size)
        reading = by_species(points.reading_fq, points.labels_f, self.n_species, size)
        self._at_points, self._back = Packed(at_points.T), Packed(at_points)
        self._mean_q, self.interaction_f = np.zeros(self.n_species * size), pad(points.interaction_f)
        self._mean_q[: len(points.mean_q)] = points.mean_q
        self._charges, self._potential = Packed(reading), Packed(reading.T)

    def see(self, orbitals_bnk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what orbitals (B, n, k) and ρ - ρ̄ have of every species at the points, (B, n, species Q), (B, species Q).

        In bohr^-3/2 and bohr⁻³, padded.
        """
        seen_bnq, rho_bq = kernels.see_density(orbitals_bnk, self._at_points.panels, self.n_species, SPIN_WEIGHT)
        return seen_bnq, rho_bq - self._mean_q

    def charges(self, changes_bq: np.ndarray) -> np.ndarray:
        """Return c (B, f), bohr^-3/2, padded, of ρ - ρ̄ at the points."""
        return self._charges.times(changes_bq)

    def potential(self, response_bf: np.ndarray) -> np.ndarray:
        """Return what acts at the points (B, species Q), Ha bohr³, given dE/dc (B, f), Ha."""
        return self._potential.times(response_bf)

    def pull(self, potential_bq: np.ndarray, seen_bnq: np.ndarray, applied_bnk: np.ndarray) -> None:
        """Add what acts at the points (B, species Q) to ``Ũ H`` (B, n, k), given the orbitals there."""
        kernels.add_local(potential_bq, seen_bnq, self.n_species, self._back.panels, applied_bnk)
