"""How far a reduced energy lies above the full one, from the residual of the reduced orbitals.

With ``r_i = (H - ε_i) φ_i`` on the grid and K the inverse of the kinetic energy shifted by t on the complement,

    E_rom - E_hifi ≈ η / c,    η = w Σ_i f_i <r_i| (T + t)^-1 |r_i>,

a second-order estimate (compare Cancès, Dusson, Kemlin, Levitt, SIAM J. Sci. Comput. 44, B1312 (2022)).  It is not a
bound; the constant c was measured on water over three orders of magnitude of the error, inside and outside the box.
One application of the full Hamiltonian.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.model import KohnShamModel, Problem

SHIFT = 0.75
"""t, hartree."""
EFFECTIVITY = 0.87
"""Measured η over the true error."""
UNOCCUPIED = 1e-8
"""Natural occupations below this are round-off of the minimiser."""


class ErrorEstimator:
    """Estimates the energy error of reduced solutions on the grid.  Construction is not collective."""

    def __init__(self, model: KohnShamModel, modes: Orbitals) -> None:
        self.model, self.modes = model, modes
        self.inverse = ShiftedKineticInverse(model.grid, SHIFT, single=True)

    def estimate(self, problem: Problem, density_matrix_mm: np.ndarray) -> float:
        """Return the estimated ``E_rom - E_hifi`` (Ha, positive) for a reduced density matrix.  Collective.

        Parameters
        ----------
        problem
            The Kohn-Sham problem at the body-frame geometry.
        density_matrix_mm
            P in the modes, eigenvalues in [0, 1].
        """
        electrons = self.electrons(density_matrix_mm)
        _, potential = problem.density_terms(electrons.density)
        residual = problem.linear.plus(potential).apply(electrons.space)
        inside = residual.gram(self.modes)
        residual.local -= self.modes.combine(inside.T).local
        corrected = self.inverse.apply_orbitals(residual)
        return electrons.expectation(residual.gram(corrected)) / EFFECTIVITY

    def electrons(self, density_matrix_mm: np.ndarray) -> Electrons:
        """Return the occupied natural orbitals on the grid, the most occupied first.  Collective."""
        return Electrons.natural(self.model.space(self.modes), density_matrix_mm, UNOCCUPIED)
