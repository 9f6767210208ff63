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

    Attributes
    ----------
    u, w
        The spanning orbitals and their dual, shape (modes, occupied): ``P = W U^T``.
    d
        Pair coefficients of P.
    gradient, step
        dA/dκ and ``-B^-1 dA/dκ``.
    """

    def __init__(self, energy: CompiledEnergy, chart: GrassmannChart, inverse_hessian: np.ndarray) -> None:
        arrays = energy.arrays
        self.energy, self.chart, self.inverse_hessian = energy, chart, np.ascontiguousarray(inverse_hessian)
        self.pairs = arrays.pairs
        self.interaction = np.concatenate([matrix.ravel() for matrix in arrays.interaction])
        self.edges = np.array([part.start for part in self.pairs.classes] + [len(self.pairs)])
        n_modes, n_occupied = chart.occupied.shape
        self.u, self.w = np.empty((n_modes, n_occupied)), np.empty((n_modes, n_occupied))
        self.d, self.potential = np.empty(len(self.pairs)), np.empty(len(self.pairs))
        self.applied = np.empty((n_modes, n_occupied))
        self.gradient, self.step = np.empty(len(chart)), np.empty(len(chart))
        self._prepare_points(n_modes, n_occupied)

    def _prepare_points(self, n_modes: int, n_occupied: int) -> None:
        q, remainder = self.energy.arrays.quadrature, self.energy.remainder
        n_points = 0 if q is None else len(q.weights_q)
        self.modes_qm = np.zeros((0, n_modes)) if q is None else q.modes_qm
        self.left = np.empty((n_points, n_occupied))
        self.rho = np.empty(n_points)
        self.points = None if q is None else FixedPoints(remainder.functional.terms, n_points)
        if q is not None:
            self.rho = self.points.rho
            self.e0 = remainder.e0
        if q is not None and remainder.slope0 is not None:
            self.orbital_slopes = np.empty((n_points, 3, n_occupied))
            self.slope = np.empty((3, n_points))

    def evaluate(self, placed: PlacedEnergy, kappa: np.ndarray) -> tuple[float, float]:
        """Return the energy (Ha) and the size of the quasi-Newton step; fills the attributes."""
        chart, pairs = self.chart, self.pairs
        kernels.span_and_density(
            kappa,
            chart.rows,
            chart.columns,
            chart.occupied,
            chart.empty,
            pairs.rows,
            pairs.columns,
            pairs.multiplicities_p,
            self.modes_qm,
            self.u,
            self.w,
            self.d,
            self.left,
            self.rho,
        )
        total = placed.base + float(self.d @ placed.linear_p)
        total += kernels.interaction_energy(self.interaction, self.edges, self.d, self.potential)
        kernels.applied_hamiltonian(placed.linear_mm, self.potential, pairs.rows, pairs.columns, self.u, self.applied)
        if self.points is not None:
            total += self._add_rest()
        size = kernels.gradient_and_step(
            self.u,
            self.w,
            self.applied,
            chart.empty,
            chart.rows,
            chart.columns,
            self.inverse_hessian,
            self.gradient,
            self.step,
        )
        return total, size

    def _add_rest(self) -> float:
        """Add the xc quadrature to ``applied`` and return its energy."""
        q, r, points = self.energy.arrays.quadrature, self.energy.remainder, self.points
        if r.slope0 is None:
            points.evaluate()
            energy_density = points.e * points.rho
            return kernels.lda_rest(
                q.weights_q,
                energy_density,
                points.v_rho,
                self.rho,
                r.rho0,
                r.e0,
                r.v_rho0,
                r.second["rr"],
                q.modes_qm,
                self.left,
                self.applied,
            )
        kernels.density_slope(q.slopes_qvm, self.u, self.w, self.left, q.modes_qm, self.orbital_slopes, self.slope)
        points.sigma[:] = (self.slope**2).sum(axis=0)
        points.evaluate()
        value, d_rho, d_slope = r.combine(self.rho, self.slope, points.e * points.rho, points.v_rho, points.v_sigma)
        weighted = (q.weights_q * d_slope).T
        pull = (q.weights_q * d_rho)[:, None] * self.left + (weighted[:, :, None] * self.orbital_slopes).sum(axis=1)
        self.applied += q.modes_qm.T @ pull
        along = weighted[:, :, None] * self.left[:, None, :]
        n_modes, n_occupied = self.u.shape
        self.applied += q.slopes_qvm.reshape(-1, n_modes).T @ along.reshape(-1, n_occupied)
        return float(q.weights_q @ value)
