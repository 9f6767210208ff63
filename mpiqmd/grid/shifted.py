"""The inverse of the shifted kinetic operator, ``(T + σ)^-1`` with ``T = -∇²/2`` by finite differences.

Directly it is exact: the 1-D stencil matrices are diagonalised once and their eigenvalues add.  On very large grids one
multigrid V-cycle takes its place (:mod:`mpiqmd.grid.multigrid`), a fixed symmetric approximation.  This preconditions
the orbital residuals (ABPG, SLEPc) and appears in the error estimate of the reduced model.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid import stencils
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.multigrid import VCycle, uses_multigrid
from mpiqmd.grid.separable import SeparableOperator


class ShiftedKineticInverse:
    """Applies ``(T + σ)^-1`` to blocks of functions.  Construction is collective.

    Parameters
    ----------
    grid
        The grid.
    shift
        σ > 0 in hartree.
    single
        Solve directly in single precision: enough for a preconditioner at half the cost.
    """

    def __init__(self, grid: Grid, shift: float, single: bool = True) -> None:
        self.grid = grid
        self.shift = shift
        self.operator: SeparableOperator | VCycle
        if uses_multigrid(grid):
            self.operator = grid.attached(("V-cycle", shift), lambda: VCycle(grid, shift))
        else:
            self.operator = _direct(grid, shift, np.float32 if single else np.float64)

    def apply(self, block_local: np.ndarray) -> np.ndarray:
        """Return ``(T + σ)^-1 f``, in the unit of f per Ha, for a local block f of shape (n, z, y, x).  Collective."""
        return self.operator.apply(block_local)

    def apply_orbitals(self, orbitals: Orbitals) -> Orbitals:
        """Return ``(T + σ)^-1 φ_i``.  Collective."""
        return Orbitals(self.grid, self.apply(orbitals.local))


def _direct(grid: Grid, shift: float, dtype: type) -> SeparableOperator:
    """Return ``(T + σ)^-1`` in the eigenvectors of the 1-D stencils, of the grid's own order.  Not collective."""
    weights = stencils.second_derivative(grid.order)
    bases, kinetic = [], []
    for axis, n in enumerate(grid.shape):
        matrix = stencils.matrix(weights, grid.spacing_v[2 - axis] ** -2.0, n, grid.is_periodic)
        values, vectors = np.linalg.eigh(-0.5 * matrix)
        bases.append(vectors.T)
        kinetic.append(values)

    def inverse(kz: slice, ky: slice, kx: slice) -> np.ndarray:
        z, y, x = kinetic[0][kz], kinetic[1][ky], kinetic[2][kx]
        return 1.0 / (z[:, None, None] + y[None, :, None] + x[None, None, :] + shift)

    return SeparableOperator(grid, tuple(bases), inverse, dtype)
