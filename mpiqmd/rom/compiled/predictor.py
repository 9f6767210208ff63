"""Where the minimum is and how the energy curves there, as polynomials of the geometry.

The minimum κ*(x) of the compiled energy is an analytic function of the few coordinates that move.  It is fitted once, when
a model is loaded, to solutions at random geometries between the training geometries, and so is, to first order, the
inverse Hessian:

    κ*(x) ≈ Σ_m c_m x^m  (|m| <= D),    B^-1(x) ≈ B_0 + Σ_i B_i x_i,    x in [-1, 1] on the tabulated boxes.

A step started from this fit depends on the geometry alone: nothing is carried from step to step, so there is no history
to save and no drift from it.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox

if TYPE_CHECKING:
    from mpiqmd.rom.compiled.energy import PlacedEnergy
    from mpiqmd.rom.compiled.solver import CompiledSolver

LARGEST_FIT = 220
"""Terms of the polynomial of κ."""
HIGHEST_DEGREE = 6
REACH = 1.1
"""Samples reach this much farther from the mean than mixtures of training geometries do."""
CURVATURE_SAMPLES = 4
"""Geometries per coefficient of the fit of the inverse Hessian."""
CURVATURE_STEP = 1e-4
"""Displacement of κ in the differences that make the Hessian."""


class GeometryPolynomials:
    """The polynomials' arguments: products of scaled coordinates.  Replicated, not collective.

    Parameters
    ----------
    boxes
        Box of every atom; coordinates that do not move are left out.
    """

    def __init__(self, boxes: list[ChebyshevBox]) -> None:
        lower, upper = (np.array([getattr(box, name) for box in boxes]) for name in ("lower_v", "upper_v"))
        self.flat = np.flatnonzero((upper > lower).ravel())
        self.centre = (0.5 * (lower + upper)).ravel()[self.flat]
        self.inverse_half = 1.0 / (0.5 * (upper - lower)).ravel()[self.flat]
        n = len(self.flat)
        self.degree = max(d for d in range(HIGHEST_DEGREE + 1) if d <= 1 or comb(n + d, d) <= LARGEST_FIT)
        terms = [list(c) for d in range(1, self.degree + 1) for c in combinations_with_replacement(range(n), d)]
        place = {(): 0}
        for index, term in enumerate(terms, start=1):
            place[tuple(term)] = index
        self.parents = np.array([place[tuple(term[:-1])] for term in terms], int)
        self.factors = np.array([term[-1] for term in terms], int)

    def scaled(self, positions_av: np.ndarray) -> np.ndarray:
        """Return the moving coordinates on [-1, 1]."""
        return (positions_av.ravel()[self.flat] - self.centre) * self.inverse_half

    def terms(self, positions_av: np.ndarray) -> np.ndarray:
        """Return all products of the scaled coordinates up to the degree, the constant and the linear ones first."""
        return kernels.polynomial_terms(self.scaled(positions_av), self.parents, self.factors)


def sample_geometries(positions_sav: np.ndarray, boxes: list[ChebyshevBox], count: int, seed: int) -> np.ndarray:
    """Return random mixtures of training geometries, reaching a little beyond them but inside the boxes."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(positions_sav), size=(count, 3))
    weights = rng.dirichlet(np.full(3, 0.7), size=count)
    mean = positions_sav.mean(axis=0)
    mixed = mean + REACH * (np.einsum("sk,skav->sav", weights, positions_sav[chosen]) - mean)
    lower, upper = (np.array([getattr(box, name) for box in boxes]) for name in ("lower_v", "upper_v"))
    return np.clip(mixed, lower, upper)


class Predictor:
    """The fitted polynomials.  Replicated, not collective.

    Parameters
    ----------
    polynomials
        Their arguments.
    minimum_mk
        Coefficients of κ*, shape (terms, κ).
    curvature_mk
        Coefficients of B^-1 on 1 and the scaled coordinates, shape (1 + coordinates, κ * κ); kept in single precision,
        which is plenty for a step and half the memory to read.
    """

    def __init__(self, polynomials: GeometryPolynomials, minimum_mk: np.ndarray, curvature_mk: np.ndarray) -> None:
        self.polynomials, self.minimum_mk = polynomials, minimum_mk
        self.n_linear, self._size = len(curvature_mk), minimum_mk.shape[1]
        self._curvature = np.ascontiguousarray(curvature_mk, np.float32)

    def predict(self, positions_av: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return κ* and B^-1 expected at body-frame positions (bohr)."""
        terms = self.polynomials.terms(positions_av)
        curvature = terms[: self.n_linear].astype(np.float32) @ self._curvature
        return terms @ self.minimum_mk, curvature.reshape(self._size, self._size)


def fit_predictor(solver: CompiledSolver, positions_sav: np.ndarray, seed: int = 1) -> Predictor | None:
    """Return the predictor of a solver, fitted between training geometries (samples, N, 3), bohr.

    Geometries at which the solver fails are left out; None if too few are left.
    """
    boxes = solver.energy.arrays.boxes
    polynomials = GeometryPolynomials(boxes)
    n_terms, n_linear = len(polynomials.parents) + 1, len(polynomials.flat) + 1
    terms, minima, curvatures = [], [], []
    for positions_av in sample_geometries(positions_sav, boxes, 3 * n_terms + 10, seed):
        placed = solver.energy.place(positions_av)
        try:
            kappa = solver.solve(placed).kappa
        except ConvergenceError:
            continue
        terms.append(polynomials.terms(positions_av))
        minima.append(kappa)
        if len(curvatures) < CURVATURE_SAMPLES * n_linear:
            curvatures.append(inverse_hessian(solver, placed, kappa).ravel())
    if len(minima) < 2 * n_terms:
        return None
    minimum_mk = np.linalg.lstsq(np.array(terms), np.array(minima), rcond=1e-12)[0]
    linear = np.array(terms)[: len(curvatures), :n_linear]
    curvature = np.linalg.lstsq(linear, np.array(curvatures), rcond=1e-8)[0]
    return Predictor(polynomials, minimum_mk, curvature)


def inverse_hessian(solver: CompiledSolver, placed: PlacedEnergy, kappa: np.ndarray) -> np.ndarray:
    """Return ``(d²A/dκ²)^-1`` at a minimum by differences of the gradient."""
    inner, size = solver.inner, len(kappa)
    inner.evaluate(placed, kappa, solver.inverse_hessian)
    start, hessian = inner.gradient.copy(), np.empty((size, size))
    for k in range(size):
        moved = kappa.copy()
        moved[k] += CURVATURE_STEP
        inner.evaluate(placed, moved, solver.inverse_hessian)
        hessian[k] = inner.gradient - start
    return CURVATURE_STEP * np.linalg.inv(0.5 * (hessian + hessian.T))
