"""Densities that a model can reach, and the few functions that span them.

    δρ_s = w Σ_n Ũ_n² - ρ̄   at sampled latent coordinates,     w' Σ_n Ũ_n δŨ_n   their slopes along latent directions

The density functions b_f are the principal components of both on the grid of the density; slopes need fewer digits, since they
enter an energy squared.  Everything with the size of the grid is distributed; numbers of samples and functions are hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import own_points, values_at
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.rom.learned.latent import LatentSubspaces

BLOCK = 2048
"""Grid points at a time: a block of all orbitals there stays in cache."""
SAMPLES = 64
"""Densities at a time."""
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
    mean
        ρ̄, bohr⁻³.
    """

    local: np.ndarray
    points_local: np.ndarray
    singular_values_f: np.ndarray
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

    Not collective.
    """
    flat, (samples, n, _) = modes.matrix_local, left_snk.shape
    left, right = left_snk.reshape(samples * n, -1), right_snk.reshape(samples * n, -1)
    result = np.empty((samples, len(points_local)))
    for start in range(0, len(points_local), BLOCK):
        piece = flat[:, points_local[start : start + BLOCK]].astype(left.dtype, copy=False)
        values = left @ piece
        values *= values if right_snk is left_snk else right @ piece
        result[:, start : start + BLOCK] = values.reshape(samples, n, -1).sum(axis=1)
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
    modes: Orbitals, subspaces: LatentSubspaces, latent_sd: np.ndarray, n_slopes: int, smallest: float, seed: int
) -> DensityFunctions:
    """Return the functions that span the densities at latent coordinates and slopes there.  Collective.

    Parameters
    ----------
    modes
        Active modes on the density's grid.
    subspaces
        What latent coordinates mean.
    latent_sd
        Sampled coordinates.
    n_slopes
        Slopes at random samples, the first of them along each latent direction, then along random ones.
    smallest
        Singular value down to which functions are kept, electrons^1/2 bohr^-3/2.
    seed
        Of the choice of slopes.
    """
    orbitals_snk, _ = subspaces.orthonormal(latent_sd)
    rows = orbitals_snk.reshape(-1, orbitals_snk.shape[2])
    mean = density_of(modes, rows.T @ rows / len(orbitals_snk))
    left_snk, right_snk = _slope_orbitals(subspaces, latent_sd, n_slopes, seed)
    points_local = where_it_matters(mean)
    samples = np.empty((len(orbitals_snk) + len(left_snk), len(points_local)), np.float32)
    mean_q = mean.local.ravel()[points_local]
    for start in range(0, len(orbitals_snk), SAMPLES):
        part_snk = orbitals_snk[start : start + SAMPLES]
        rows = slice(start, start + len(part_snk))
        samples[rows] = SPIN_WEIGHT * products(modes, part_snk, part_snk, points_local) - mean_q
    # slopes need few digits, half the time
    for start in range(0, len(left_snk), SAMPLES):
        left, right = (each[start : start + SAMPLES].astype(np.float32) for each in (left_snk, right_snk))
        rows = slice(len(orbitals_snk) + start, len(orbitals_snk) + start + len(left))
        samples[rows] = products(modes, left, right, points_local)
    values_f, functions = _principal(modes.grid, samples, smallest)
    return DensityFunctions(functions, points_local, values_f, mean)


def _slope_orbitals(subspaces: LatentSubspaces, latent_sd: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return orbitals and their scaled changes, whose products are slopes of the density, each (count, occupied, active)."""
    rng, d = np.random.default_rng(seed), len(subspaces)
    lengths_d = np.minimum(SLOPE_WEIGHT, SLOPE_SPREADS * np.sqrt(np.mean(latent_sd**2, axis=0)))
    left, right = [], []
    for number in range(count):
        direction_d = lengths_d * (np.eye(d)[number] if number < d else rng.normal(size=d))
        chosen = latent_sd[rng.integers(len(latent_sd))][None]
        (orbitals_nk,), (inverse_nn,) = subspaces.orthonormal(chosen)
        left.append(orbitals_nk)
        right.append(subspaces.slopes(orbitals_nk, inverse_nn, direction_d[None])[0])
    return np.array(left), BRA_AND_KET * SPIN_WEIGHT * np.array(right)


def _principal(grid: Grid, samples: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values and orthonormal principal components, this rank's part (f, points); samples are overwritten.

    Collective.
    """
    values, vectors = eigh(grid.comm, _gram(grid, samples))
    kept = np.flatnonzero(values > smallest**2)[::-1]
    functions = _combined(samples, vectors[:, kept] / np.sqrt(values[kept]))
    # the small ones are orthogonal to the square root of round-off only
    return np.sqrt(values[kept]), _combined(functions, inverse_square_root(grid.comm, _gram(grid, functions)))


def _gram(grid: Grid, functions: np.ndarray) -> np.ndarray:
    """Return overlaps (f, f) of functions (f, points), which may be of single precision, in double."""
    total = np.zeros((len(functions), len(functions)))
    for start in range(0, functions.shape[1], BLOCK):
        block = functions[:, start : start + BLOCK].astype(float)
        total += block @ block.T
    return grid.volume_element * sum_over_ranks(grid.comm, total)


def _combined(functions: np.ndarray, combination: np.ndarray) -> np.ndarray:
    """Return ``C^T F``, made in the memory of F block by block."""
    count = combination.shape[1]
    for start in range(0, functions.shape[1], BLOCK):
        block = functions[:, start : start + BLOCK]
        block[:count] = combination.T @ block.astype(float)
    return functions[:count]
