"""The minima of the compiled energy at geometries in a body frame, as a surface asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.body_surface import BodySurface, MovingFrame, Region, Solved
from mpiqmd.rom.compiled.energy import PlacedEnergy
from mpiqmd.rom.compiled.minima import Minima
from mpiqmd.rom.compiled.solver import CompiledSolver
from mpiqmd.rom.learned.tabulated import CompanyMemory, TabulatedBodySolver, tabulated_surface


@dataclass(eq=False, slots=True)
class CompiledSolved(Solved):
    """One of a batch of minima, a :class:`~mpiqmd.rom.solved.ReducedAnswer` without a Kohn-Sham problem."""

    minima: Minima
    row: int

    problem = None

    @property
    def density_matrix_mm(self) -> np.ndarray:
        """P over the modes, shape (modes, modes)."""
        return self.minima.density_matrix(self.row)


class CompiledBodySolver(TabulatedBodySolver[CompiledSolver, PlacedEnergy, CompiledSolved]):
    """Minimises the compiled energy."""

    def _solved(self, placed: PlacedEnergy, count: int) -> list[CompiledSolved | MpiqmdError]:
        """Return what is found at the first ``count`` geometries of a batch."""
        energy, minima = self.solver.energy, self.solver.solve_batch(placed, count)
        d_bp = minima.coefficients_bp
        gradient_bav = energy.gradients_of(placed, minima.orbitals_bmn, minima.dual_bmn, d_bp)
        dipoles_bv = energy.dipole_of(placed.positions_av, d_bp)
        energies, counts, errors = (x.tolist() for x in (minima.energies_b, minima.evaluations_b, minima.errors_b))
        return [
            minima.failures[b]
            if b in minima.failures
            else CompiledSolved(
                energies[b],
                gradient_bav[b],
                dipoles_bv[b],
                {"evaluations": float(counts[b]), "residual": errors[b]},
                minima,
                b,
            )
            for b in range(count)
        ]


def compiled_surface(
    frame: MovingFrame,
    solver: CompiledSolver,
    forces: str = "gradient",
    region: Region | None = None,
    labels: Sequence[str] = (),
) -> BodySurface[CompanyMemory, CompiledSolved]:
    """Return the compiled surface.  Not collective.  Raises ConfigError if there are no such forces."""
    return tabulated_surface(frame, CompiledBodySolver(solver, labels), forces, region)
