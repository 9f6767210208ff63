"""Where the minimum is and how the energy curves there, as polynomials of the geometry.

The minimum κ*(x) of the compiled energy is an analytic function of the internal coordinates.  It is fitted once, when
a model is made, to solutions at random geometries between the training geometries, and so is the inverse Hessian:

    κ*(x) ≈ Σ_m c_m y^m  (|m| <= D),    B^-1(x) ≈ Σ_m B_m y^m  (|m| <= D')

with y the leading principal coordinates of the sampled body-frame positions, as many as the molecule has internal
degrees of freedom, scaled to [-1, 1].  A step started from this fit depends on the geometry alone: nothing is carried
from step to step, so there is no history to save and no drift from it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations_with_replacement
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConvergenceError, GeometryError
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.inner import InverseHessians, packed_triangle
from mpiqmd.rom.compiled.products import shared_product

if TYPE_CHECKING:
    from mpiqmd.molecule.frame import BodyFrame
    from mpiqmd.rom.compiled.energy import PlacedEnergy
    from mpiqmd.rom.compiled.solver import CompiledSolver

LARGEST_FIT = 470
"""Terms of the polynomial of κ."""
HIGHEST_DEGREE = 12
LARGEST_CURVATURE = 300_000
"""Numbers that the polynomial of the inverse Hessian may hold: more would not stay in a core's cache."""
OVERSAMPLING = 3
"""Geometries per coefficient."""
TRIALS = 40
"""Geometries at which the fit is tried."""
LARGEST_RATE = 0.25
"""Share of the error that a step is taken to leave where it was not measured."""
REACH = 1.1
"""Samples reach this much farther from the mean than mixtures of training geometries do."""
CURVATURE_STEP = 1e-4
"""Displacement of κ in the differences that make the Hessian."""


