"""The start of a finished model: its own minima at many geometries, as a polynomial, and how it responds at the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lstsq, solve_triangular

from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.data import LearnedArrays, StartArrays
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.polynomials import GeometryPolynomials
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
MOST_TERMS = 2002
"""Of a polynomial: degree 7 in 6 coordinates, 5 in 9, 4 in 12."""


@dataclass(frozen=True)
class StartFit:
    """Fits starts.

    Attributes
    ----------
    make_energy
        From arrays to what is minimised.
    centre_av, samples_sav
        The reference and random geometries, bohr.
    n_coordinates
        Internal coordinates of the molecule.
    terms
        Most terms of the polynomial.
    comm, log
        The ranks that decide together, and where to report.
    """

    make_energy: Callable[[LearnedArrays], LearnedEnergy]
    centre_av: np.ndarray
    samples_sav: np.ndarray
    n_coordinates: int
    terms: int
    comm: MPI.Comm
    log: Log

    def fitted(self, arrays: LearnedArrays) -> tuple[LearnedArrays, np.ndarray, np.ndarray]:
        """Return the model with the start fitted to its own minima, and where (samples, N, 3), bohr, and what those are.

        Collective.
        """
        inverse_dd, dipole_slopes_vd = decide(self.comm, _responses(self.make_energy(arrays), self.centre_av))
        start, dipole = replace(arrays.start, inverse_hessian_dd=inverse_dd), replace(arrays.dipole, slopes_vd=dipole_slopes_vd)
        arrays = replace(arrays, start=start, dipole=dipole)
        positions_sav, latent_sd = self._minima(arrays)
        polynomials = determined_polynomials(positions_sav, self.n_coordinates, 1.5, self.terms)
        coefficients_td = _fit(polynomials.terms(positions_sav), latent_sd)
        axes, offset, degree = polynomials.axes, polynomials.offset, polynomials.degree
        start = StartArrays(axes, offset, degree, coefficients_td, arrays.start.inverse_hessian_dd)
        return decide(self.comm, (replace(arrays, start=start), positions_sav, latent_sd))

    def _minima(self, arrays: LearnedArrays) -> tuple[np.ndarray, np.ndarray]:
        """Return random geometries inside the tables (samples, N, 3), bohr, and the model's minima there (samples, d)."""
        solver = LearnedSolver(self.make_energy(arrays), tolerance=MINIMA)
        positions, latent = [], []
        countdown = Countdown(self.log, len(self.samples_sav), "minimum for the start")
        for first in range(0, len(self.samples_sav), BATCH):
            placed = solver.energy.place_batch(self.samples_sav[first : first + BATCH])
            minima = solver.solve_batch(placed)
            good = [b for b in range(len(minima.gaps_b)) if b not in minima.failures and placed.excess_b[b] <= 0.0]
            positions.append(placed.positions_bav[good])
            latent.append(minima.latent_bd[good, : len(arrays.subspaces)])
            countdown.advance(count=len(minima.gaps_b))
        return np.concatenate(positions), np.concatenate(latent)


def _fit(terms_st: np.ndarray, latent_sd: np.ndarray) -> np.ndarray:
    """Return the coefficients (t, d) that fit latent coordinates best, the smallest where samples do not determine them."""
    orthonormal, triangle = np.linalg.qr(terms_st)
    diagonal, seen_td = np.abs(np.diag(triangle)), orthonormal.T @ latent_sd
    if diagonal.min() > INDEPENDENT * diagonal.max():
        return solve_triangular(triangle, seen_td)
    return lstsq(triangle, seen_td, cond=INDEPENDENT, lapack_driver="gelsy")[0]


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
