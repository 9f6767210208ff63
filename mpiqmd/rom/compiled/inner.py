"""One evaluation of the compiled energy and its gradient in κ, with every buffer made once.

The same numbers as ``energy.CompiledEnergy`` gives, through the kernels.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.energy import CompiledEnergy, PlacedEnergy


class InnerLoop:
    """Evaluates energy, gradient and quasi-Newton step at κ.  Replicated, not collective.

    Parameters
    ----------
    energy
        The compiled energy.
    chart
        The chart κ belongs to.

    Attributes
    ----------
    u, w
        The spanning orbitals and their dual, shape (modes, occupied): ``P = W U^T``.
    d
        Pair coefficients of P.
    gradient, step
        dA/dκ and ``-B^-1 dA/dκ``.
    """

    def __init__(self, energy: CompiledEnergy, chart: GrassmannChart) -> None:
        arrays = energy.arrays
        self.energy, self.chart = energy, chart
        pairs = arrays.pairs
        n_modes, n_occupied = chart.occupied.shape
        self.u, self.w = np.empty((n_modes, n_occupied)), np.empty((n_modes, n_occupied))
        self.d, self.potential = np.empty(len(pairs)), np.empty(len(pairs))
        self.applied = np.empty((n_modes, n_occupied))
        self.gradient, self.step = np.empty(len(chart)), np.empty(len(chart))
        self._prepare_points(n_occupied)
        self._density = (
            *(chart.rows, chart.columns, chart.occupied, chart.empty),
            *(pairs.rows, pairs.columns, pairs.multiplicities_p, self.modes_qm),
            *(self.u, self.w, self.d, self.left, self.right, self.rho),
        )
        blocks = arrays.interaction.blocks
        self._interaction = (
            np.concatenate([block.vectors_qp.ravel() for block in blocks]),
            np.concatenate([block.signs_q for block in blocks]),
            np.array([len(block.signs_q) for block in blocks]),
            np.array([part.start for part in pairs.classes] + [len(pairs)]),
        )
        self._response = pairs.rows, pairs.columns, self.d, self.potential, self.u, self.applied
        self._step = self.u, self.w, self.applied, chart.empty, chart.rows, chart.columns

    def _prepare_points(self, n_occupied: int) -> None:
        """Make the buffers at the quadrature points and the constant arguments of their kernels."""
        q, remainder = self.energy.arrays.quadrature, self.energy.remainder
        n_modes = self.energy.arrays.pairs.n_modes
        n_points = 0 if q is None else len(q.weights_q)
        self.modes_qm = np.zeros((0, n_modes)) if q is None else np.ascontiguousarray(q.modes_qm)
        self.left, self.right, weighted = (np.empty((n_points, n_occupied)) for _ in range(3))
        self.points = None if q is None else FixedPoints(remainder.functional.terms, n_points)
        self.rho = np.empty(0) if q is None else self.points.rho
        self._rest = None
        if q is None:
            return
        points = self.points
        if remainder.slope0 is None:
            constant = remainder.rho0, remainder.e0, remainder.v_rho0, remainder.second["rr"]
            buffers = self.modes_qm, self.left, weighted, self.applied
            self._rest = q.weights_q, points.e, points.v_rho, self.rho, *constant, *buffers
            return
        self.flat_slopes = np.ascontiguousarray(q.slopes_qvm.reshape(-1, n_modes))
        self.orbital_slopes, along = (np.empty((3 * n_points, n_occupied)) for _ in range(2))
        self.slope = np.empty((3, n_points))
        first = np.array([remainder.rho0, remainder.e0, remainder.v_rho0, remainder.v_sigma0])
        second = np.array([remainder.second[name] for name in ("rr", "rs", "ss")])
        constant = first, second, np.ascontiguousarray(remainder.slope0), self.modes_qm, self.flat_slopes
        values = q.weights_q, points.e, points.v_rho, points.v_sigma, self.rho, self.slope
        self._rest = *values, *constant, self.left, self.orbital_slopes, weighted, along, self.applied

    def set_density(self, kappa: np.ndarray, at_points: bool = False) -> None:
        """Fill u, w and d for κ and, if asked, the orbitals and the density at the quadrature points."""
        kernels.density_at_points(kappa, at_points, *self._density)

    def evaluate(
        self, placed: PlacedEnergy, kappa: np.ndarray, inverse_hessian: np.ndarray
    ) -> tuple[float, float, float]:
        """Return energy (Ha), largest element of the step, and step times gradient (Ha); fills the attributes.

        ``inverse_hessian`` is a lower triangle as :func:`packed_triangle` returns it.
        """
        self.set_density(kappa, at_points=True)
        total = placed.base + kernels.linear_response(*self._interaction, placed.linear_p, *self._response)
        if self.points is not None:
            total += self._add_rest()
        size, slope = kernels.gradient_and_step(*self._step, inverse_hessian, self.gradient, self.step)
        return total, size, slope

    def _add_rest(self) -> float:
        """Add the xc quadrature to ``applied`` and return its energy."""
        points = self.points
        if self.energy.remainder.slope0 is None:
            points.evaluate()
            return kernels.lda_rest(*self._rest)
        kernels.density_slope(self.flat_slopes, self.u, self.right, self.orbital_slopes, self.slope, points.sigma)
        points.evaluate()
        return kernels.gga_rest(*self._rest)


def packed_triangle(matrix: np.ndarray) -> np.ndarray:
    """Return the lower triangle of a symmetric matrix, row by row, in single precision: plenty for a step."""
    return matrix[np.tril_indices(len(matrix))].astype(np.float32)
