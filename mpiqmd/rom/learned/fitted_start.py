"""The start of a finished model: its own minima at many geometries, as a polynomial, and how it responds at the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lstsq, qr_multiply, solve_triangular

from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.data import LearnedArrays, StartArrays
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.polynomials import HIGHEST_DEGREE, GeometryPolynomials
from mpiqmd.rom.learned.solver import LearnedSolver

if TYPE_CHECKING:
    from mpi4py import MPI

MINIMA = 1e-9
"""What a last step of the minima may gain, Ha; it is taken."""
LEAST_CURVATURE = 0.1
"""Of the energy in a latent coordinate, in that without the response of the density: less is no curvature of a minimum."""
BATCH = 32
"""Minima that are looked for together."""
INDEPENDENT = 1e-9
"""What a term of a polynomial has beside all others, relative to the largest, if the samples tell it from them."""
MOST_TERMS = 6188
"""Of a polynomial: degree 9 in 6 coordinates, 6 in 9, 5 in 12."""
LEAST_DEGREE = 3
"""Of the polynomials that are tried first."""
SAMPLES_PER_TERM, MORE_SAMPLES = 2.2, 40
"""Geometries for each term of a polynomial, and beside them."""
HELD_OUT = 10
"""One of so many minima is not fitted: these say how good the fit is."""
NEAR = 0.3
"""Weights of geometries are 1/(r² + this), with r the distance from the middle of all in terms of their rms distance."""


@dataclass(frozen=True)
class _Minima:
    """Geometries (samples, N, 3), bohr, the model's minima there (samples, d), and how many samples were drawn for them."""

    positions_sav: np.ndarray
    latent_sd: np.ndarray
    drawn: int


@dataclass(frozen=True)
class StartFit:
    """Fits starts.

    Attributes
    ----------
    make_energy
        From arrays to what is minimised.
    centre_av
        The reference, bohr.
    draw
        Returns the first so many of a sequence of random geometries (at most count, N, 3), bohr.
    n_coordinates
        Internal coordinates of the molecule.
    terms
        Most terms of the polynomial.
    gap
        Energy of the start above the minimum that is low enough, Ha: the median of geometries.
    least
        Fewest geometries.
    comm, log
        The ranks that look for minima, and where to report.
    """

    make_energy: Callable[[LearnedArrays], LearnedEnergy]
    centre_av: np.ndarray
    draw: Callable[[int], np.ndarray]
    n_coordinates: int
    terms: int
    gap: float
    least: int
    comm: MPI.Comm
    log: Log

    def fitted(self, arrays: LearnedArrays) -> tuple[LearnedArrays, np.ndarray, np.ndarray]:
        """Return the model with the start fitted to its own minima, and where (samples, N, 3), bohr, and what those are.

        The polynomial is that of the lowest degree whose gap is low enough.  Collective.
        """
        inverse_dd, dipole_slopes_vd = decide(self.comm, _responses(self.make_energy(arrays), self.centre_av))
        start, dipole = replace(arrays.start, inverse_hessian_dd=inverse_dd), replace(arrays.dipole, slopes_vd=dipole_slopes_vd)
        arrays = replace(arrays, start=start, dipole=dipole)
        minima = _Minima(np.empty((0, *self.centre_av.shape)), np.empty((0, len(inverse_dd))), 0)
        for terms in self._sizes():
            minima = self._more(arrays, minima, max(self.least, int(SAMPLES_PER_TERM * terms) + MORE_SAMPLES))
            start, gap = on_rank_zero(self.comm, _fitted, minima, inverse_dd, self.n_coordinates, terms)
            arrays = replace(arrays, start=start)
            self.log(
                f"a polynomial of degree {start.degree} predicts minima to {gap:.1e} Ha, from {len(minima.latent_sd)} of them"
            )
            if gap <= self.gap:
                break
        return arrays, minima.positions_sav, minima.latent_sd

    def _sizes(self) -> list[int]:
        """Return how many terms the polynomials have that are tried, one after the other."""
        sizes = [comb(self.n_coordinates + degree, degree) for degree in range(LEAST_DEGREE, HIGHEST_DEGREE + 1)]
        return [size for size in sizes if size <= self.terms] or [self.terms]

    def _more(self, arrays: LearnedArrays, minima: _Minima, count: int) -> _Minima:
        """Return the minima at the first so many samples, those that are inside the tables; ranks share the work."""
        solver = LearnedSolver(self.make_energy(arrays), tolerance=MINIMA)
        samples_sav = self.draw(count)
        batches = range(minima.drawn, len(samples_sav), BATCH)
        countdown = Countdown(self.log, len(batches), f"{BATCH} minima for the start")
        found = {}
        for first in batches[self.comm.rank :: self.comm.size]:
            found[first] = _found(solver, samples_sav[first : first + BATCH])
            countdown.advance(count=min(self.comm.size, len(batches) - countdown.done))
        everyone = {first: each for part in self.comm.allgather(found) for first, each in part.items()}
        positions, latent = zip(*(everyone[first] for first in batches), strict=True) if batches else ((), ())
        return _Minima(
            np.concatenate([minima.positions_sav, *positions]), np.concatenate([minima.latent_sd, *latent]), len(samples_sav)
        )


