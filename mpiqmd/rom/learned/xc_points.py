"""Points and weights for the remainder of the xc energy, by empirical quadrature over latent coordinates.

Non-negative weights are sought with

    Σ_q w_q Σ_g R(ρ̄_q + Σ_f χ_f(g) c_f b_f,q) = ∫ R(ρ) dr

(g: the images of a point, ``xc_remainder``) at sampled latent coordinates z, and the same for the changes of R to a random z'
nearby and to where the minimum goes when the molecule moves a little, by non-negative least squares on a few thousand
candidates (``nonnegative_weights``).  The weights multiply an energy, so slopes are exact derivatives; without the changes
those off the paths of minima would be wrong, minima in the wrong place, and forces with them, and those along the paths.

The integrals have the density of the orbitals, the points what the charges tell of it; the weights make up for the difference.
With model cores that move, R is that of ``core_density``, and every sample has a geometry; at the points the gradients of cores
are those of their radial functions, in the integrals those of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.chosen_points import drawn_points, values_at
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.learned.core_density import SMALLEST_DENSITY, MovingCores, derivatives
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.data import LearnedPoints, StartArrays, XcPoints
from mpiqmd.rom.learned.densities import ChargedFunctions, DensityFunctions, products, slope_at
from mpiqmd.rom.learned.images import to_images
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.nonnegative_weights import nonnegative_weights
from mpiqmd.rom.learned.polynomials import predicted
from mpiqmd.rom.learned.remainder import Remainder
from mpiqmd.rom.learned.species import blocks_of, n_species
from mpiqmd.rom.learned.xc_remainder import expanded_share

ENERGY_SCALE = 1e-8
"""Unit of the equations, Ha."""
CANDIDATES = 6_000
"""Grid points, images included, among which to choose: half those that matter most, half drawn at random."""
DISPLACEMENT = 1e-3
"""From z to z', square roots of Ha along every direction: what predictions are off by, about."""
TOWARDS = 0.05
"""Share of the way to another sample that the molecule moves."""
BLOCK = 16
"""Samples at a time."""


Sampled = tuple[np.ndarray, np.ndarray]
"""Geometries (s, N, 3), bohr, and latent coordinates there (s, d), square roots of Ha."""


@dataclass(frozen=True)
class Reached:
    """Densities at sampled latent coordinates, then as many at random ones nearby, and as many where minima go.

    Attributes
    ----------
    orbitals_snk
        Orthonormal orbitals over the active modes, shape (3 s, occupied, active).
    charges_sa
        Their charges, shape (3 s, a).
    positions_sav
        The geometries that they belong to, bohr, shape (3 s, N, 3).
    """

    orbitals_snk: np.ndarray
    charges_sa: np.ndarray
    positions_sav: np.ndarray

    @classmethod
    def of(
        cls,
        subspaces: LatentSubspaces,
        points: LearnedPoints,
        start: StartArrays,
        sampled: tuple[np.ndarray, np.ndarray],
        seed: int,
    ) -> Reached:
        """Return those of samples: geometries (s, N, 3), bohr, and latent coordinates (s, d), square roots of Ha.

        By the polynomial of a start it is seen where minima go.  Not collective.
        """
        rng, (positions_sav, latent_sd) = np.random.default_rng(seed), sampled
        nearby_sd = latent_sd + DISPLACEMENT * rng.normal(size=latent_sd.shape)
        moved_sav = positions_sav + TOWARDS * (positions_sav[rng.permutation(len(positions_sav))] - positions_sav)
        moved_sd = latent_sd + predicted(start, moved_sav) - predicted(start, positions_sav)
        orbitals_snk, _ = subspaces.orthonormal(np.concatenate([latent_sd, nearby_sd, moved_sd]))
        charges_sa = points.charges(points.changes(orbitals_snk))
        return cls(orbitals_snk, charges_sa, np.concatenate([positions_sav, positions_sav, moved_sav]))


