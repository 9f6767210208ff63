"""Points and weights for the remainder of the xc energy, by empirical quadrature over latent coordinates.

Non-negative weights are sought with

    Σ_q w_q R(u_q) = ∫ R dr

at sampled latent coordinates z, and the same for the change of R to a random z' nearby, by non-negative least squares on a few
thousand candidates (``nonnegative_weights``).  The weights multiply an energy, so slopes are exact derivatives; without the
changes those off the paths of minima would be wrong, minima in the wrong place, and forces with them.  For a GGA the integrals
have the grid's own gradient of the density, the points the gradients of the modes; the weights make up for the difference.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import drawn_points, values_at
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.learned.data import XcPoints
from mpiqmd.rom.learned.densities import DensityFunctions, products
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.nonnegative_weights import nonnegative_weights
from mpiqmd.rom.learned.remainder import Remainder
from mpiqmd.rom.learned.xc_remainder import expanded_share

ENERGY_SCALE = 1e-8
"""Unit of the equations, Ha."""
CANDIDATES = 6_000
"""Grid points among which to choose: half those that matter most, half drawn at random."""
DISPLACEMENT = 1e-3
"""From z to z', square roots of Ha along every direction: what predictions are off by, about."""
BLOCK = 16
"""Samples at a time."""


def choose_xc_points(
    model: KohnShamModel,
    modes: Orbitals,
    functions: DensityFunctions,
    subspaces: LatentSubspaces,
    latent_sd: np.ndarray,
    *,
    points: int,
    seed: int,
) -> XcPoints:
    """Return at most ``points`` points for the remainder about the mean density.  Collective.

    Parameters
    ----------
    model
        The physics.
    modes
        Active modes on the density's grid.
    functions
        Whose mean density it is.
    subspaces, latent_sd
        What latent coordinates mean, and where to look.
    points, seed
        How many, and the seed of the choice of candidates.
    """
    grid = modes.grid
    moved_sd = latent_sd + DISPLACEMENT * np.random.default_rng(seed).normal(size=latent_sd.shape)
    orbitals_snk, _ = subspaces.orthonormal(np.concatenate([latent_sd, moved_sd]))
    exact, importance = _integrals(model, modes, functions, orbitals_snk)
    chosen = drawn_points(grid, importance, CANDIDATES, seed)
    at = _at(model, modes, functions, chosen)
    equations_sq = _and_changes(_contributions(model, at, orbitals_snk)) / ENERGY_SCALE
    weights_q = on_rank_zero(grid.comm, nonnegative_weights, equations_sq, _and_changes(exact) / ENERGY_SCALE, points)
    use = weights_q > 0.0
    slopes_vqk, mean_slope_vq = at.slopes_vqk[:, use[: at.slopes_vqk.shape[1]]], at.mean_slope_vq
    return XcPoints(
        weights_q[use], at.modes_qk[use], slopes_vqk, at.mean_q[use], mean_slope_vq[:, use[: mean_slope_vq.shape[1]]]
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


def _at(model: KohnShamModel, modes: Orbitals, functions: DensityFunctions, chosen: np.ndarray) -> XcPoints:
    """Return global grid points, without weights, on every rank.  Collective."""
    grid, gradient = modes.grid, model.term(ExchangeCorrelation).gradient
    modes_qk = values_at(grid, modes.matrix_local, chosen).T.copy()
    mean_q = values_at(grid, functions.mean.local.reshape(1, -1), chosen)[0]
    if gradient is None:
        return XcPoints(np.zeros(0), modes_qk, np.zeros((3, 0, modes_qk.shape[1])), mean_q, np.zeros((3, 0)))
    slopes = [values_at(grid, gradient.apply(Field(grid, mode)).reshape(3, -1), chosen) for mode in modes.local]
    slopes_vqk = np.array(slopes).transpose(1, 2, 0).copy()
    # by the modes' own gradients, as all others at the points
    along_qk = modes_qk @ functions.mean_kk
    mean_slope_vq = BRA_AND_KET * SPIN_WEIGHT * np.einsum("qk,vqk->vq", along_qk, slopes_vqk)
    return XcPoints(np.zeros(0), modes_qk, slopes_vqk, mean_q, mean_slope_vq)


def _contributions(model: KohnShamModel, at: XcPoints, orbitals_snk: np.ndarray) -> np.ndarray:
    """Return R at every point, shape (s, Q).  Not collective."""
    uses_gradient, result = model.functional.uses_gradient, np.empty((len(orbitals_snk), len(at.mean_q)))
    remainder = _remainder(model, at.mean_q, at.mean_slope_vq if uses_gradient else None)
    for row, orbitals_nk in zip(result, orbitals_snk, strict=True):
        orbitals_nq, slope_vq = orbitals_nk @ at.modes_qk.T, None
        if uses_gradient:
            along_vnq = orbitals_nk @ at.slopes_vqk.transpose(0, 2, 1)
            slope_vq = BRA_AND_KET * SPIN_WEIGHT * (orbitals_nq * along_vnq).sum(axis=1)
        row[:] = remainder.evaluate(SPIN_WEIGHT * (orbitals_nq**2).sum(axis=0), slope_vq)[0]
    return result