def _found(solver: LearnedSolver, samples_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the geometries that are inside the tables and have minima, and these (at most B, d)."""
    placed = solver.energy.place_batch(samples_bav)
    minima = solver.solve_batch(placed)
    good = [b for b in range(len(minima.gaps_b)) if b not in minima.failures and placed.excess_b[b] <= 0.0]
    return placed.positions_bav[good], minima.latent_bd[good, : len(solver.energy.arrays.subspaces)]


def _fitted(minima: _Minima, inverse_dd: np.ndarray, n_coordinates: int, terms: int) -> tuple[StartArrays, float]:
    """Return the start of at most so many terms, and the median of how far above minima that it has not seen it is, Ha."""
    positions_sav, latent_sd = minima.positions_sav, minima.latent_sd
    polynomials = determined_polynomials(positions_sav, n_coordinates, 1.5, terms)
    terms_st, unseen = polynomials.terms(positions_sav), np.arange(len(latent_sd)) % HELD_OUT == HELD_OUT - 1
    square_s = np.sum((positions_sav - positions_sav.mean(axis=0)) ** 2, axis=(1, 2))
    weights_s = 1.0 / (square_s / square_s.mean() + NEAR)
    coefficients_td = fit(terms_st[~unseen], latent_sd[~unseen], weights_s[~unseen])
    off_sd = terms_st[unseen] @ coefficients_td - latent_sd[unseen]
    gaps_s = 0.5 * np.sum(off_sd * np.linalg.solve(inverse_dd, off_sd.T).T, axis=1)
    start = StartArrays(polynomials.axes, polynomials.offset, polynomials.degree, coefficients_td, inverse_dd)
    return start, float(np.median(gaps_s))


def fit(terms_st: np.ndarray, latent_sd: np.ndarray, weights_s: np.ndarray) -> np.ndarray:
    """Return the coefficients (t, d) that fit latent coordinates best, the smallest where samples do not determine them.

    Rows count as their weights, without unit, say; their unit is that of the coordinates.  Not collective.
    """
    seen_dt, triangle = qr_multiply(terms_st * weights_s[:, None], (latent_sd * weights_s[:, None]).T, overwrite_a=True)
    diagonal = np.abs(np.diag(triangle))
    if diagonal.min() > INDEPENDENT * diagonal.max():
        return solve_triangular(triangle, seen_dt.T)
    return lstsq(triangle, seen_dt.T, cond=INDEPENDENT, lapack_driver="gelsy")[0]


def determined_polynomials(
    positions_sav: np.ndarray, n_coordinates: int, oversampling: float, most: int = MOST_TERMS
) -> GeometryPolynomials:
    """Return polynomials of the highest degree that geometries (samples, N, 3), bohr, determine.  Not collective.

    There are so many geometries a term at least, and at most ``most`` terms, in at most ``n_coordinates`` coordinates.
    """
    terms = min(most, int(len(positions_sav) / oversampling))
    return GeometryPolynomials.spanning(positions_sav, n_coordinates, max(1, terms))


def _responses(energy: LearnedEnergy, positions_av: np.ndarray, displacement: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Return what changes with the latent coordinates at a geometry's predicted minimum.

    That is the inverse second derivative of the energy (d, d), and the derivative of ``∫ r ρ dr`` (3, d).
    """
    size, solver, placed = (
        len(energy.arrays.subspaces),
        LearnedSolver(energy, tolerance=1e-10),
        energy.place_batch(positions_av[None]),
    )
    latent_d = solver.solve_batch(placed).latent_bd[0]
    hessian_dd, dipole_slopes_vd = np.empty((size, size)), np.empty((3, size))
    for d in range(size):
        moved = np.stack([latent_d, latent_d])
        moved[0, d] += displacement
        moved[1, d] -= displacement
        after, before = (energy.evaluate(placed, each[None]) for each in moved)
        hessian_dd[d] = (after.slopes_bd[0, :size] - before.slopes_bd[0, :size]) / (2.0 * displacement)
        charges_f = (after.charges_bf[0] - before.charges_bf[0]) / (2.0 * displacement)
        functions_vf = energy.arrays.dipole.functions_vf
        dipole_slopes_vd[:, d] = functions_vf @ charges_f[: functions_vf.shape[1]]
    values, vectors = np.linalg.eigh(0.5 * (hessian_dd + hessian_dd.T))
    return (vectors / np.maximum(values, LEAST_CURVATURE)) @ vectors.T, dipole_slopes_vd
