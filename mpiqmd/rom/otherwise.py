"""One geometry solved in another way than a reduced surface does it: on the grid in the reduced basis, or in full."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.body_surface import Solved
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.rom.body_solver import solved_on_grid
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.solved import GridSolved


class Otherwise:
    """Ground states beside a reduced surface.

    Parameters
    ----------
    estimator
        Knows the physics and the modes.
    solver
        Minimises the reduced energy on the grid.
    make_solver
        Makes the full-space solver when it is first needed, which may be never.
    """

    def __init__(self, estimator: ErrorEstimator, solver: RomSolver, make_solver: Callable[[], ElectronicSolver]) -> None:
        self.estimator, self.reduced, self._make_solver = estimator, solver, make_solver

    def on_grid(self, alignment: Alignment) -> GridSolved:
        """Return the reduced ground state of an aligned geometry, from the nearest training geometry.  Collective.

        Raises ConvergenceError if the minimum is not found.
        """
        solved, state = solved_on_grid(self.reduced, alignment.body_positions_av)
        solved.dipole_v = solved.problem.dipole(state.density)
        return solved

    def in_full(self, problem: Problem, density_matrix_mm: np.ndarray | None) -> Solved:
        """Return the ground state of a problem, from reduced orbitals where there are any.  Collective.

        Raises ConvergenceError if the full solver does not converge.
        """
        state = self.solver.solve(problem, self._guess(density_matrix_mm))
        return Solved(state.free_energy, state.gradient_av, problem.dipole(state.density), {})

    @cached_property
    def solver(self) -> ElectronicSolver:
        """The full-space solver."""
        return self._make_solver()

    def _guess(self, density_matrix_mm: np.ndarray | None) -> Orbitals | None:
        """Return the reduced orbitals, if they are as many as the full solver works with."""
        if density_matrix_mm is None:
            return None
        orbitals = self.estimator.electrons(density_matrix_mm).orbitals
        return orbitals if len(orbitals) == getattr(self.solver, "n_orbitals", len(orbitals)) else None
