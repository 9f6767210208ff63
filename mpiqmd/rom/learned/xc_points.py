"""Points and weights for the remainder of the xc energy, by empirical quadrature over latent directions.

Non-negative weights are sought with

    Σ_q w_q R(u_q) = ∫ R dr,    Σ_q w_q dR(u_q)/dz_d = d/dz_d ∫ R dr

at sampled latent coordinates and along random latent directions, by non-negative least squares on a few thousand candidates
(``rom.compiled.quadrature``).  Because only latent coordinates vary, no other slopes are needed.  For a GGA the integrals have
the grid's own gradient of the density, the points the gradients of the modes; the weights make up for the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.compiled.quadrature import nonnegative_weights
from mpiqmd.rom.compiled.remainder import Remainder
from mpiqmd.rom.learned.data import XcPoints
from mpiqmd.rom.learned.densities import DensityFunctions, products
from mpiqmd.rom.learned.latent import BRA_AND_KET, LatentSubspaces
from mpiqmd.rom.learned.points import drawn_points, values_at
from mpiqmd.rom.learned.xc_remainder import expanded_share

ENERGY_SCALE = 1e-8
"""Error of an energy equation (Ha) that counts as much as SLOPE_SCALE in a slope."""
SLOPE_SCALE = 3e-5
"""Error of a slope, square roots of Ha: half its square is an energy."""
CANDIDATES = 6_000
"""Grid points among which to choose: half those that matter most, half drawn at random."""
DIRECTIONS = 1
"""Latent directions at each sample."""
BLOCK = 16
"""Samples at a time."""


@dataclass(frozen=True)
class _Samples:
    """Orbitals over the active modes (s, n, active) and their changes along directions (s, j, n, active)."""

    orbitals_snk: np.ndarray
    changes_sjnk: np.ndarray

    def part(self, members: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return some of the samples."""
        return self.orbitals_snk[members], self.changes_sjnk[members]


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
        How many, and the seed of the choice of directions.
    """
    grid, samples = modes.grid, _sampled(subspaces, latent_sd, seed)
    exact, importance = _integrals(model, modes, functions.mean, samples)
    chosen = drawn_points(grid, importance, CANDIDATES, seed)
    at = _at(model, modes, functions, chosen)
    scale = np.concatenate([[ENERGY_SCALE], np.full(DIRECTIONS, SLOPE_SCALE)])
    left = (_contributions(model, at, samples) / scale[:, None]).reshape(-1, len(chosen))
    weights_q = on_rank_zero(grid.comm, nonnegative_weights, left, (exact / scale).ravel(), points)
    use = weights_q > 0.0
    slopes_vqk, mean_slope_vq = at.slopes_vqk[:, use[: at.slopes_vqk.shape[1]]], at.mean_slope_vq
    return XcPoints(
        weights_q[use], at.modes_qk[use], slopes_vqk, at.mean_q[use], mean_slope_vq[:, use[: mean_slope_vq.shape[1]]]
    )


def _sampled(subspaces: LatentSubspaces, latent_sd: np.ndarray, seed: int) -> _Samples:
    rng, d = np.random.default_rng(seed), len(subspaces)
    orbitals_snk, inverse_snn = subspaces.orthonormal(latent_sd)
    changes = []
    for orbitals_nk, inverse_nn in zip(orbitals_snk, inverse_snn, strict=True):
        directions_jd = np.eye(d)[rng.integers(d, size=DIRECTIONS)]
        changes.append(subspaces.slopes(orbitals_nk, inverse_nn, directions_jd))
    return _Samples(orbitals_snk, np.array(changes))


def _integrals(model: KohnShamModel, modes: Orbitals, mean: Field, samples: _Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return ``∫ R dr`` and its slopes, shape (s, 1 + j), and how much each of this rank's points contributes.  Collective."""
    grid, gradient = modes.grid, model.term(ExchangeCorrelation).gradient
    remainder = _remainder(model, mean.local.ravel(), None if gradient is None else gradient.apply(mean).reshape(3, -1))
    exact, importance = [], np.zeros(grid.local_size)
    for start in range(0, len(samples.orbitals_snk), BLOCK):
        orbitals_snk, changes_sjnk = samples.part(slice(start, start + BLOCK))
        densities = SPIN_WEIGHT * products(modes, orbitals_snk, orbitals_snk)
        repeated = np.repeat(orbitals_snk, DIRECTIONS, axis=0)
        # slopes need few digits, half the time
        flat = changes_sjnk.reshape(repeated.shape).astype(np.float32)
        changes = BRA_AND_KET * SPIN_WEIGHT * products(modes, repeated.astype(np.float32), flat)
        for rho, d_rho in zip(densities, changes.reshape(len(densities), DIRECTIONS, -1), strict=True):
            parts = _on_grid(grid, gradient, remainder, rho, d_rho)
            exact.append(parts.sum(axis=1))
            importance += np.abs(parts[0]) / ENERGY_SCALE + np.abs(parts[1:]).sum(axis=0) / SLOPE_SCALE
    return grid.volume_element * sum_over_ranks(grid.comm, np.array(exact)), importance


