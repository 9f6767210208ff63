"""How far a reduced energy lies above the full one, and its forces from the full ones, from the residual of the orbitals.

With ``r_i = (1 - P) H φ_i`` on the grid, P the projector on the reduced orbitals, and K the inverse of the kinetic energy
shifted by t,

    E_rom - E_hifi ≈ η / c,    η = w Σ_i f_i <r_i| (T + t)^-1 |r_i>,

a second-order estimate (compare Cancès, Dusson, Kemlin, Levitt, SIAM J. Sci. Comput. 44, B1312 (2022)).  Where the reduced
energy is at its minimum, ``(1 - P) H φ`` is orthogonal to all modes.

Modes are fixed in the body frame and the full energy is a minimum over all orbitals, so that both gradients there are those
of Hellmann and Feynman, ``g = w tr(P ∂H/∂x)``.  Their difference is of first order in that of the density matrices, to which

    φ'_i = φ_i + δφ_i (orthonormalised),    δφ_i = -(1 - P) K r_i

goes in one step.  The step leaves the modes, and within them it answers to what was left out: the span of the modes must not
be taken out of it.  ``g_rom - g_hifi ≈ (g[φ] - g[φ']) / d``.

Neither is a bound.  Cost: one application of the full Hamiltonian, and one evaluation of forces where they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.model import KohnShamModel, Problem

SHIFT = 0.75
"""t, hartree."""
EFFECTIVITY = 0.87
"""c, η over the true error: on water, over three orders of magnitude of the error, inside and outside the box."""
FORCE_EFFECTIVITY = 0.73
"""d, estimated over true errors of forces, root mean squares over geometries: 0.70 to 0.75 on water (LDA, PBE) and ammonia
(PBE), 0.73 to 0.85 on HF (LDA), 50 random geometries each, bases from two modes more than there are pairs of electrons up to
all that training gives (``python -m run.bench.force_estimate``)."""
UNOCCUPIED = 1e-8
"""Natural occupations below this are round-off of the minimiser."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Reduced electrons, and how they answer to all that the modes leave out.

    Attributes
    ----------
    energy
        Estimated ``E_rom - E_hifi``, Ha, positive.
    electrons
        The reduced ones, in natural orbitals.
    response
        δφ_i of each of them.
    """

    energy: float
    electrons: Electrons
    response: Orbitals


class ErrorEstimator:
    """Estimates errors of reduced solutions on the grid.  Construction is not collective."""

    def __init__(self, model: KohnShamModel, modes: Orbitals) -> None:
        self.model, self.modes = model, modes
        self.inverse = ShiftedKineticInverse(model.grid, SHIFT, single=True)

    def estimate(self, problem: Problem, density_matrix_mm: np.ndarray) -> float:
        """Return the estimated ``E_rom - E_hifi`` (Ha, positive) for a reduced density matrix.  Collective.

        Parameters are those of :meth:`correction`.
        """
        return self.correction(problem, density_matrix_mm).energy

    def correction(self, problem: Problem, density_matrix_mm: np.ndarray) -> Correction:
        """Return the estimate and the response of the electrons that it comes from.  Collective.

        Parameters
        ----------
        problem
            The Kohn-Sham problem at the body-frame geometry.
        density_matrix_mm
            P in the modes, eigenvalues in [0, 1].
        """
        electrons = self.electrons(density_matrix_mm)
        _, potential = problem.density_terms(electrons.density)
        residual = _outside(problem.linear.plus(potential).apply(electrons.space), electrons.orbitals)
        corrected = self.inverse.apply_orbitals(residual)
        energy = electrons.expectation(residual.gram(corrected)) / EFFECTIVITY
        response = _outside(corrected, electrons.orbitals)
        response.local *= -1.0
        return Correction(energy, electrons, response)

    def full_gradient(self, problem: Problem, correction: Correction, gradient_av: np.ndarray) -> np.ndarray:
        """Return what the gradient of the full energy is estimated to be, shape (N, 3), Ha/bohr.  Collective.

        Parameters
        ----------
        problem
            The Kohn-Sham problem at the body-frame geometry.
        correction
            The :meth:`correction` there.
        gradient_av
            Gradient of the reduced energy in the body frame, shape (N, 3), Ha/bohr.
        """
        electrons = correction.electrons
        moved = Orbitals(electrons.orbitals.grid, electrons.orbitals.local + correction.response.local)
        answered = Electrons(self.model.space(orthonormalised(moved)), electrons.density_matrix_nn)
        return gradient_av + (problem.gradient(answered) - gradient_av) / FORCE_EFFECTIVITY

    def electrons(self, density_matrix_mm: np.ndarray) -> Electrons:
        """Return the occupied natural orbitals on the grid, the most occupied first.  Collective."""
        return Electrons.natural(self.model.space(self.modes), density_matrix_mm, UNOCCUPIED)


def _outside(functions: Orbitals, orbitals: Orbitals) -> Orbitals:
    """Return what of functions is orthogonal to orthonormal orbitals.  Collective.  The functions are overwritten."""
    functions.local -= orbitals.combine(functions.gram(orbitals).T).local
    return functions
