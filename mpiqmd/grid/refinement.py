"""Functions of one grid on a grid of more intervals, and back.

A function on n intervals of a cell of length L is taken for the one trigonometric sum through its values: sines in an
isolated cell, sines and cosines in a periodic one.  Evaluating it on m > n intervals is a small dense matrix along each axis,

    φ(r) = (Iz ⊗ Iy ⊗ Ix) φ,      R = I^T (n/m)³,      <g, I φ> = <R g, φ>,      R I = 1

with the grids' own inner products, so that orthonormal orbitals stay orthonormal.  On the doubled grid products of two
refined functions have no alias; on one of 3/2 as many intervals, none that reaches the waves of the first.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.pencils import AxisTrade
from mpiqmd.grid.separable import along_z, fourier_basis


class Refinement:
    """Interpolates from a grid to a finer one, and its adjoint.  Construction is collective.

    Parameters
    ----------
    coarse
        The grid.
    factor
        How many times as many intervals the finer one has, at least; rounded up to even numbers.

    Attributes
    ----------
    coarse, fine
        Both grids, on the same process grid.
    """

    def __init__(self, coarse: Grid, factor: float) -> None:
        self.coarse, self.fine = coarse, coarse.refined(factor)
        pairs = list(zip(coarse.points_v[::-1], self.fine.points_v[::-1], strict=True))
        self._up = [interpolation(n, m, coarse.is_periodic) for n, m in pairs]
        self._down = [np.ascontiguousarray(n / m * matrix.T) for matrix, (n, m) in zip(self._up, pairs, strict=True)]
        (comm_z, comm_y, _), (_, n_y, n_x) = coarse.axis_comms, self.fine.shape
        self._coarse_trades, self._fine_trades = (
            (
                AxisTrade(comm_y, n_x, grid.counts[1], split_axis=3, join_axis=2),
                AxisTrade(comm_z, n_y, grid.counts[0], split_axis=2, join_axis=1),
            )
            for grid in (coarse, self.fine)
        )

    def refine(self, orbitals: Orbitals) -> Orbitals:
        """Return functions of the grid on the finer one.  Collective."""
        (coarse_xy, coarse_yz), (fine_xy, fine_yz) = self._coarse_trades, self._fine_trades
        work = coarse_xy.forward(orbitals.local @ self._up[2].T)
        work = coarse_yz.forward(np.matmul(self._up[1], work))
        work = fine_yz.backward(along_z(self._up[0], work))
        return Orbitals(self.fine, fine_xy.backward(work))

    def restrict(self, orbitals: Orbitals) -> Orbitals:
        """Return R of functions of the finer grid.  Collective."""
        (coarse_xy, coarse_yz), (fine_xy, fine_yz) = self._coarse_trades, self._fine_trades
        work = fine_yz.forward(fine_xy.forward(orbitals.local))
        work = coarse_yz.backward(along_z(self._down[0], work))
        work = coarse_xy.backward(np.matmul(self._down[1], work))
        return Orbitals(self.coarse, work @ self._down[2].T)

    def refine_field(self, field: Field) -> Field:
        """Return a function of the grid on the finer one.  Collective."""
        return Field(self.fine, self.refine(Orbitals(self.coarse, field.local[None])).local[0])

    def restrict_field(self, field: Field) -> Field:
        """Return R of a function of the finer grid.  Collective."""
        return Field(self.coarse, self.restrict(Orbitals(self.fine, field.local[None])).local[0])

    def destroy(self) -> None:
        """Free the finer grid.  Collective."""
        self.fine.destroy()


def interpolation(n: int, m: int, is_periodic: bool) -> np.ndarray:
    """Return the 1-D matrix from the points of n intervals to those of m > n.  Not collective.

    Without unit, shape (m, n) for a periodic axis, (m - 1, n - 1) for the interior points of an isolated one.  The Nyquist
    cosine of an even periodic axis is scaled by √2 to keep its norm, which leaves ``R I = 1`` for every function.
    """
    if not is_periodic:
        waves = np.arange(1, n)
        fine = np.sin(np.pi / m * np.outer(np.arange(1, m), waves))
        return fine @ np.sin(np.pi / n * np.outer(waves, waves)) * (2.0 / n)
    # The first n rows are the same functions on both grids, each normalised over its own points.
    return np.sqrt(m / n) * fourier_basis(m)[:n].T @ fourier_basis(n)
