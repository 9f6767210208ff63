"""The start of a finished model: its own minima at many geometries, as a polynomial, and how it responds at the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import qr_multiply, solve_triangular

from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.coordinates import AnyCoordinates, PrincipalCoordinates, highest
from mpiqmd.rom.learned.data import LearnedArrays, StartArrays
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.polynomials import GeometryPolynomials
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.species import Species

if TYPE_CHECKING:
    from mpi4py import MPI

MINIMA = 1e-9
"""What a last step of the minima may gain, Ha; it is taken."""
LEAST_CURVATURE = 0.1
"""Of the energy in a latent coordinate, in that without the response of the density: less is no curvature of a minimum."""
BATCH = 32
"""Minima that are looked for together."""
INDEPENDENT = 1e-7
"""What a term of a polynomial has beside all others, relative to the largest, if the samples tell it from them."""
MOST_TERMS = 6188
"""Of a polynomial, of one symmetry species: all up to degree 9 in 6 coordinates, 5 in 12."""
LEAST_DEGREE = 3
"""Degree, or order, of the polynomials that are tried first."""
SAMPLES_PER_TERM, MORE_SAMPLES = 2.2, 40
"""Geometries for each term of a polynomial, and beside them."""
OVERSAMPLING = 1.5
"""Geometries, none an image of another, for each term of a species, at least."""
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
    coordinates
        Those of the molecule, of which polynomials are made.
    labels_d
        Symmetry species of the latent coordinates.
    terms
        Most terms of the polynomial, of one species.
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
    coordinates: AnyCoordinates
    labels_d: np.ndarray
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
        inverse_dd = np.where(self.labels_d[:, None] == self.labels_d, inverse_dd, 0.0)
        start, dipole = replace(arrays.start, inverse_hessian_dd=inverse_dd), replace(arrays.dipole, slopes_vd=dipole_slopes_vd)
        arrays = replace(arrays, start=start, dipole=dipole)
        minima = _Minima(np.empty((0, *self.centre_av.shape)), np.empty((0, len(inverse_dd))), 0)
        for order in self._tried():
            polynomials = self.coordinates.polynomials(order)
            minima = self._more(arrays, minima, max(self.least, int(SAMPLES_PER_TERM * polynomials.largest) + MORE_SAMPLES))
            start, gap = on_rank_zero(self.comm, self._fitted, minima, inverse_dd, order)
            arrays = replace(arrays, start=start)
            count = len(start.members_tg)
            self.log(f"a polynomial of {count} terms predicts minima to {gap:.1e} Ha, from {len(minima.latent_sd)} of them")
            if gap <= self.gap:
                break
        return arrays, minima.positions_sav, minima.latent_sd

    def _tried(self) -> Iterator[int]:
        """Yield the degrees, or orders, that are tried one after the other."""
        most = highest(self.coordinates, lambda polynomials: polynomials.largest <= self.terms)
        yield from range(min(LEAST_DEGREE, most), most + 1)

    def _fitted(self, minima: _Minima, inverse_dd: np.ndarray, order: int) -> tuple[StartArrays, float]:
        """Return the start of at most this order, and the median of how far above minima that it has not seen it is, Ha."""
        positions_sav, latent_sd = minima.positions_sav, minima.latent_sd
        most = len(positions_sav) / OVERSAMPLING
        order = highest(self.coordinates, lambda polynomials: polynomials.largest <= most, order)
        polynomials = self.coordinates.polynomials(order)
        unseen = np.arange(len(latent_sd)) % HELD_OUT == HELD_OUT - 1
        square_s = np.sum((positions_sav - positions_sav.mean(axis=0)) ** 2, axis=(1, 2))
        weights_s = 1.0 / (square_s / square_s.mean() + NEAR)
        coefficients_td = fit(polynomials, positions_sav[~unseen], latent_sd[~unseen], self.labels_d, weights_s[~unseen])
        off_sd = polynomials.terms(positions_sav[unseen]) @ coefficients_td - latent_sd[unseen]
        gaps_s = 0.5 * np.sum(off_sd * np.linalg.solve(inverse_dd, off_sd.T).T, axis=1)
        used = np.flatnonzero(coefficients_td.any(axis=1))
        return polynomials.chosen(used).start(coefficients_td[used], inverse_dd), float(np.median(gaps_s))

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


def fit(
    polynomials: GeometryPolynomials,
    positions_sav: np.ndarray,
    values_sd: np.ndarray,
    labels_d: np.ndarray,
    weights_s: np.ndarray | None = None,
) -> np.ndarray:
    """Return the coefficients (t, d) that fit values best, zero where a term and a value are of different symmetry species.

    Rows count as their weights, without unit; coefficients have the unit of the values.  Not collective.
    """
    terms_st, weights_s = polynomials.terms(positions_sav), np.ones(len(values_sd)) if weights_s is None else weights_s
    coefficients_td = np.zeros((len(polynomials), len(labels_d)))
    for label in np.unique(labels_d):
        terms, values = np.flatnonzero(polynomials.labels_t == label), np.flatnonzero(labels_d == label)
        if len(terms):
            coefficients_td[np.ix_(terms, values)] = fit_one(terms_st[:, terms], values_sd[:, values], weights_s)
    return coefficients_td


def fit_one(terms_st: np.ndarray, values_sd: np.ndarray, weights_s: np.ndarray) -> np.ndarray:
    """Return the coefficients (t, d) that fit values best, zero for terms that samples do not tell from others.

    Rows count as their weights, without unit; coefficients have the unit of the values.  Not collective.
    """
    # laid out as LAPACK has it: no more copies of the largest matrix
    weighted_ts = np.multiply(terms_st.T, weights_s, order="C")
    seen_dt, triangle = qr_multiply(weighted_ts.T, (values_sd * weights_s[:, None]).T, overwrite_a=True)
    diagonal = np.abs(np.diag(triangle))
    if diagonal.min() > INDEPENDENT * diagonal.max():
        return solve_triangular(triangle, seen_dt.T)
    # the frame makes terms of the atoms' coordinates depend on each other
    rotated_dt, independent, order = qr_multiply(triangle, seen_dt, pivoting=True, overwrite_a=True)
    diagonal = np.abs(np.diag(independent))
    rank = int(np.sum(diagonal > INDEPENDENT * diagonal[0]))
    coefficients_td = np.zeros((terms_st.shape[1], values_sd.shape[1]))
    coefficients_td[order[:rank]] = solve_triangular(independent[:rank, :rank], rotated_dt[:, :rank].T)
    return coefficients_td


def determined_polynomials(
    positions_sav: np.ndarray, n_coordinates: int, oversampling: float, species: Species
) -> GeometryPolynomials:
    """Return polynomials of the highest degree that geometries (samples, N, 3), bohr, determine.  Not collective.

    There are so many geometries a term at least, and at most ``n_coordinates`` coordinates; images count as geometries, so all
    terms count, whatever their species.
    """
    coordinates = PrincipalCoordinates.spanning(positions_sav, n_coordinates, species)
    most = len(positions_sav)
    return coordinates.polynomials(highest(coordinates, lambda polynomials: oversampling * len(polynomials) <= most))


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
