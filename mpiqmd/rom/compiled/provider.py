"""The compiled potential energy surface, as molecular dynamics sees it."""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.rom.compiled.solver import CompiledSolver, KappaExtrapolation

OUTSIDE_TOLERANCE = 1e-9
"""Bohr outside a tabulated box that count as round-off."""


class CompiledForceProvider:
    """Aligns, minimises and carries forces back, without touching the grid.

    Every rank computes the same numbers from the same replicated data.

    Parameters
    ----------
    frame
        The body frame the modes belong to.
    solver
        The compiled solver.
    forces
        ``"gradient"`` (exact) or ``"hellmann-feynman"`` (body-frame forces turned back, as published).
    extrapolation
        Order of the extrapolation of κ between calls; None starts every call from the reference.
    """

    def __init__(
        self, frame: BodyFrame, solver: CompiledSolver, forces: str = "gradient", extrapolation: int | None = 2
    ) -> None:
        if forces not in ("gradient", "hellmann-feynman"):
            raise ConfigError(f"rom.forces = {forces!r}: allowed are 'gradient' and 'hellmann-feynman'. Use 'gradient'.")
        self.frame, self.solver, self.forces = frame, solver, forces
        self.extrapolation = None if extrapolation is None else KappaExtrapolation(extrapolation)

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy, forces and extras (``evaluations``, ``residual``, dipole) at laboratory positions, bohr.

        Not collective.  Raises GeometryError outside the tabulated boxes: tables are never extrapolated.
        """
        solver, energy = self.solver, self.solver.energy
        alignment = self.frame.align(positions_av)
        body_av = alignment.body_positions_av
        placed = energy.place(body_av)
        if placed.excess > OUTSIDE_TOLERANCE:
            raise GeometryError(
                f"an atom is {placed.excess:.3f} bohr outside the box the compiled model was tabulated on. Train on a "
                "wider range (train.bond_scales, train.angle_offsets), or set rom.on_large_error = 'hifi'."
            )
        kappa = self.extrapolation.predict() if self.extrapolation else None
        solution = solver.solve(placed, solver.origin if kappa is None else kappa)
        if self.extrapolation:
            self.extrapolation.add(solution.kappa)
        gradient_av = energy.gradient(placed, solution.density_matrix_mm)
        carry = alignment.gradient_forces if self.forces == "gradient" else alignment.rotated_forces
        extras = {"evaluations": float(solution.evaluations), "residual": solution.step}
        dipole = alignment.laboratory_vector(energy.dipole(body_av, solution.density_matrix_mm))
        extras |= {f"dipole_{axis}": float(value) for axis, value in zip("xyz", dipole, strict=True)}
        self.last_density_matrix_mm, self.last_body_av = solution.density_matrix_mm, body_av
        return Evaluation(solution.energy, carry(gradient_av), extras)

    def state(self) -> dict[str, np.ndarray]:
        """Return the history of κ.  Not collective."""
        return {"kappa": self.extrapolation.state()} if self.extrapolation else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back the history of κ.  Not collective."""
        if self.extrapolation and "kappa" in state:
            self.extrapolation.restore(state["kappa"])
