"""One evaluation of the compiled energy and its gradient in κ for a batch of geometries, with every buffer made once.

The same numbers as ``energy.CompiledEnergy`` gives.  A product with a matrix that all geometries share (pair interactions,
modes at the quadrature points, empty orbitals) is one product for a group of geometries (``products``): with one geometry as
many numbers are read as multiplied, with a group the matrix is read once for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import sspmv

from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.compiled import orbital_kernels as kernels
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.energy import CompiledEnergy
from mpiqmd.rom.learned.products import shared_product


@dataclass(frozen=True)
class InverseHessians:
    """Inverse Hessians ``B^-1 = Σ_t terms_t triangles_t`` of a batch, in single precision: plenty for a step.

    Attributes
    ----------
    terms_bt
        Coefficients, shape (B, terms).
    triangles_tk
        Lower triangles row by row, shape (terms, κ (κ + 1) / 2).
    """

    terms_bt: np.ndarray
    triangles_tk: np.ndarray

    @classmethod
    def same(cls, triangle: np.ndarray, size: int = 1) -> InverseHessians:
        """Return one and the same for every geometry of a batch, from :func:`packed_triangle`."""
        return cls(np.ones((size, 1), np.float32), triangle[None])


class InnerLoop:
    """Evaluates energy, gradient and quasi-Newton step at κ.  Replicated, not collective.

    Parameters
    ----------
    energy
        The compiled energy.
    chart
        The chart κ belongs to.
    size
        Geometries per batch, B.

    Attributes
    ----------
    u_bmn, w_bmn
        The spanning orbitals and their dual, shape (B, modes, occupied): ``P = W U^T``.
    d_bp
        Pair coefficients of P.
    gradient_bk, step_bk
        dA/dκ and ``-B^-1 dA/dκ``.
    """

    def __init__(self, energy: CompiledEnergy, chart: GrassmannChart, size: int = 1) -> None:
        self.energy, self.chart, self.size = energy, chart, size
        pairs = energy.arrays.pairs
        n_modes, n_occupied = chart.occupied.shape
        n_empty = chart.empty.shape[1]
        rows = size * n_occupied
        self.u_bmn, self.w_bmn = np.empty((2, size, n_modes, n_occupied))
        self.d_bp, self._potential_bp = np.empty((2, size, len(pairs)))
        self.gradient_bk, self.step_bk = np.empty((2, size, len(chart)))
        self._energies_b, self._sizes_b, self._slopes_b = np.empty((3, size))
        # matrices of the batch's orbitals as rows, to be multiplied, and the same memory by geometry, for the kernels
        self._kappa, self._full = np.zeros((2, rows, n_empty))
        self._moved, self._spanning, self._rest, self._residual = np.zeros((4, rows, n_modes))
        moved, spanning, rest, residual = (
            array.reshape(size, n_occupied, n_modes) for array in (self._moved, self._spanning, self._rest, self._residual)
        )
        kappa, full = (array.reshape(size, n_occupied, n_empty) for array in (self._kappa, self._full))
        inverse_bnn = np.empty((size, n_occupied, n_occupied))
        self._coordinates = chart.rows, chart.columns, kappa
        orbitals = kappa, moved, np.ascontiguousarray(chart.occupied.T)
        upper, lower = pairs.rows * n_modes + pairs.columns, pairs.columns * n_modes + pairs.rows
        self._spaces = *orbitals, upper, pairs.multiplicities_p, spanning, inverse_bnn, self.u_bmn, self.w_bmn, self.d_bp
        state = self._potential_bp, self.d_bp, upper, lower, self.u_bmn, self.w_bmn
        self._residuals = *state, rest, np.zeros((n_modes, n_modes)), residual, self._energies_b
        self._single_bk, self._newton_bk = np.empty((2, size, len(chart)), np.float32)
        self._triangles_bk = np.empty((size, len(chart) * (len(chart) + 1) // 2), np.float32)
        self._gradients = full, chart.rows, chart.columns, self.gradient_bk, self._single_bk
        self._measure = self._newton_bk, self.gradient_bk, self.step_bk, self._sizes_b, self._slopes_b
        self._points = None if energy.remainder is None else _Points(energy, n_occupied, size, inverse_bnn)

    def set_density(self, kappa_bk: np.ndarray) -> None:
        """Fill ``u_bmn``, ``w_bmn`` and ``d_bp`` for κ."""
        kernels.coordinates(kappa_bk, *self._coordinates)
        shared_product(self._kappa, self.chart.empty.T, self.size, out=self._moved)
        kernels.occupied_spaces(*self._spaces)

    def evaluate(
        self, linear_bp: np.ndarray, kappa_bk: np.ndarray, inverse: InverseHessians
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the energies without their base (Ha), the largest elements of the steps, and step times gradient (Ha).

        Each of shape (B,), valid until the next call; the attributes are filled.  ``linear_bp`` is that of a
        :class:`~mpiqmd.rom.compiled.energy.PlacedEnergy`.
        """
        self.set_density(kappa_bk)
        self._energies_b[:] = 0.0
        if self._points is not None:
            self._points.add(self._spanning, self._energies_b, self._rest)
        self.energy.arrays.interaction.apply_to(self.d_bp, self._potential_bp)
        kernels.residuals(linear_bp, *self._residuals)
        shared_product(self._residual, self.chart.empty, self.size, out=self._full)
        self._take_step(inverse)
        return self._energies_b, self._sizes_b, self._slopes_b

    def _take_step(self, inverse: InverseHessians) -> None:
        """Set gradient and step, their product and the largest element of the step.

        BLAS's products in single precision depend on the size of the batch in their last bits: every geometry has its own.
        """
        kernels.gradients(*self._gradients)
        np.matmul(inverse.terms_bt[:, None], inverse.triangles_tk, out=self._triangles_bk[:, None])
        for triangle, gradient, newton in zip(self._triangles_bk, self._single_bk, self._newton_bk, strict=True):
            # BLAS counts by columns: what is the lower triangle here is the upper one there
            newton[:] = sspmv(len(gradient), -1.0, triangle, gradient)
        kernels.measure(*self._measure)


