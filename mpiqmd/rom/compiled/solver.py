"""The lean inner loop: quasi-Newton minimisation of the compiled energy over occupied subspaces.

The minimum and the inverse Hessian are known beforehand as polynomials of the geometry (``predictor``), so an iteration
is one evaluation of energy and gradient and one product with a small matrix, accelerated by Anderson's method:

    κ <- κ - B^-1(x) dA/dκ

A step s that is small enough is taken without evaluating the energy again: A + ½ s·dA/dκ is exact to third order in s.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.kohnsham.occupations import fermi_occupations
from mpiqmd.rom.compiled import orbital_kernels as kernels
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.data import SolverArrays
from mpiqmd.rom.compiled.energy import CompiledEnergy, PlacedEnergy
from mpiqmd.rom.compiled.inner import InnerLoop, InverseHessians, packed_triangle
from mpiqmd.rom.compiled.minima import Minima, Solution
from mpiqmd.rom.compiled.predictor import Predictor
from mpiqmd.rom.learned.polynomials import GeometryPolynomials

REFERENCE_RATE = 0.25
"""What is at least left of the error after a step with the inverse Hessian of the reference."""


class CompiledSolver:
    """Minimises the compiled energy at zero electronic temperature.  Replicated, not collective.

    Parameters
    ----------
    energy
        The compiled energy.
    reference_av
        Body-frame geometry about which the chart is built, bohr.
    density_matrix_mm
        A density matrix near the ground state there.
    n_occupied
        Doubly occupied orbitals.
    tolerance
        Largest estimated error of an element of κ; the error of the forces is of its order, that of the energy of its
        square.
    max_iterations
        Evaluations after which a ConvergenceError is raised.
    depth
        Depth of the Anderson acceleration.
    stored
        Where to start from, found by an earlier solver of the same arrays; geometry and density matrix are then not used.

    Attributes
    ----------
    predictor
        Where iterations start, from ``learning.fit_predictor``; None starts them at the reference.
    """

    def __init__(
        self,
        energy: CompiledEnergy,
        reference_av: np.ndarray | None,
        density_matrix_mm: np.ndarray | None,
        n_occupied: int,
        tolerance: float = 1e-9,
        max_iterations: int = 60,
        depth: int = 4,
        stored: SolverArrays | None = None,
    ) -> None:
        self.energy, self.n_occupied = energy, n_occupied
        self.tolerance, self.max_iterations, self.depth = tolerance, max_iterations, depth
        self.pairs = energy.arrays.pairs
        self.predictor: Predictor | None = None
        self._loops: dict[int, InnerLoop] = {}
        if stored is None:
            self._find_reference(reference_av, density_matrix_mm)
        else:
            self._take(stored)

    def _find_reference(self, reference_av: np.ndarray, density_matrix_mm: np.ndarray) -> None:
        """Set the chart about the minimum at a geometry, starting from a density matrix near it."""
        placed = self.energy.place(reference_av)
        for _ in range(3):
            self.inverse_hessian = self._prepare(placed, density_matrix_mm)
            density_matrix_mm = self.solve(placed).density_matrix_mm

    def _set_chart(self, chart: GrassmannChart) -> None:
        self.chart = chart
        self._loops.clear()
        self._iterates, self._steps = np.empty((2, self.depth, len(chart)))

    def _take(self, stored: SolverArrays) -> None:
        """Start from what :meth:`stored` returned."""
        self._set_chart(GrassmannChart.between(stored.occupied_mn, stored.empty_mn, stored.sectors_n))
        self.inverse_hessian = stored.inverse_hessian
        if len(stored.minimum_mk):
            polynomials = GeometryPolynomials(stored.axes_dx, stored.offset_d, stored.degree)
            self.predictor = Predictor(polynomials, stored.minimum_mk, stored.curvature_mk, stored.remaining)

    def stored(self) -> SolverArrays:
        """Return what an identical solver can be made from without finding out."""
        chart, predictor = self.chart, self.predictor
        known = chart.occupied, chart.empty, chart.sectors_n, self.inverse_hessian
        if predictor is None:
            nothing = np.zeros((0, len(chart)))
            return SolverArrays(*known, nothing, np.zeros(0), 0, nothing, nothing.astype(np.float32), REFERENCE_RATE)
        polynomials = predictor.polynomials
        coordinates = polynomials.axes, polynomials.offset, polynomials.degree
        return SolverArrays(*known, *coordinates, predictor.minimum_mk, predictor.curvature_mk, predictor.remaining)

    def _prepare(self, placed: PlacedEnergy, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Set the chart about the occupied orbitals of P; return there, but for the remainder, the packed inverse Hessian of

        B_{vo,v'o'} = 4 (ε_v - ε_o) δ_vv' δ_oo' + 16 (vo|K|v'o').
        """
        _, hamiltonian = self.energy.evaluate(placed, density_matrix_mm)
        eigenvalues, orbitals, sectors = self._diagonalise(hamiltonian)
        n_modes = len(eigenvalues)
        filled, _, _ = fermi_occupations(eigenvalues, 2.0 * min(self.n_occupied, n_modes), 0.0)
        chart = GrassmannChart(orbitals, filled > 0.5, sectors)
        gaps = (eigenvalues[filled < 0.5][:, None] - eigenvalues[filled > 0.5])[chart.rows, chart.columns]
        products = np.array([self._product(chart, k) for k in range(len(chart))])
        hessian = 4.0 * np.diag(gaps)
        hessian += 16.0 * self.energy.arrays.interaction.between(products)
        self._set_chart(chart)
        return packed_triangle(np.linalg.inv(hessian))

    def _diagonalise(self, hamiltonian: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return eigenvalues, orbitals and sectors, diagonalising inside sectors; largest elements are positive."""
        values, vectors, labels = [], np.zeros_like(hamiltonian), []
        first = 0
        for sector in np.unique(self.pairs.sectors_m):
            members = np.nonzero(self.pairs.sectors_m == sector)[0]
            block_values, block_vectors = np.linalg.eigh(hamiltonian[np.ix_(members, members)])
            largest = block_vectors[np.abs(block_vectors).argmax(axis=0), np.arange(len(members))]
            vectors[members, first : first + len(members)] = block_vectors * np.sign(largest)
            values.append(block_values)
            labels += [sector] * len(members)
            first += len(members)
        return np.concatenate(values), vectors, np.array(labels)

    def _product(self, chart: GrassmannChart, k: int) -> np.ndarray:
        """Return the pair coefficients of the product of an empty and an occupied reference orbital."""
        outer = np.outer(chart.empty[:, chart.rows[k]], chart.occupied[:, chart.columns[k]])
        return 0.25 * self.pairs.coefficients(outer + outer.T)

    @property
    def inner(self) -> InnerLoop:
        """The inner loop for one geometry."""
        return self._loop(1)

    def _loop(self, size: int) -> InnerLoop:
        """Return the inner loop for so many geometries, made when it is first needed."""
        if size not in self._loops:
            self._loops[size] = InnerLoop(self.energy, self.chart, size)
        return self._loops[size]

    def solve_batch(self, placed: PlacedEnergy, count: int | None = None) -> Minima:
        """Return the minima at a batch of placed geometries; at the first ``count``, the others only fill it up.

        All take the step from the predicted minimum together; those it leaves too far away go on by themselves.
        """
        kappa_bk, inverse, rate = self._start(placed.positions_av)
        inner = self._loop(len(kappa_bk))
        energies_b, sizes_b, slopes_b = inner.evaluate(placed.linear_p, kappa_bk, inverse)
        energies_b, errors_b = energies_b.copy(), np.empty(len(kappa_bk))
        step = sizes_b, slopes_b, inner.step_bk, rate, self.tolerance
        accepted = kernels.accept(placed.base, *step, energies_b, kappa_bk, errors_b)
        inner.set_density(kappa_bk)
        densities = inner.u_bmn.copy(), inner.w_bmn.copy(), inner.d_bp.copy()
        minima = Minima(kappa_bk, *densities, energies_b, np.ones(len(kappa_bk), int), errors_b, {})
        if accepted < len(kappa_bk):
            # written so that NaN is not accepted
            sizes_b = sizes_b.copy()
            for b in np.flatnonzero(~(errors_b[:count] < self.tolerance)).tolist():
                self._go_on(placed, minima, b, sizes_b[b])
        return minima

    def _go_on(self, placed: PlacedEnergy, minima: Minima, b: int, size: float) -> None:
        """Put the minimum of one geometry of a batch, whose first step had the largest element ``size``, or why not."""
        try:
            minima.put(b, self.solve(placed.member(b), minima.kappa_bk[b].copy(), first=2, previous=size))
        except ConvergenceError as error:
            minima.failures[b] = error

    def _start(self, positions_bav: np.ndarray) -> tuple[np.ndarray, InverseHessians, float]:
        """Return κ to start from (B, κ), the inverse Hessians, and the share of an error that a step leaves."""
        if self.predictor is None:
            size = len(positions_bav)
            return np.zeros((size, len(self.chart))), InverseHessians.same(self.inverse_hessian, size), REFERENCE_RATE
        return *self.predictor.predict(positions_bav), min(1.0, self.predictor.remaining)

    def solve(
        self,
        placed: PlacedEnergy,
        kappa: np.ndarray | None = None,
        tolerance: float | None = None,
        first: int = 1,
        previous: float = np.inf,
    ) -> Solution:
        """Return the minimum at a placed geometry, from κ or from the predicted minimum.

        ``first`` and ``previous`` continue an iteration: the number of the next evaluation, and the largest element of the
        latest step.  Raises ConvergenceError.
        """
        tolerance = self.tolerance if tolerance is None else tolerance
        start_bk, inverse_hessian, floor = self._start(placed.positions_av[None])
        kappa = start_bk[0] if kappa is None else kappa
        inner, linear_bp, count = self.inner, placed.linear_p[None], 0
        size = previous
        for evaluation in range(first, self.max_iterations + 1):
            energy, size, slope = (x.item() for x in inner.evaluate(linear_bp, kappa[None], inverse_hessian))
            step = inner.step_bk[0]
            rate = min(1.0, max(size / previous, floor))
            if size * rate < tolerance:
                return self._finish(kappa + step, placed.base + energy + 0.5 * slope, evaluation, size * rate)
            if not np.isfinite(size):
                break
            previous = size
            if count == self.depth:
                self._iterates[:-1], self._steps[:-1] = self._iterates[1:], self._steps[1:]
                count -= 1
            self._iterates[count], self._steps[count] = kappa, step
            count += 1
            kappa = kernels.anderson(self._iterates, self._steps, count)
        raise ConvergenceError(
            f"the reduced ground state did not converge: last step {size:.1e} after {self.max_iterations} evaluations, "
            f"tolerance {tolerance:.1e}. The geometry may be far outside the model's box: see `mpiqmd info` of the "
            "model, or let rom.on_large_error = 'warn' solve it on the grid, or 'hifi' in full."
        )

    def _finish(self, kappa: np.ndarray, energy: float, evaluations: int, error: float) -> Solution:
        inner = self.inner
        inner.set_density(kappa[None])
        orbitals_mn, dual_mn, coefficients_p = inner.u_bmn[0].copy(), inner.w_bmn[0].copy(), inner.d_bp[0].copy()
        return Solution(kappa, orbitals_mn, dual_mn, coefficients_p, float(energy), evaluations, error)
