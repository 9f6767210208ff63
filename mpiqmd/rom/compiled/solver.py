"""The lean inner loop: quasi-Newton minimisation of the compiled energy over occupied subspaces.

The orbital Hessian at the reference geometry,

    B_{vo,v'o'} = 4 (ε_v - ε_o) δ_vv' δ_oo' + 16 (vo|K|v'o'),

is inverted once; with it every iteration is one evaluation of the energy's gradient and a small matrix-vector product,
accelerated by Anderson's method.  Between MD steps κ is extrapolated by Kolafa's always-stable predictor,

    κ(t + 1) = Σ_j (-1)^(j+1) j C(2K, K - j) / C(2K - 2, K - 1) κ(t + 1 - j),   j = 1..K,

(J. Kolafa, J. Comput. Chem. 25, 335 (2004)), followed by full convergence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.kohnsham.occupations import fermi_occupations
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.energy import CompiledEnergy, PlacedEnergy
from mpiqmd.rom.compiled.inner import InnerLoop


@dataclass(frozen=True)
class Solution:
    """A minimum of the compiled energy: κ, orbitals U, W, P, energy (Ha), evaluations and the last step's size."""

    kappa: np.ndarray
    density_matrix_mm: np.ndarray
    energy: float
    evaluations: int
    step: float


class CompiledSolver:
    """Minimises the compiled energy at zero electronic temperature.  Replicated, not collective.

    Parameters
    ----------
    energy
        The compiled energy.
    reference_av
        Body-frame geometry about which the chart and the Hessian are built, bohr.
    density_matrix_mm
        A density matrix near the ground state there.
    n_occupied
        Doubly occupied orbitals.
    tolerance
        Largest element of the last step in κ.
    max_iterations
        Evaluations after which a ConvergenceError is raised.
    depth
        Depth of the Anderson acceleration.
    """

    def __init__(
        self,
        energy: CompiledEnergy,
        reference_av: np.ndarray,
        density_matrix_mm: np.ndarray,
        n_occupied: int,
        tolerance: float = 1e-8,
        max_iterations: int = 60,
        depth: int = 4,
    ) -> None:
        self.energy, self.n_occupied = energy, n_occupied
        self.tolerance, self.max_iterations, self.depth = tolerance, max_iterations, depth
        self.pairs = energy.arrays.pairs
        placed = energy.place(reference_av)
        for _ in range(3):
            self.chart, inverse_hessian = self._prepare(placed, density_matrix_mm)
            self.inner = InnerLoop(energy, self.chart, inverse_hessian)
            self._iterates, self._steps = np.empty((2, depth, len(self.chart)))
            density_matrix_mm = self.solve(placed, np.zeros(len(self.chart))).density_matrix_mm

    @property
    def origin(self) -> np.ndarray:
        """κ = 0, the reference."""
        return np.zeros(len(self.chart))

    def _prepare(self, placed: PlacedEnergy, density_matrix_mm: np.ndarray) -> tuple[GrassmannChart, np.ndarray]:
        """Return the chart about the occupied orbitals of P and the inverse orbital Hessian there."""
        _, hamiltonian = self.energy.evaluate(placed, density_matrix_mm)
        eigenvalues, orbitals, sectors = self._diagonalise(hamiltonian, density_matrix_mm)
        n_modes = len(eigenvalues)
        filled, _, _ = fermi_occupations(eigenvalues, 2.0 * min(self.n_occupied, n_modes), 0.0)
        chart = GrassmannChart(orbitals, filled > 0.5, sectors)
        gaps = (eigenvalues[filled < 0.5][:, None] - eigenvalues[filled > 0.5])[chart.rows, chart.columns]
        products = np.array([self._product(chart, k) for k in range(len(chart))])
        hessian = 4.0 * np.diag(gaps)
        for part, matrix in zip(self.pairs.classes, self.energy.arrays.interaction, strict=True):
            hessian += 16.0 * products[:, part] @ matrix @ products[:, part].T
        return chart, np.linalg.inv(hessian)

    def _diagonalise(self, hamiltonian: np.ndarray, density_matrix: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return eigenvalues, orbitals and sectors, diagonalising inside sectors; orbitals of P first if it is given."""
        values, vectors, labels = [], np.zeros_like(hamiltonian), []
        first = 0
        for sector in np.unique(self.pairs.sectors_m):
            members = np.nonzero(self.pairs.sectors_m == sector)[0]
            block_values, block_vectors = np.linalg.eigh(hamiltonian[np.ix_(members, members)])
            vectors[members, first : first + len(members)] = block_vectors
            values.append(block_values)
            labels += [sector] * len(members)
            first += len(members)
        return np.concatenate(values), vectors, np.array(labels)

    def _product(self, chart: GrassmannChart, k: int) -> np.ndarray:
        """Return the pair coefficients of the product of an empty and an occupied reference orbital."""
        outer = np.outer(chart.empty[:, chart.rows[k]], chart.occupied[:, chart.columns[k]])
        return 0.25 * self.pairs.coefficients(outer + outer.T)

    def solve(self, placed: PlacedEnergy, kappa: np.ndarray) -> Solution:
        """Return the minimum at a placed geometry, starting from κ.  Raises ConvergenceError."""
        inner, count = self.inner, 0
        for evaluation in range(1, self.max_iterations + 1):
            energy, size = inner.evaluate(placed, kappa)
            if size < self.tolerance:
                return Solution(kappa, inner.w @ inner.u.T, energy, evaluation, size)
            if not np.isfinite(size):
                break
            if count == self.depth:
                self._iterates[:-1], self._steps[:-1] = self._iterates[1:], self._steps[1:]
                count -= 1
            self._iterates[count], self._steps[count] = kappa, inner.step
            count += 1
            kappa = kernels.anderson(self._iterates, self._steps, count)
        raise ConvergenceError(
            f"the reduced ground state did not converge: last step {size:.1e} after {self.max_iterations} evaluations, "
            f"tolerance {self.tolerance:.1e}. The geometry may be far outside the model's box: see `mpiqmd info` of the "
            "model, or set rom.on_large_error = 'hifi'."
        )


class KappaExtrapolation:
    """Kolafa's predictor over the κ of previous steps.

    Parameters
    ----------
    order
        k of ASPC(k); k + 2 previous steps are used.
    """

    def __init__(self, order: int = 2) -> None:
        self.length = order + 2
        self._history: list[np.ndarray] = []

    def predict(self) -> np.ndarray | None:
        """Return the predicted κ, None without a history."""
        count = len(self._history)
        if count == 0:
            return None
        if count == 1:
            return self._history[0]
        scale = comb(2 * count - 2, count - 1)
        weights = [(-1) ** (j + 1) * j * comb(2 * count, count - j) / scale for j in range(1, count + 1)]
        return np.array(weights) @ np.array(self._history)

    def add(self, kappa: np.ndarray) -> None:
        """Remember a converged κ, the latest first."""
        self._history.insert(0, kappa)
        del self._history[self.length :]

    def state(self) -> np.ndarray:
        """Return the history as one array, shape (steps, κ)."""
        return np.array(self._history)

    def restore(self, history: np.ndarray) -> None:
        """Take back what :meth:`state` returned."""
        self._history = [np.array(row) for row in history]
