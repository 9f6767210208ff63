"""Full ground states that are met on the way: who solves a geometry in full hands what it finds to who wants to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import Problem


@dataclass(frozen=True, eq=False)
class FullSolution:
    """What training keeps of a full ground state.

    Attributes
    ----------
    positions_av
        In the body frame, shape (N, 3), bohr.
    orbitals
        The orbitals there, orthonormal, distributed.
    energy, forces_av, eigenvalues_n
        Free energy (Ha), forces of the same frame (N, 3), Ha/bohr, and levels (Ha).
    """

    positions_av: np.ndarray
    orbitals: Orbitals
    energy: float
    forces_av: np.ndarray
    eigenvalues_n: np.ndarray

    @classmethod
    def of(cls, problem: Problem, state: GroundState) -> FullSolution:
        """Return what is kept of the ground state of a problem.  Collective."""
        # as a snapshot file has them, so that what comes back from there is the same to the last bit
        orbitals = orthonormalised(state.orbitals)
        return cls(problem.positions_av, orbitals, state.free_energy, state.forces_av, state.eigenvalues_n)


class OverheardSolver:
    """A full-space solver whose ground states are told of.  Construction is not collective.

    Parameters
    ----------
    make_solver
        Makes the solver when it is first needed, which may be never.
    tell
        Called with every ground state.
    """

    def __init__(self, make_solver: Callable[[], ElectronicSolver], tell: Callable[[FullSolution], None]) -> None:
        self._make_solver, self._tell = make_solver, tell

    @cached_property
    def solver(self) -> ElectronicSolver:
        """The solver."""
        return self._make_solver()

    def __getattr__(self, name: str) -> object:
        # such as the number of orbitals that it works with, where it knows it
        return getattr(self.solver, name)

    def solve(self, problem: Problem, guess: Orbitals | None = None) -> GroundState:
        """Return the ground state, and tell of it.  Collective.  Raises ConvergenceError."""
        state = self.solver.solve(problem, guess)
        self._tell(FullSolution.of(problem, state))
        return state
