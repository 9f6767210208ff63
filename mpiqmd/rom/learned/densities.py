"""Densities that a model can reach, and the few functions that span them.

    δρ_s = w Σ_n Ũ_n² - ρ̄   at sampled latent coordinates,     w' Σ_n Ũ_n δŨ_n   their slopes along latent directions

The density functions b_f are the principal components of both on the grid of the density; slopes need fewer digits, since they
enter an energy squared.  Everything with the size of the grid is distributed; numbers of samples and functions are hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import own_points, values_at
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.principal_densities import Closed, principal_densities
from mpiqmd.rom.learned.species import Species

BLOCK = 2048
"""Grid points at a time: a block of all orbitals there stays in cache."""
SAMPLES = 64
"""Densities at a time."""
BASES = 32
"""Sampled coordinates at which slopes are taken."""
SMALLEST_MEAN = 1e-6
"""Mean density (bohr⁻³) below which changes of density are not looked at: less than 1e-4 electrons lie there."""
SLOPE_WEIGHT = 1e-2
"""Length of a slope beside densities, square roots of Ha: predictions of minima are nearer."""
SLOPE_SPREADS = 100.0
"""The same in units of how far minima spread along a direction, if that is shorter."""


@dataclass(frozen=True)
class DensityFunctions:
    """Orthonormal functions on the density's grid that span the changes of density.

    Attributes
    ----------
    local
        b_f at this rank's points that matter, by descending singular value, shape (f, points); in single precision, which
        are other functions by a ten-millionth, and half the memory.
    points_local
        Indices of these points in this rank's flattened block.
    singular_values_f
        Largest coefficients to be expected, about: the spread of all samples along each.
    labels_f
        Symmetry species.
    representatives
        Places among these points of those that stand for all their images.
    mean
        ρ̄, bohr⁻³, which is symmetric.
    """

    local: np.ndarray
    points_local: np.ndarray
    singular_values_f: np.ndarray
    labels_f: np.ndarray
    representatives: np.ndarray
    mean: Field

    def __len__(self) -> int:
        return len(self.local)

    @property
    def grid(self) -> Grid:
        """The grid of the density."""
        return self.mean.grid

    def block(self, part: slice) -> Orbitals:
        """Return some of the functions on the whole grid.  Not collective."""
        return Orbitals(self.grid, scattered(self.grid, self.points_local, self.local[part]))

    def sums(self, chosen: list[np.ndarray]) -> Orbitals:
        """Return sums of some functions each on the whole grid.  Not collective."""
        values = np.array([self.local[members].sum(axis=0) for members in chosen])
        return Orbitals(self.grid, scattered(self.grid, self.points_local, values))

    def overlaps(self, fields: Orbitals) -> np.ndarray:
        """Return ``∫ v b_f dr``, shape (fields, f); of potentials in Ha bohr^3/2.  Collective."""
        rows = np.zeros((len(fields), len(self)))
        for start in range(0, len(self.points_local), BLOCK):
            block = slice(start, start + BLOCK)
            rows += fields.matrix_local[:, self.points_local[block]] @ self.local[:, block].T.astype(float)
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, rows)

    def at(self, chosen: np.ndarray) -> np.ndarray:
        """Return the functions at global grid points on every rank, shape (f, Q), bohr^-3/2.  Collective."""
        places = np.full(self.grid.local_size, -1)
        places[self.points_local] = np.arange(len(self.points_local))
        own, index = own_points(self.grid, chosen)
        values = np.zeros((len(self), len(chosen)))
        inside = places[index] >= 0
        values[:, np.flatnonzero(own)[inside]] = self.local[:, places[index[inside]]]
        return sum_over_ranks(self.grid.comm, values)


@dataclass(frozen=True)
class ChargedFunctions:
    """Those combinations of density functions whose coefficients the charges are.

    Attributes
    ----------
    functions
        The density functions.
    combinations_fa
        Columns are the combinations, shape (f, a).
    """

    functions: DensityFunctions
    combinations_fa: np.ndarray

    def at(self, chosen: np.ndarray) -> np.ndarray:
        """Return the combinations at global grid points on every rank, shape (a, Q), bohr^-3/2.  Collective."""
        return self.combinations_fa.T @ self.functions.at(chosen)

    def slopes_at(self, gradient: Gradient, chosen: np.ndarray) -> np.ndarray:
        """Return their gradients by the grid there, shape (3, a, Q), bohr^-5/2.  Collective."""
        functions, found = self.functions, []
        for f in range(len(functions)):
            (whole,) = functions.block(slice(f, f + 1)).local
            found.append(slope_at(gradient, Field(functions.grid, whole), chosen))
        return np.einsum("fa,fvq->vaq", self.combinations_fa, np.array(found), optimize=True)


def slope_at(gradient: Gradient, field: Field, chosen: np.ndarray) -> np.ndarray:
    """Return the grid's gradient of a field at global grid points on every rank, shape (3, Q), its unit/bohr.  Collective."""
    return values_at(field.grid, gradient.apply(field).reshape(3, -1), chosen)


