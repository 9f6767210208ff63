"""The reduced ground states of geometries in a body frame, found on the grid, as a surface asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.kohnsham.extrapolation import AspcExtrapolation
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.molecule.body_surface import BodySurface, Region, SurfaceFrame
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory, one_by_one
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.solved import GridSolved


class DensityMatrixMemory(Memory):
    """Density matrices of one owner's earlier geometries, and the order in which the body frame had the atoms there."""

    def __init__(self, extrapolation: AspcExtrapolation) -> None:
        self.extrapolation = extrapolation
        self._permutation: tuple[int, ...] = ()

    def predict(self, permutation_a: np.ndarray) -> np.ndarray | None:
        """Return the extrapolated density matrix, shape (r, r), without unit; None without a history.  Collective.

        A folding frame that changes sides starts afresh.
        """
        permutation = tuple(int(a) for a in permutation_a)
        if permutation != self._permutation:
            self.extrapolation.clear()
            self._permutation = permutation
        return self.extrapolation.predict()

    def state(self) -> dict[str, np.ndarray]:
        """Return the history: ``density_matrices`` (steps, r, r), without unit, and ``permutation`` (N,).  Not collective."""
        return self.extrapolation.state() | {"permutation": np.array(self._permutation, int)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue bitwise from what :meth:`state` returned.  Not collective."""
        self.extrapolation.restore(state)
        self._permutation = tuple(int(a) for a in state.get("permutation", ()))

    def forget(self) -> None:
        """Drop the history.  Not collective."""
        self.extrapolation.clear()


class GridBodySolver:
    """Minimises over density matrices of fixed modes, starting from extrapolated ones.

    Parameters
    ----------
    solver
        The reduced solver.
    extrapolation
        Order of the extrapolation; None starts every geometry from the training data.
    """

    def __init__(self, solver: RomSolver, extrapolation: int | None = 2) -> None:
        self.solver, self.extrapolation = solver, extrapolation

    def fresh(self, company: int = 1) -> Memory:
        """Return the density matrices of an owner's earlier geometries: none yet.  Not collective."""
        if self.extrapolation is None:
            return Memory()
        model = self.solver.model
        rule = AspcExtrapolation(model.grid.comm, model.n_electrons, self.extrapolation, self.solver.is_integer)
        return DensityMatrixMemory(rule)

    def solve(
        self, alignments: Sequence[Alignment | MpiqmdError], memories: Sequence[Memory]
    ) -> list[GridSolved | MpiqmdError]:
        """Return the reduced ground states, one after the other, or errors in their places.  Collective.

        ``extras``: ``evaluations`` of the reduced energy, and ``residual``.
        """
        return one_by_one(self._solved, alignments, memories)

    def _solved(self, alignment: Alignment, memory: Memory) -> GridSolved:
        history = memory if isinstance(memory, DensityMatrixMemory) else None
        guess_mm = None if history is None else history.predict(alignment.permutation_a)
        solved, _ = solved_on_grid(self.solver, alignment.body_positions_av, guess_mm)
        if history is not None:
            history.extrapolation.append(solved.density_matrix_mm)
        return solved


def solved_on_grid(
    solver: RomSolver, body_positions_av: np.ndarray, guess_mm: np.ndarray | None = None
) -> tuple[GridSolved, GroundState]:
    """Return the reduced minimum at body-frame positions (N, 3), bohr, as a surface wants it, without dipole, and as it is.

    Collective.  ``guess_mm`` is the density matrix to start from, that of the nearest training geometry if not given.  Raises
    ConvergenceError.
    """
    placed = solver.reduced.place(body_positions_av)
    state = solver.solve(body_positions_av, guess_mm, placed=placed)
    extras = {"evaluations": float(state.iterations), "residual": state.residual}
    solved = GridSolved(state.free_energy, state.gradient_av, None, extras, state.density_matrix_nn, placed.problem)
    return solved, state


def grid_surface(
    frame: SurfaceFrame,
    solver: RomSolver,
    forces: str = "gradient",
    region: Region | None = None,
    extrapolation: int | None = 2,
) -> BodySurface[Memory, GridSolved]:
    """Return the reduced surface evaluated on the grid.  Not collective.  Raises ConfigError if there are no such forces."""
    return BodySurface(frame, GridBodySolver(solver, extrapolation), forces, region, tells_net_force=True)
