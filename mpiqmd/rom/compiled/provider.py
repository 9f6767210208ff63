"""The compiled potential energy surface, as molecular dynamics sees it."""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.rom.compiled.solver import CompiledSolver, Solution
from mpiqmd.rom.domain import SampledBox

OUTSIDE_TOLERANCE = 1e-9
"""Bohr outside a tabulated box that count as round-off."""


class OutsideTablesError(GeometryError):
    """A geometry outside the boxes a compiled model was tabulated on."""


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
    box
        The sampled region; None leaves ``outside`` unreported.
    """

    def __init__(
        self, frame: BodyFrame, solver: CompiledSolver, forces: str = "gradient", box: SampledBox | None = None
    ) -> None:
        if forces not in ("gradient", "hellmann-feynman"):
            raise ConfigError(f"rom.forces = {forces!r}: allowed are 'gradient' and 'hellmann-feynman'. Use 'gradient'.")
        self.frame, self.solver, self.forces, self.box = frame, solver, forces, box
        self.solution: Solution | None = None

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at laboratory positions (N, 3), bohr.  Not collective.

        ``extras``: ``evaluations``, ``residual`` (estimated error of κ), ``dipole_x``, ``_y``, ``_z`` (atomic units), and
        ``outside`` (how far outside the sampled box, in half-widths).  Raises OutsideTablesError outside the tabulated
        boxes, which are never extrapolated.
        """
        solver, energy = self.solver, self.solver.energy
        alignment = self.frame.align(positions_av)
        body_av = alignment.body_positions_av
        placed = energy.place(body_av)
        if placed.excess > OUTSIDE_TOLERANCE:
            raise OutsideTablesError(
                f"an atom is {placed.excess:.3f} bohr outside the box the compiled model was tabulated on. Train on a "
                "wider range (train.deviations, train.bond_scales, train.angle_offsets), or set rom.on_large_error = 'hifi'."
            )
        solution = solver.solve(placed)
        gradient_av = energy.gradient_of(placed, solution.orbitals_mn, solution.dual_mn, solution.coefficients_p)
        if self.forces == "gradient":
            forces_av = alignment.gradient_forces(gradient_av)
        else:
            forces_av = alignment.rotated_forces(self._closed(gradient_av))
        dipole_v = alignment.laboratory_vector(energy.dipole_of(body_av, solution.coefficients_p))
        x, y, z = dipole_v.tolist()
        extras = {"evaluations": float(solution.evaluations), "residual": solution.error}
        extras |= {"dipole_x": x, "dipole_y": y, "dipole_z": z}
        if self.box is not None:
            extras["outside"] = self.box.excess(body_av)
        self.solution = solution
        return Evaluation(solution.energy, forces_av, extras)

    def _closed(self, gradient_av: np.ndarray) -> np.ndarray:
        """Return the gradient with what pinned atoms, which have no tables, owe to a vanishing net force."""
        pinned = [a for a, box in enumerate(self.solver.energy.arrays.boxes) if not box.axes]
        if not pinned:
            return gradient_av
        closed_av = gradient_av.copy()
        closed_av[pinned] = 0.0
        closed_av[pinned] = -closed_av.sum(axis=0) / len(pinned)
        return closed_av

    @property
    def density_matrix_mm(self) -> np.ndarray | None:
        """P over the modes at the latest evaluation; None before the first."""
        return None if self.solution is None else self.solution.density_matrix_mm

    def state(self) -> dict[str, np.ndarray]:
        """Return nothing: an evaluation depends on the geometry alone.  Not collective."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back nothing.  Not collective."""