def scattered(grid: Grid, points_local: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return functions (j, points) on this rank's whole block, shape (j, z, y, x), zero elsewhere, in their own unit.

    Not collective.
    """
    whole = np.zeros((len(values), grid.local_size))
    whole[:, points_local] = values
    return whole.reshape(-1, *grid.local_shape)


def products(modes: Orbitals, left_snk: np.ndarray, right_snk: np.ndarray, points_local: np.ndarray) -> np.ndarray:
    """Return ``Σ_n (Σ_k a_snk ψ_k)(Σ_k b_snk ψ_k)`` at some of this rank's points, shape (samples, points), bohr⁻³.

    A single sample on the left goes with every one on the right.  Not collective.
    """
    flat, (samples, n, _) = modes.matrix_local, right_snk.shape
    left, right = (each.reshape(-1, each.shape[2]) for each in (left_snk, right_snk))
    result = np.empty((samples, len(points_local)))
    for start in range(0, len(points_local), BLOCK):
        piece = flat[:, points_local[start : start + BLOCK]].astype(right.dtype, copy=False)
        values = (right @ piece).reshape(samples, n, -1)
        values *= values if right_snk is left_snk else (left @ piece).reshape(-1, n, values.shape[2])
        result[:, start : start + BLOCK] = values.sum(axis=1)
    return result


def density_of(modes: Orbitals, density_matrix_kk: np.ndarray) -> Field:
    """Return the density of a density matrix over active modes on the density's grid, block by block.  Not collective."""
    flat, total = modes.matrix_local, np.empty(modes.grid.local_size)
    for start in range(0, len(total), BLOCK):
        piece = flat[:, start : start + BLOCK]
        total[start : start + BLOCK] = SPIN_WEIGHT * ((density_matrix_kk @ piece) * piece).sum(axis=0)
    return Field(modes.grid, total.reshape(modes.grid.local_shape))


def where_it_matters(mean: Field) -> np.ndarray:
    """Return indices (points,) of this rank's points at which the mean density is not negligible.  Not collective."""
    return np.flatnonzero(mean.local.ravel() > SMALLEST_MEAN)


def density_functions(
    modes: Orbitals,
    subspaces: LatentSubspaces,
    labels_k: np.ndarray,
    latent_sd: np.ndarray,
    *,
    n_slopes: int,
    smallest: float,
    seed: int,
    species: Species,
) -> DensityFunctions:
    """Return the functions that span the densities at latent coordinates, slopes there, and all images of both.  Collective.

    Parameters
    ----------
    modes
        Active modes on the density's grid.
    subspaces, labels_k
        What latent coordinates mean, and the symmetry species of the active modes.
    latent_sd
        Sampled coordinates.
    n_slopes
        Slopes at a few random samples, along random directions.
    smallest
        Singular value down to which functions are kept, electrons^1/2 bohr^-3/2.
    seed
        Of the choice of slopes.
    species
        The operations whose images count.
    """
    orbitals_snk, _ = subspaces.orthonormal(latent_sd)
    rows = orbitals_snk.reshape(-1, orbitals_snk.shape[2])
    # the mean of the samples and all their images
    mean = density_of(modes, np.where(labels_k[:, None] == labels_k, rows.T @ rows / len(orbitals_snk), 0.0))
    points_local = where_it_matters(mean)
    samples = np.empty((len(orbitals_snk) + n_slopes, len(points_local)), np.float32)
    mean_q, filled = mean.local.ravel()[points_local], 0
    for start in range(0, len(orbitals_snk), SAMPLES):
        part_snk = orbitals_snk[start : start + SAMPLES]
        samples[filled : filled + len(part_snk)] = SPIN_WEIGHT * products(modes, part_snk, part_snk, points_local) - mean_q
        filled += len(part_snk)
    # slopes need few digits, half the time
    for left_nk, right_jnk in _slope_orbitals(subspaces, latent_sd, n_slopes, seed):
        left, right = left_nk[None].astype(np.float32), right_jnk.astype(np.float32)
        samples[filled : filled + len(right)] = products(modes, left, right, points_local)
        filled += len(right)
    closed = Closed(modes.grid, points_local, species)
    found = principal_densities(closed, samples, smallest)
    return DensityFunctions(found.functions, points_local, found.values_f, found.labels_f, closed.first, mean)


def _slope_orbitals(
    subspaces: LatentSubspaces, latent_sd: np.ndarray, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield orbitals (occupied, active) and their scaled changes (j, occupied, active), whose products are slopes of density.

    There are so many changes in all.
    """
    rng, d = np.random.default_rng(seed), len(subspaces)
    lengths_d = np.minimum(SLOPE_WEIGHT, SLOPE_SPREADS * np.sqrt(np.mean(latent_sd**2, axis=0)))
    directions_jd = lengths_d * rng.normal(size=(count, d))
    bases = rng.integers(len(latent_sd), size=min(BASES, count))
    for number, base in enumerate(bases):
        (orbitals_nk,), (inverse_nn,) = subspaces.orthonormal(latent_sd[base][None])
        yield (
            orbitals_nk,
            BRA_AND_KET * SPIN_WEIGHT * subspaces.slopes(orbitals_nk, inverse_nn, directions_jd[number :: len(bases)]),
        )