def choose_xc_points(
    cores: CoreFields,
    modes: Orbitals,
    labels_k: np.ndarray,
    charged: ChargedFunctions,
    reached: Reached,
    *,
    points: int,
    seed: int,
) -> XcPoints:
    """Return at most ``points`` points for the remainder about the mean density.  Collective.

    Parameters
    ----------
    cores
        The physics, with the model cores.
    modes, labels_k
        Active modes on the density's grid, and their symmetry species.
    charged
        What the charges are coefficients of.
    reached
        Where to be right.
    points, seed
        How many, and the seed of the choice of candidates.
    """
    grid = modes.grid
    exact, importance = _integrals(cores, modes, labels_k, charged.functions, reached)
    labels_a = np.zeros_like(charged.labels_a) if cores.moving else charged.labels_a
    if labels_a.any():
        importance = _of_orbits(charged.functions, importance)
    chosen = drawn_points(grid, importance, CANDIDATES // n_species(labels_a), seed)
    at = _at(cores, charged, labels_a, chosen)
    equations_sq = _and_changes(_contributions(cores, at, reached)) / ENERGY_SCALE
    weights_q = on_rank_zero(grid.comm, nonnegative_weights, equations_sq, _and_changes(exact) / ENERGY_SCALE, points)
    use = weights_q > 0.0
    with_slopes = use[: at.slopes_vfq.shape[2]]
    return XcPoints(
        weights_q[use],
        at.functions_fq[:, use],
        at.slopes_vfq[:, :, with_slopes],
        at.mean_q[use],
        at.mean_slope_vq[:, with_slopes],
        at.positions_vq[:, use] if cores.moving else at.positions_vq[:, :0],
        labels_a,
    )


def _and_changes(values: np.ndarray) -> np.ndarray:
    """Return what the first third of samples (3 s, ...) has, and what the others have more; not collective."""
    first, nearby, moved = np.split(values, 3)
    return np.concatenate([first, nearby - first, moved - first])


def _integrals(
    cores: CoreFields, modes: Orbitals, labels_k: np.ndarray, functions: DensityFunctions, reached: Reached
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``∫ R dr`` (s,), Ha, and how much each of this rank's points contributes.  Collective."""
    grid, orbits, points = modes.grid, functions.orbits, functions.orbits.points_local
    remainder = _remainder(cores, np.ascontiguousarray(cores.values(cores.whole(functions.mean), points)))
    changes, on_grid = _Changes(cores, functions), _RemainderOnGrid(cores, remainder, points)
    exact, importance = [], np.zeros(grid.local_size)
    for start in range(0, len(reached.orbitals_snk), BLOCK):
        # R depends so weakly on the density that single precision is enough for this
        part_snk = reached.orbitals_snk[start : start + BLOCK].astype(np.float32)
        densities_sgq = products(modes, part_snk, part_snk, orbits.first, labels_k, orbits.n_images)
        densities_sq = orbits.everywhere(SPIN_WEIGHT * densities_sgq)
        for rho_q, positions_av in zip(densities_sq, reached.positions_sav[start : start + BLOCK], strict=True):
            value_q = on_grid.remainder(changes.of(rho_q), positions_av)
            exact.append(float(value_q.sum()))
            importance[points] += np.abs(value_q)
    return grid.volume_element * sum_over_ranks(grid.comm, np.array(exact)), importance


class _Changes:
    """Changes of the valence density, with the grid's gradients, at this rank's points that matter."""

    def __init__(self, cores: CoreFields, functions: DensityFunctions) -> None:
        self.cores, self.mean, self.points_local = cores, functions.mean, functions.orbits.points_local
        self._mean_uq = cores.values(self.mean, self.points_local)

    def of(self, rho_q: np.ndarray) -> np.ndarray:
        """Return δ = ρ - ρ̄ (u, points) of a density at these points, bohr⁻³, which is the mean elsewhere.  Collective."""
        if len(self._mean_uq) == 1:
            return rho_q - self._mean_uq
        whole = self.mean.copy()
        whole.local.reshape(-1)[self.points_local] = rho_q
        return self.cores.values(whole, self.points_local) - self._mean_uq


class _RemainderOnGrid:
    """R at this rank's points that matter, with the cores of a geometry."""

    def __init__(self, cores: CoreFields, remainder: Remainder, points_local: np.ndarray) -> None:
        self.cores, self._remainder, self.points_local = cores, remainder, points_local
        self._functional = remainder.functional
        self._mean_uq = remainder.reference_uq
        self._energy_q, self._potential_uq = derivatives(self._functional, self._mean_uq)
        self._moving = [(core, cores.core(core.index, core.box.middle_v, points_local)) for core in cores.moving]

    def remainder(self, change_uq: np.ndarray, positions_av: np.ndarray) -> np.ndarray:
        """Return R (points,), Ha bohr⁻³, of a change of the valence density at a geometry (N, 3), bohr.  Collective."""
        if not self._moving:
            whole_uq = self._mean_uq + change_uq
            return self._remainder.evaluate(whole_uq[0], _slope(whole_uq))[0]
        core_uq, taken_q = np.zeros_like(change_uq), np.zeros(change_uq.shape[1])
        for core, middle_uq in self._moving:
            moved_uq = self.cores.core(core.index, positions_av[core.index], self.points_local) - middle_uq
            core_uq += moved_uq
            near = np.flatnonzero(moved_uq.any(axis=0))
            energy_q, potential_uq = derivatives(self._functional, self._mean_uq[:, near] + moved_uq[:, near])
            taken_q[near] += energy_q - self._energy_q[near]
            taken_q[near] += ((potential_uq - self._potential_uq[:, near]) * change_uq[:, near]).sum(axis=0)
        whole_uq = self._mean_uq + core_uq + change_uq
        return self._remainder.evaluate(whole_uq[0], _slope(whole_uq), core_uq)[0] - taken_q


def _slope(values_uq: np.ndarray) -> np.ndarray | None:
    return None if len(values_uq) == 1 else np.ascontiguousarray(values_uq[1:])


def _remainder(cores: CoreFields, mean_uq: np.ndarray) -> Remainder:
    return Remainder(cores.model.functional, mean_uq[0], _slope(mean_uq), expanded_share(mean_uq[0]))


def _at(cores: CoreFields, charged: ChargedFunctions, labels_a: np.ndarray, chosen: np.ndarray) -> XcPoints:
    """Return global grid points, without weights, on every rank.  Collective."""
    mean, gradient = cores.whole(charged.functions.mean), cores.xc.gradient
    z, y, x = mean.grid.local_coordinates
    axes = np.stack([np.broadcast_to(axis, mean.grid.local_shape).ravel() for axis in (x, y, z)])
    functions_fq, positions_vq = charged.at(chosen), values_at(mean.grid, axes, chosen)
    mean_q, weights_q = values_at(mean.grid, mean.local.reshape(1, -1), chosen)[0], np.zeros(len(chosen))
    slopes_vfq, mean_slope_vq = np.zeros((3, len(functions_fq), 0)), np.zeros((3, 0))
    if gradient is not None:
        slopes_vfq, mean_slope_vq = charged.slopes_at(gradient, chosen), slope_at(gradient, mean, chosen)
    return XcPoints(weights_q, functions_fq, slopes_vfq, mean_q, mean_slope_vq, positions_vq, labels_a)


def _of_orbits(functions: DensityFunctions, importance: np.ndarray) -> np.ndarray:
    """Return the mean importance of all images at this rank's points that stand for them, zero elsewhere.  Collective."""
    orbits, result = functions.orbits, np.zeros_like(importance)
    result[orbits.first] = orbits.by_species(importance[None, orbits.points_local])[0, 0]
    return result


def _contributions(cores: CoreFields, at: XcPoints, reached: Reached) -> np.ndarray:
    """Return R at every point, its images included, shape (s, Q).  Not collective."""
    result, mean_uq = np.zeros((len(reached.charges_sa), len(at.mean_q))), at.mean_uq
    remainder = _remainder(cores, mean_uq)
    cell_v = cores.xc.grid.periodic_cell_v
    moving = MovingCores(cores.moving, at.positions_vq, at.weights_q, remainder, cell_v) if cores.moving else None
    changes = (
        change_guq
        for start in range(0, len(result), BLOCK)
        for change_guq in _changes_at_images(at, reached.charges_sa[start : start + BLOCK])
    )
    for row, change_guq, positions_av in zip(result, changes, reached.positions_sav, strict=True):
        core_uq = np.zeros_like(mean_uq)
        if moving is not None:
            placed = moving.place(positions_av[None], np.zeros(1), np.zeros((1, *positions_av.shape)))
            (core_uq,), (energy_q,), (potential_uq,) = placed.changes_buq, placed.energies_bq, placed.potentials_buq
            row -= energy_q + (potential_uq * change_guq[0]).sum(axis=0)
        for change_uq in change_guq:
            whole_uq = mean_uq + core_uq + change_uq
            row += remainder.evaluate(np.maximum(whole_uq[0], SMALLEST_DENSITY), _slope(whole_uq), core_uq)[0]
    return result


def _changes_at_images(at: XcPoints, charges_sa: np.ndarray) -> np.ndarray:
    """Return changes of u at the images of every point, taken back from there, shape (s, images, u, Q).  Not collective."""
    functions_uaq, images = at.functions_ufq, at.n_images
    changes_usgq = np.zeros((len(functions_uaq), len(charges_sa), images, len(at.mean_q)))
    for block in blocks_of(at.labels_f):
        changes_usgq[:, :, at.labels_f[block[0]]] = charges_sa[:, block] @ functions_uaq[:, block]
    to_images(changes_usgq.reshape(-1, images * len(at.mean_q)), images)
    return changes_usgq.transpose(1, 2, 0, 3)
