"""The Hi-Fi ground states of geometries in a frame, as a surface asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.hifi.extrapolation import OrbitalExtrapolation
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.body_surface import Solved
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import one_by_one


class HifiBodySolver:
    """Solves the full Kohn-Sham problem at every geometry, starting from extrapolated orbitals.

    Parameters
    ----------
    model
        The physics.
    solver
        A full-space solver.
    extrapolation, steps
        The rule for starting orbitals, ``"none"`` to start from atoms, and how many blocks it combines.
    watch
        Says, once, that the cell is too small or the grid too coarse; silent by default.

    Raises
    ------
    ConfigError
        If there is no such rule.
    """

    def __init__(
        self,
        model: KohnShamModel,
        solver: ElectronicSolver,
        extrapolation: str = "none",
        steps: int | None = None,
        watch: GroundStateWatch | None = None,
    ) -> None:
        self.model, self.solver, self.watch = model, solver, watch
        self.extrapolation, self.steps = extrapolation, steps
        self.fresh()

    def fresh(self, company: int = 1) -> OrbitalExtrapolation:
        """Return the orbitals of an owner's earlier geometries: none yet.  Not collective."""
        return OrbitalExtrapolation(self.model.grid, self.extrapolation, self.steps)

    def solve(
        self, alignments: Sequence[Alignment | MpiqmdError], memories: Sequence[OrbitalExtrapolation]
    ) -> list[Solved | MpiqmdError]:
        """Return the ground states, one after the other, or errors in their places.  Collective.

        ``extras``: ``iterations``, ``scf_error`` and ``net_force``, the norm of the net force of the grid (Ha/bohr).
        """
        return one_by_one(self._solved, alignments, memories)

    def _solved(self, alignment: Alignment, memory: OrbitalExtrapolation) -> Solved:
        """Return the ground state of one geometry, started from what the owner remembers, and remember it.  Collective."""
        body_av = alignment.body_positions_av
        problem = self.model.place(body_av)
        state = self.solver.solve(problem, memory.predict(body_av))
        assert state.gradient_av is not None
        memory.add(body_av, state.orbitals)
        if self.watch is not None:
            self.watch.look(problem, state)
        net = float(np.linalg.norm(state.gradient_av.sum(axis=0)))
        extras = {"iterations": float(state.iterations), "scf_error": state.residual, "net_force": net}
        dipole_v = None if self.model.grid.is_periodic else problem.dipole(state.density)
        return Solved(state.free_energy, state.gradient_av, dipole_v, extras)
