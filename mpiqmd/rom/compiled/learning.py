"""Fits the predictor of a solver: random geometries between the training geometries, solved with care.

Every sample costs a few evaluations, those of the inverse Hessian one more per element of κ: a second or two in all.
"""

from __future__ import annotations

from math import comb

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.rom.compiled.energy import PlacedEnergy
from mpiqmd.rom.compiled.inner import InverseHessians, packed_triangle
from mpiqmd.rom.compiled.predictor import LARGEST_RATE, Predictor
from mpiqmd.rom.compiled.solver import CompiledSolver
from mpiqmd.rom.learned.polynomials import LARGEST_FIT, GeometryPolynomials, highest_degree
from mpiqmd.sampling.mixtures import sample_geometries

LARGEST_CURVATURE = 300_000
"""Numbers that the polynomial of the inverse Hessian may hold: more would not stay in a core's cache."""
OVERSAMPLING = 3
"""Geometries per coefficient."""
TRIALS = 40
"""Geometries at which the fit is tried."""
CURVATURE_STEP = 1e-4
"""Displacement of κ in the differences that make the Hessian."""


def fit_predictor(solver: CompiledSolver, positions_sav: np.ndarray, frame: BodyFrame, seed: int = 1) -> Predictor | None:
    """Return the predictor of a solver, fitted between training geometries (samples, N, 3), bohr.

    Geometries outside the tables, or at which the solver fails, are left out; None if too few are left.
    """
    samples_sav = sample_geometries(positions_sav, frame, OVERSAMPLING * LARGEST_FIT, seed)
    polynomials = GeometryPolynomials.spanning(samples_sav, frame.n_coordinates)
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
