"""The answer of every electronic solver, full or reduced, and the protocol they follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.model import Problem


@dataclass
class GroundState:
    """A minimum of the Mermin free energy at one geometry.

    Attributes
    ----------
    energy
        Total energy without entropy, Ha.
    free_energy
        ``A = E - T_e S``, Ha; equal to the energy at zero electronic temperature.
    components
        kinetic, local, nonlocal, hartree, xc, ion_ion and entropy (``-T_e S``); they sum to ``free_energy``.
    eigenvalues_n, occupations_n
        Kohn-Sham levels (Ha) and their occupations in [0, 1].
    density_matrix_nn
        P in the solver's own basis: its orbitals, or the modes of a reduced solver.
    converged, iterations, residual
        How the solver ended; ``residual`` is the norm of the gradient it watched.
    electrons
        Orbitals and density on the grid.
    gradient_av
        ``dA/dR`` in the frame of the solve, Ha/bohr, shape (N, 3); None until asked for.
    timing
        Seconds by stage.
    """

    energy: float
    free_energy: float
    components: dict[str, float]
    eigenvalues_n: np.ndarray
    occupations_n: np.ndarray
    density_matrix_nn: np.ndarray
    converged: bool
    iterations: int
    residual: float
    electrons: Electrons
    gradient_av: np.ndarray | None = None
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def orbitals(self) -> Orbitals:
        """The orbitals, distributed."""
        return self.electrons.orbitals

    @property
    def density(self) -> Field:
        """The density, distributed."""
        return self.electrons.density

    @property
    def forces_av(self) -> np.ndarray:
        """Forces ``-dA/dR``, Ha/bohr, shape (N, 3), of a solve that was asked for them."""
        assert self.gradient_av is not None, "solved without forces"
        return -self.gradient_av


class ElectronicSolver(Protocol):
    """Finds the ground state of a Kohn-Sham problem."""

    def solve(self, problem: Problem, guess: Orbitals | None = None) -> GroundState:
        """Return the ground state.  Collective.  Raises ConvergenceError if there is none within the limits."""
        ...