def _on_grid(grid: Grid, gradient: Gradient | None, remainder: Remainder, rho: np.ndarray, d_rho: np.ndarray) -> np.ndarray:
    """Return R and its slopes at this rank's points, shape (1 + j, points).  Collective."""
    if gradient is None:
        value, v_rho, _ = remainder.evaluate(rho)
        return np.concatenate([value[None], v_rho * d_rho])
    slopes = [gradient.apply(Field(grid, each.reshape(grid.local_shape))).reshape(3, -1) for each in (rho, *d_rho)]
    value, v_rho, v_slope = remainder.evaluate(rho, slopes[0])
    return np.concatenate([value[None], v_rho * d_rho + np.array([(v_slope * each).sum(axis=0) for each in slopes[1:]])])


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


def _contributions(model: KohnShamModel, at: XcPoints, samples: _Samples) -> np.ndarray:
    """Return R and its slopes at every point, shape (s, 1 + j, Q).  Not collective."""
    uses_gradient, factor = model.functional.uses_gradient, BRA_AND_KET * SPIN_WEIGHT
    remainder = _remainder(model, at.mean_q, at.mean_slope_vq if uses_gradient else None)
    result = np.empty((len(samples.orbitals_snk), 1 + DIRECTIONS, len(at.mean_q)))
    for row, orbitals_nk, changes_jnk in zip(result, samples.orbitals_snk, samples.changes_sjnk, strict=True):
        orbitals_nq, changes_jnq = orbitals_nk @ at.modes_qk.T, changes_jnk @ at.modes_qk.T
        rho_q, d_rho_jq = SPIN_WEIGHT * (orbitals_nq**2).sum(axis=0), factor * (orbitals_nq * changes_jnq).sum(axis=1)
        if not uses_gradient:
            row[0], v_rho_q, _ = remainder.evaluate(rho_q)
            row[1:] = v_rho_q * d_rho_jq
            continue
        along_vnq = orbitals_nk @ at.slopes_vqk.transpose(0, 2, 1)
        turned_vjnq = changes_jnk @ at.slopes_vqk.transpose(0, 2, 1)[:, None]
        slope_vq = factor * (orbitals_nq * along_vnq).sum(axis=1)
        d_slope_vjq = factor * ((changes_jnq * along_vnq[:, None]) + (orbitals_nq * turned_vjnq)).sum(axis=2)
        row[0], v_rho_q, v_slope_vq = remainder.evaluate(rho_q, slope_vq)
        assert v_slope_vq is not None
        row[1:] = v_rho_q * d_rho_jq + (v_slope_vq[:, None] * d_slope_vjq).sum(axis=0)
    return result
