"""One geometry solved in full, in the body frame of a reduced model and from its orbitals."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.rom.domain import SampledBox
from mpiqmd.rom.estimate import ErrorEstimator


class FullSolution:
    """Full ground states beside a reduced surface.

    Parameters
    ----------
    estimator
        Knows the physics and the modes.
    make_solver
        Makes the full-space solver when it is first needed, which may be never.
    box
        The sampled region; None leaves ``outside`` unreported.

    Attributes
    ----------
    last
        The latest ground state.
    """

    def __init__(
        self, estimator: ErrorEstimator, make_solver: Callable[[], ElectronicSolver], box: SampledBox | None = None
    ) -> None:
        self.estimator, self.box = estimator, box
        self.last: GroundState | None = None
        self._make_solver = make_solver

    def evaluate(self, alignment: Alignment, density_matrix_mm: np.ndarray | None) -> Evaluation:
        """Return energy and forces in the laboratory, from reduced orbitals where there are any.  Collective.

        Raises ConvergenceError if the full solver does not converge.
        """
        problem = self.estimator.model.place(alignment.body_positions_av)
        state = self.last = self.solver.solve(problem, self._guess(density_matrix_mm))
        extras = self._dipole(alignment, problem, state)
        if self.box is not None:
            extras["outside"] = self.box.excess(alignment.body_positions_av)
        return Evaluation(state.free_energy, alignment.gradient_forces(state.gradient_av), extras)

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

    def _dipole(self, alignment: Alignment, problem: Problem, state: GroundState) -> dict[str, float]:
        """Return the dipole moment in the laboratory, atomic units."""
        if state.density is None:
            return {}
        laboratory_v = alignment.laboratory_vector(problem.dipole(state.density))
        return dict(zip(DIPOLE, laboratory_v.tolist(), strict=True))
