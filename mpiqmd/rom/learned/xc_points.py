"""Points and weights for the remainder of the xc energy, by empirical quadrature over latent coordinates.

Non-negative weights are sought with

    Σ_q w_q R(ρ̄_q + Σ_f c_f b_f,q) = ∫ R(ρ) dr

at sampled latent coordinates z, and the same for the change of R to a random z' nearby, by non-negative least squares on a few
thousand candidates (``nonnegative_weights``).  The weights multiply an energy, so slopes are exact derivatives; without the
changes those off the paths of minima would be wrong, minima in the wrong place, and forces with them.  The integrals have the
density of the orbitals, the points what the charges tell of it; the weights make up for the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import drawn_points, values_at
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.learned.data import LearnedPoints, XcPoints
from mpiqmd.rom.learned.densities import ChargedFunctions, DensityFunctions, products, slope_at
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.nonnegative_weights import nonnegative_weights
from mpiqmd.rom.learned.remainder import Remainder
from mpiqmd.rom.learned.xc_remainder import SMALLEST_DENSITY, expanded_share

ENERGY_SCALE = 1e-8
"""Unit of the equations, Ha."""
CANDIDATES = 6_000
"""Grid points among which to choose: half those that matter most, half drawn at random."""
DISPLACEMENT = 1e-3
"""From z to z', square roots of Ha along every direction: what predictions are off by, about."""
BLOCK = 16
"""Samples at a time."""


@dataclass(frozen=True)
class Reached:
    """Densities at sampled latent coordinates and, in the second half, at random ones nearby.

    Attributes
    ----------
    orbitals_snk
        Orthonormal orbitals over the active modes, shape (2 s, occupied, active).
    charges_sa
        Their charges, shape (2 s, a).
    """

    orbitals_snk: np.ndarray
    charges_sa: np.ndarray

    @classmethod
    def of(cls, subspaces: LatentSubspaces, points: LearnedPoints, latent_sd: np.ndarray, seed: int) -> Reached:
        """Return those of latent coordinates (s, d), square roots of Ha.  Not collective."""
        moved_sd = latent_sd + DISPLACEMENT * np.random.default_rng(seed).normal(size=latent_sd.shape)
        orbitals_snk, _ = subspaces.orthonormal(np.concatenate([latent_sd, moved_sd]))
        return cls(orbitals_snk, points.changes(orbitals_snk) @ points.reading_fq.T)


def choose_xc_points(
    model: KohnShamModel, modes: Orbitals, charged: ChargedFunctions, reached: Reached, *, points: int, seed: int
) -> XcPoints:
    """Return at most ``points`` points for the remainder about the mean density.  Collective.

    Parameters
    ----------
    model
        The physics.
    modes
        Active modes on the density's grid.
    charged
        What the charges are coefficients of.
    reached
        Where to be right.
    points, seed
        How many, and the seed of the choice of candidates.
    """
    grid = modes.grid
    exact, importance = _integrals(model, modes, charged.functions, reached.orbitals_snk)
    chosen = drawn_points(grid, importance, CANDIDATES, seed)
    at = _at(model, charged, chosen)
    equations_sq = _and_changes(_contributions(model, at, reached.charges_sa)) / ENERGY_SCALE
    weights_q = on_rank_zero(grid.comm, nonnegative_weights, equations_sq, _and_changes(exact) / ENERGY_SCALE, points)
    use = weights_q > 0.0
    with_slopes = use[: at.slopes_vfq.shape[2]]
    return XcPoints(
        weights_q[use],
        at.functions_fq[:, use],
        at.slopes_vfq[:, :, with_slopes],
        at.mean_q[use],
        at.mean_slope_vq[:, with_slopes],
    )


def _and_changes(values: np.ndarray) -> np.ndarray:
    """Return what the first half of samples (2 s, ...) has, and what the second half has more; not collective."""
    first, moved = np.split(values, 2)
    return np.concatenate([first, moved - first])


def _integrals(
    model: KohnShamModel, modes: Orbitals, functions: DensityFunctions, orbitals_snk: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``∫ R dr`` (s,), Ha, and how much each of this rank's points contributes.  Collective."""
    grid, gradient, mean = modes.grid, model.term(ExchangeCorrelation).gradient, functions.mean
    points, mean_slope = functions.points_local, None if gradient is None else gradient.apply(mean).reshape(3, -1)
    remainder = _remainder(
        model, mean.local.ravel()[points], None if mean_slope is None else np.ascontiguousarray(mean_slope[:, points])
    )
    exact, importance = [], np.zeros(grid.local_size)
    for start in range(0, len(orbitals_snk), BLOCK):
        # R depends so weakly on the density that single precision is enough for this
        part_snk = orbitals_snk[start : start + BLOCK].astype(np.float32)
        for rho in SPIN_WEIGHT * products(modes, part_snk, part_snk, points):
            slope = None if gradient is None else _slope(grid, gradient, mean, points, rho)
            value, _, _ = remainder.evaluate(rho, slope)
            exact.append(float(value.sum()))
            importance[points] += np.abs(value)
    return grid.volume_element * sum_over_ranks(grid.comm, np.array(exact)), importance


def _slope(grid: Grid, gradient: Gradient, mean: Field, points: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Return the grid's gradient at this rank's points of a density that is known there, elsewhere the mean.  Collective."""
    whole = mean.copy()
    whole.local.reshape(-1)[points] = rho
    return np.ascontiguousarray(gradient.apply(whole).reshape(3, -1)[:, points])


def _remainder(model: KohnShamModel, mean: np.ndarray, mean_slope: np.ndarray | None) -> Remainder:
    return Remainder(model.functional, mean, mean_slope, expanded_share(mean))


def _at(model: KohnShamModel, charged: ChargedFunctions, chosen: np.ndarray) -> XcPoints:
    """Return global grid points, without weights, on every rank.  Collective."""
    gradient, mean = model.term(ExchangeCorrelation).gradient, charged.functions.mean
    functions_fq, mean_q = charged.at(chosen), values_at(mean.grid, mean.local.reshape(1, -1), chosen)[0]
    if gradient is None:
        return XcPoints(np.zeros(0), functions_fq, np.zeros((3, len(functions_fq), 0)), mean_q, np.zeros((3, 0)))
    slopes_vfq, mean_slope_vq = charged.slopes_at(gradient, chosen), slope_at(gradient, mean, chosen)
    return XcPoints(np.zeros(0), functions_fq, slopes_vfq, mean_q, mean_slope_vq)


def _contributions(model: KohnShamModel, at: XcPoints, charges_sa: np.ndarray) -> np.ndarray:
    """Return R at every point, shape (s, Q).  Not collective."""
    uses_gradient, result = model.functional.uses_gradient, np.empty((len(charges_sa), len(at.mean_q)))
    remainder = _remainder(model, at.mean_q, at.mean_slope_vq if uses_gradient else None)
    for row, charges_a in zip(result, charges_sa, strict=True):
        slope_vq = at.mean_slope_vq + charges_a @ at.slopes_vfq if uses_gradient else None
        row[:] = remainder.evaluate(np.maximum(at.mean_q + charges_a @ at.functions_fq, SMALLEST_DENSITY), slope_vq)[0]
    return result
