"""The Hi-Fi potential energy surface, as molecular dynamics sees it."""

from __future__ import annotations

import numpy as np

from mpiqmd.hifi.extrapolation import OrbitalExtrapolation
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation, remove_net_force
from mpiqmd.molecule.placement import Placement
from mpiqmd.parallel.comm import decide


class HifiForceProvider:
    """Solves the full Kohn-Sham problem at every geometry, starting from extrapolated orbitals.

    Parameters
    ----------
    model
        The physics.
    solver
        A full-space solver.
    extrapolation
        What the starting orbitals are extrapolated with; None starts every call from atoms.
    net_force
        ``"remove"`` subtracts the grid's net force mass-weighted, ``"keep"`` returns the exact derivative of the
        discrete energy.
    watch
        Says, once, that the cell is too small or the grid too coarse, and where a molecule is moved; silent by default.
    placement
        Moves an isolated molecule into its cell; None computes it where its coordinates are.
    """

    def __init__(
        self,
        model: KohnShamModel,
        solver: ElectronicSolver,
        extrapolation: OrbitalExtrapolation | None = None,
        net_force: str = "remove",
        watch: GroundStateWatch | None = None,
        placement: Placement | None = None,
    ) -> None:
        self.model, self.solver, self.net_force = model, solver, net_force
        self.extrapolation = extrapolation
        self.last: GroundState | None = None
        self.watch = watch
        self.placement = placement

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return the free energy and the forces at these positions.  Collective."""
        shift_v = self._shift(positions_av)
        problem = self.model.place(positions_av + shift_v)
        guess = self.extrapolation.predict(positions_av) if self.extrapolation else None
        state = self.solver.solve(problem, guess)
        if self.extrapolation:
            self.extrapolation.add(positions_av, state.orbitals)
        self.last = state
        forces_av = state.forces_av
        net = float(np.linalg.norm(forces_av.sum(axis=0)))
        if self.watch is not None:
            self.watch.look(problem, state)
        if self.net_force == "remove":
            forces_av = remove_net_force(forces_av, problem.molecule.masses_a)
        extras = {"iterations": float(state.iterations), "scf_error": state.residual, "net_force": net}
        if not self.model.grid.is_periodic:
            dipole_v = problem.dipole(state.density) - problem.molecule.charge * shift_v
            extras |= dict(zip(DIPOLE, dipole_v.tolist(), strict=True))
        return Evaluation(state.free_energy, forces_av, extras)

    def _shift(self, positions_av: np.ndarray) -> np.ndarray:
        """Return what takes the molecule into its cell, shape (3,), bohr.  Collective."""
        if self.placement is None:
            return np.zeros(3)
        if decide(self.model.grid.comm, self.placement.place(positions_av)):
            if self.watch is not None and not self.placement.anew:
                self.watch.log(self.placement.describe())
            if self.extrapolation:
                self.extrapolation.forget()
        self.placement.shift_v = decide(self.model.grid.comm, self.placement.shift_v)
        return self.placement.shift_v

    def state(self) -> dict[str, np.ndarray]:
        """Return the orbital history and the place of a molecule that has been moved.  Collective."""
        moved = self.placement is not None and self.placement.shift_v.any()
        return (self.extrapolation.state() if self.extrapolation else {}) | ({"shift": self.placement.shift_v} if moved else {})

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Not collective."""
        if self.extrapolation:
            self.extrapolation.restore(state)
        if self.placement is not None:
            self.placement.shift_v = np.array(state.get("shift", np.zeros(3)), float).reshape(3)