class GeometryPolynomials:
    """Products of the leading principal coordinates of positions.  Replicated, not collective.

    Parameters
    ----------
    axes
        Directions of the coordinates in the space of flattened positions, shape (coordinates, 3 N), 1/bohr.
    offset
        Subtracted from the coordinates, shape (coordinates,).
    degree
        Highest degree of a product.
    """

    def __init__(self, axes: np.ndarray, offset: np.ndarray, degree: int) -> None:
        self.axes, self.offset, self.degree = np.ascontiguousarray(axes), offset, degree
        places = range(len(axes))
        terms = [list(c) for d in range(1, degree + 1) for c in combinations_with_replacement(places, d)]
        place = {tuple(term): index for index, term in enumerate([[], *terms])}
        self.parents = np.array([place[tuple(term[:-1])] for term in terms], int)
        self.factors = np.array([term[-1] for term in terms], int)

    @classmethod
    def spanning(cls, positions_sav: np.ndarray) -> GeometryPolynomials:
        """Return those of the coordinates along which body-frame positions (samples, N, 3), bohr, are spread."""
        flat = positions_sav.reshape(len(positions_sav), -1)
        mean = flat.mean(axis=0)
        _, spread, axes = np.linalg.svd(flat - mean, full_matrices=False)
        count = min(max(1, 3 * positions_sav.shape[1] - 6), int(np.sum(spread > 1e-6 * spread[0])))
        half = np.abs((flat - mean) @ axes[:count].T).max(axis=0)
        scaled = axes[:count] / half[:, None]
        return cls(scaled, scaled @ mean, highest_degree(count, LARGEST_FIT))

    def __len__(self) -> int:
        return len(self.parents) + 1

    def terms(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return all products of the coordinates of geometries (B, N, 3) up to the degree, shape (B, terms).

        The coordinates are the principal ones, [-1, 1] over the samples; products of lower degree come first.
        """
        return self.terms_and_low(positions_bav, 0)[0]

    def terms_and_low(self, positions_bav: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same, and the first ``count`` products in single precision."""
        flat = positions_bav.reshape(len(positions_bav), -1)
        return kernels.polynomial_terms(flat, self.axes, self.offset, self.parents, self.factors, count)


def highest_degree(variables: int, most: int) -> int:
    """Return the highest degree, 1 at least, at which a polynomial has no more than ``most`` terms."""
    return max(d for d in range(1, HIGHEST_DEGREE + 1) if d == 1 or comb(variables + d, d) <= most)


def sample_geometries(
    positions_sav: np.ndarray, frame: BodyFrame, count: int, seed: int, reach: float = REACH
) -> np.ndarray:
    """Return random mixtures of training geometries in the body frame, shape (samples, N, 3), bohr.

    ``reach`` scales their distance from the mean.  Mixtures that have no body frame are left out; a larger ``count``
    continues the same sequence.
    """
    rng, mean = np.random.default_rng(seed), positions_sav.mean(axis=0)
    samples = []
    for _ in range(count):
        weights = rng.dirichlet(np.full(3, 0.7))
        chosen = rng.integers(len(positions_sav), size=3)
        mixed = mean + reach * (np.tensordot(weights, positions_sav[chosen], axes=1) - mean)
        with suppress(GeometryError):
            samples.append(frame.align(mixed).body_positions_av)
    return np.array(samples)


class Predictor:
    """The fitted polynomials.  Replicated, not collective.

    Parameters
    ----------
    polynomials
        Their arguments.
    minimum_mk
        Coefficients of κ*, shape (terms, κ).
    curvature_mk
        Coefficients of the lower triangle of B^-1 on the first terms, shape (terms, κ (κ + 1) / 2); kept in single
        precision, which is plenty for a step and half the memory to read.

    remaining
        Share of the error of κ* that a step leaves, as measured.
    """

    def __init__(
        self,
        polynomials: GeometryPolynomials,
        minimum_mk: np.ndarray,
        curvature_mk: np.ndarray,
        remaining: float = LARGEST_RATE,
    ) -> None:
        self.polynomials, self.minimum_mk, self.remaining = polynomials, minimum_mk, remaining
        self.curvature_mk = np.ascontiguousarray(curvature_mk, np.float32)

    def predict(self, positions_bav: np.ndarray) -> tuple[np.ndarray, InverseHessians]:
        """Return κ* (B, κ) and B^-1 expected at body-frame geometries (B, N, 3), bohr."""
        terms_bm, low_bm = self.polynomials.terms_and_low(positions_bav, len(self.curvature_mk))
        minimum_bk = shared_product(terms_bm, self.minimum_mk, len(terms_bm))
        return minimum_bk, InverseHessians(low_bm, self.curvature_mk)


def fit_predictor(
    solver: CompiledSolver, positions_sav: np.ndarray, frame: BodyFrame, seed: int = 1
) -> Predictor | None:
    """Return the predictor of a solver, fitted between training geometries (samples, N, 3), bohr.

    Geometries outside the tables, or at which the solver fails, are left out; None if too few are left.
    """
    samples_sav = sample_geometries(positions_sav, frame, OVERSAMPLING * LARGEST_FIT, seed)
    polynomials = GeometryPolynomials.spanning(samples_sav)
    n_terms, n_kappa = len(polynomials), len(solver.chart)
    variables = len(polynomials.axes)
    degree = highest_degree(variables, LARGEST_CURVATURE // (n_kappa * (n_kappa + 1) // 2))
    n_curvature = comb(variables + degree, degree)
    terms, minima, curvatures = [], [], []
    for positions_av in samples_sav[: OVERSAMPLING * n_terms + 10]:
        placed = solver.energy.place(positions_av)
        if placed.excess > 0.0:
            continue
        try:
            kappa = solver.solve(placed).kappa
        except ConvergenceError:
            continue
        terms.append(polynomials.terms(positions_av[None])[0])
        minima.append(kappa)
        if len(curvatures) < OVERSAMPLING * n_curvature:
            curvatures.append(packed_triangle(inverse_hessian(solver, placed, kappa)))
    if len(minima) < 2 * n_terms:
        return None
    minimum_mk = np.linalg.lstsq(np.array(terms), np.array(minima), rcond=1e-12)[0]
    low = np.array(terms)[: len(curvatures), :n_curvature]
    predictor = Predictor(polynomials, minimum_mk, np.linalg.lstsq(low, np.array(curvatures), rcond=1e-8)[0])
    predictor.remaining = measure_rate(solver, predictor, sample_geometries(positions_sav, frame, TRIALS, seed + 1))
    return predictor


def measure_rate(solver: CompiledSolver, predictor: Predictor, positions_sav: np.ndarray) -> float:
    """Return the share of the predictor's errors that one step leaves, at nine geometries in ten."""
    rates = []
    for positions_av in positions_sav:
        placed = solver.energy.place(positions_av)
        start, inverse = predictor.predict(positions_av[None])
        try:
            minimum = solver.solve(placed, start[0], tolerance=1e-12).kappa
        except ConvergenceError:
            continue
        solver.inner.evaluate(placed.linear_p[None], start, inverse)
        left = np.abs(start + solver.inner.step_bk - minimum).max()
        rates.append(left / max(np.abs(start - minimum).max(), 1e-300))
    return float(np.quantile(rates, 0.9)) if rates else LARGEST_RATE


def inverse_hessian(solver: CompiledSolver, placed: PlacedEnergy, kappa: np.ndarray) -> np.ndarray:
    """Return ``(d²A/dκ²)^-1`` at a minimum by differences of the gradient."""
    inner, size, linear_bp = solver.inner, len(kappa), placed.linear_p[None]
    guess = InverseHessians.same(solver.inverse_hessian)
    inner.evaluate(linear_bp, kappa[None], guess)
    start, hessian = inner.gradient_bk[0].copy(), np.empty((size, size))
    for k in range(size):
        moved = kappa[None].copy()
        moved[0, k] += CURVATURE_STEP
        inner.evaluate(linear_bp, moved, guess)
        hessian[k] = inner.gradient_bk[0] - start
    return CURVATURE_STEP * np.linalg.inv(0.5 * (hessian + hessian.T))
