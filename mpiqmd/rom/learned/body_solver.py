"""The minima of a learned-grid model at geometries in a body frame, as a surface asks for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.body_surface import Solved
from mpiqmd.rom.learned.energy import Placed
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.tabulated import TabulatedBodySolver


@dataclass(eq=False, slots=True)
class LearnedSolved(Solved):
    """One of a batch of minima, a :class:`~mpiqmd.rom.solved.ReducedAnswer` without a Kohn-Sham problem."""

    subspaces: LatentSubspaces
    latent_d: np.ndarray

    problem = None

    @property
    def density_matrix_mm(self) -> np.ndarray:
        """P over the modes, shape (modes, modes), dimensionless."""
        (orbitals_nk,), _ = self.subspaces.orthonormal(self.latent_d[None])
        return self.subspaces.density_matrix(orbitals_nk)


class LearnedBodySolver(TabulatedBodySolver[LearnedSolver, Placed, LearnedSolved]):
    """Minimises the energy of a learned-grid model; every rank computes the same from the same replicated data."""

    def _solved(self, placed: Placed, count: int) -> list[LearnedSolved | MpiqmdError]:
        subspaces, minima = self.solver.energy.arrays.subspaces, self.solver.solve_batch(placed, count)
        return [
            minima.failures[b]
            if b in minima.failures
            else LearnedSolved(
                float(minima.energies_b[b]),
                minima.gradient_bav[b],
                minima.dipoles_bv[b],
                {"evaluations": float(minima.evaluations_b[b]), "residual": float(minima.gaps_b[b])},
                subspaces,
                minima.latent_bd[b, : len(subspaces)],
            )
            for b in range(count)
        ]