class _Points:
    """The xc quadrature of a batch: buffers at the points and the constant arguments of their kernels."""

    def __init__(self, energy: CompiledEnergy, n_occupied: int, size: int, inverse_bnn: np.ndarray) -> None:
        q, remainder = energy.arrays.quadrature, energy.remainder
        self.size = size
        n_points, n_modes = q.modes_qm.shape
        self.modes_qm = np.ascontiguousarray(q.modes_qm)
        self.functional = FixedPoints(remainder.functional.terms, size * n_points)
        rho, e, v_rho, v_sigma, self._sigma = (
            getattr(self.functional, name).reshape(size, n_points) for name in ("rho", "e", "v_rho", "v_sigma", "sigma")
        )
        self._left, self._weighted = np.empty((2, size * n_occupied, n_points))
        left, weighted, right = (
            array.reshape(size, n_occupied, n_points) for array in (self._left, self._weighted, np.empty_like(self._left))
        )
        self._density = left, inverse_bnn, right, rho
        self.uses_gradient = remainder.slope0 is not None
        if not self.uses_gradient:
            constant = remainder.rho0, remainder.e0, remainder.v_rho0, remainder.second["rr"]
            self._arguments = q.weights_q, e, v_rho, rho, *constant, left, weighted
            return
        self._slopes_vqm = np.ascontiguousarray(q.slopes_qvm.transpose(1, 0, 2)).reshape(-1, n_modes)
        self._orbital_slopes, self._along = np.empty((2, size * n_occupied, 3 * n_points))
        slopes, along = (a.reshape(size, n_occupied, 3, n_points) for a in (self._orbital_slopes, self._along))
        slope_bvq = np.empty((size, 3, n_points))
        self._density_slopes = slopes, right, slope_bvq
        first = np.array([remainder.rho0, remainder.e0, remainder.v_rho0, remainder.v_sigma0])
        second = np.array([remainder.second[name] for name in ("rr", "rs", "ss")])
        constant = first, second, np.ascontiguousarray(remainder.slope0)
        self._arguments = q.weights_q, e, v_rho, v_sigma, rho, slope_bvq, *constant, left, slopes, weighted, along

    def add(self, spanning: np.ndarray, energies_b: np.ndarray, rest: np.ndarray) -> None:
        """Add the energies and set the Hamiltonian times the orbitals, both as rows (B n, modes)."""
        shared_product(spanning, self.modes_qm.T, self.size, out=self._left)
        kernels.densities(*self._density)
        if self.uses_gradient:
            shared_product(spanning, self._slopes_vqm.T, self.size, out=self._orbital_slopes)
            kernels.density_slopes(*self._density_slopes, self._sigma)
        self.functional.evaluate()
        kernel = kernels.gga_rest if self.uses_gradient else kernels.lda_rest
        kernel(*self._arguments, energies_b)
        shared_product(self._weighted, self.modes_qm, self.size, out=rest)
        if self.uses_gradient:
            rest += shared_product(self._along, self._slopes_vqm, self.size)


def packed_triangle(matrix: np.ndarray) -> np.ndarray:
    """Return the lower triangle of a symmetric matrix, row by row, in single precision."""
    return matrix[np.tril_indices(len(matrix))].astype(np.float32)
