"""The Hi-Fi potential energy surface, as molecular dynamics sees it."""

from __future__ import annotations

import numpy as np

from mpiqmd.hifi.extrapolation import OrbitalExtrapolation
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation, coarse_grid_warning, remove_net_force
from mpiqmd.parallel.log import Log


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
    log
        Where to say, once, that the grid is too coarse for the atoms; silent by default.
    """

    def __init__(
        self,
        model: KohnShamModel,
        solver: ElectronicSolver,
        extrapolation: OrbitalExtrapolation | None = None,
        net_force: str = "remove",
        log: Log | None = None,
    ) -> None:
        self.model, self.solver, self.net_force = model, solver, net_force
        self.extrapolation = extrapolation
        self.last: GroundState | None = None
        self.log: Log | None = log

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return the free energy and the forces at these positions.  Collective."""
        problem = self.model.place(positions_av)
        guess = self.extrapolation.predict(positions_av) if self.extrapolation else None
        state = self.solver.solve(problem, guess)
        if self.extrapolation:
            self.extrapolation.add(positions_av, state.orbitals)
        self.last = state
        forces_av = state.forces_av
        net = float(np.linalg.norm(forces_av.sum(axis=0)))
        self._warn_once(net)
        if self.net_force == "remove":
            forces_av = remove_net_force(forces_av, problem.molecule.masses_a)
        extras = {"iterations": float(state.iterations), "scf_error": state.residual, "net_force": net}
        if not self.model.grid.is_periodic:
            extras |= dict(zip(DIPOLE, problem.dipole(state.density).tolist(), strict=True))
        return Evaluation(state.free_energy, forces_av, extras)

    def _warn_once(self, net_force: float) -> None:
        warning = coarse_grid_warning(net_force, float(self.model.grid.spacing_v.max()))
        if self.log is not None and warning:
            self.log(warning)
            self.log = None

    def state(self) -> dict[str, np.ndarray]:
        """Return the orbital history.  Collective."""
        return self.extrapolation.state() if self.extrapolation else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back the orbital history.  Not collective."""
        if self.extrapolation:
            self.extrapolation.restore(state)
