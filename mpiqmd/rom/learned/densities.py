"""Densities that a model can reach, and the few functions that span them.

    δρ_s = w Σ_n Ũ_n² - ρ̄   at sampled latent coordinates,     w' Σ_n Ũ_n δŨ_n   their slopes along latent directions

The density functions b_f are the principal components of both on the grid of the density; slopes need fewer digits, since they
enter an energy squared.  Everything with the size of the grid is distributed; numbers of samples and functions are hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import values_at
from mpiqmd.grid.differences import Gradient
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.rom.learned.data import DipoleArrays
from mpiqmd.rom.learned.images import as_species, orbitals_at_images
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.orbits import Orbits
from mpiqmd.rom.learned.principal_densities import principal_densities
from mpiqmd.rom.learned.species import Species

BLOCK = 2048
"""Grid points at a time: a block of all orbitals there stays in cache."""
SAMPLES, INTEGRALS = 64, 512
"""Densities at a time, and how many are integrated with the functions together."""
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
    """Orthonormal functions on the density's grid that span the changes of density, each of one symmetry species.

    Attributes
    ----------
    local
        b_f at this rank's points that stand for their images, by descending singular value, shape (f, Q); in single precision,
        which are other functions by a ten-millionth, and half the memory.
    singular_values_f
        Largest coefficients to be expected, about: the spread of all samples along each.
    labels_f
        Symmetry species.
    orbits
        The points that matter, and those that stand for them.
    mean
        ρ̄, bohr⁻³, which is symmetric.
    """

    local: np.ndarray
    singular_values_f: np.ndarray
    labels_f: np.ndarray
    orbits: Orbits
    mean: Field

    def __len__(self) -> int:
        return len(self.local)

    @property
    def grid(self) -> Grid:
        """The grid of the density."""
        return self.mean.grid

    def block(self, part: slice) -> Orbitals:
        """Return some of the functions on the whole grid.  Collective."""
        values = self.orbits.spread(self.local[part], self.labels_f[part])
        return Orbitals(self.grid, scattered(self.grid, self.orbits.points_local, values))

    def sums(self, chosen: list[np.ndarray]) -> Orbitals:
        """Return sums of some functions each on the whole grid.  Collective."""
        values = np.array([self.orbits.spread(self.local[some], self.labels_f[some]).sum(axis=0) for some in chosen])
        return Orbitals(self.grid, scattered(self.grid, self.orbits.points_local, values))

    def overlaps(self, fields: Orbitals) -> np.ndarray:
        """Return ``∫ v b_f dr``, shape (fields, f); of potentials in Ha bohr^3/2.  Collective."""
        return self.orbits.overlaps(fields.matrix_local[:, self.orbits.points_local], self.local, self.labels_f)

    def charges(self, modes: Orbitals, labels_k: np.ndarray, orbitals_snk: np.ndarray) -> np.ndarray:
        """Return ``∫ b_f (ρ - ρ̄) dr``, shape (s, f), bohr^-3/2, of orthonormal orbitals (s, occupied, active).  Collective.

        They are over active modes of these species on the density's grid.
        """
        orbits, rows = self.orbits, []
        for start in range(0, len(orbitals_snk), INTEGRALS):
            # single precision is a hundredth of what functions leave of a density
            part_snk = orbitals_snk[start : start + INTEGRALS].astype(np.float32)
            parts_sgq = np.empty((len(part_snk), orbits.n_images, len(orbits.first)), np.float32)
            for first in range(0, len(part_snk), SAMPLES):
                few = slice(first, first + SAMPLES)
                parts_sgq[few] = species_of_changes(modes, labels_k, part_snk[few], orbits, self.mean)
            rows.append(orbits.integrals(parts_sgq, self.local, self.labels_f))
        return np.concatenate(rows)

    def at(self, chosen: np.ndarray) -> np.ndarray:
        """Return the functions at global grid points on every rank, shape (f, chosen), bohr^-3/2.  Collective."""
        return self.orbits.at(self.local, self.labels_f, chosen)


@dataclass(frozen=True)
class ChargedFunctions:
    """Those combinations of density functions whose coefficients the charges are.

    Attributes
    ----------
    functions
        The density functions.
    combinations_fa
        Columns are the combinations, each of one species, shape (f, a).
    labels_a
        Their species.
    """

    functions: DensityFunctions
    combinations_fa: np.ndarray
    labels_a: np.ndarray

    def at(self, chosen: np.ndarray) -> np.ndarray:
        """Return the combinations at global grid points on every rank, shape (a, Q), bohr^-3/2.  Collective."""
        return self.combinations_fa.T @ self.functions.at(chosen)

    def charges(self, modes: Orbitals, labels_k: np.ndarray, orbitals_snk: np.ndarray) -> np.ndarray:
        """Return :meth:`DensityFunctions.charges` with the combinations, shape (s, a), bohr^-3/2.  Collective."""
        return self.functions.charges(modes, labels_k, orbitals_snk) @ self.combinations_fa

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


def products(
    modes: Orbitals,
    left_snk: np.ndarray,
    right_snk: np.ndarray,
    places: np.ndarray,
    labels_k: np.ndarray | None = None,
    n_images: int = 1,
) -> np.ndarray:
    """Return ``Σ_n (Σ_k a_snk ψ_k)(Σ_k b_snk ψ_k)`` at some points and all their images, shape (samples, images, Q), bohr⁻³.

    A single sample on the left goes with every one on the right.  ``places`` (Q,) are indices in this rank's flattened block;
    what modes are at the images follows from their symmetry species, labels (k,).  Not collective.
    """
    samples, _, k = right_snk.shape
    labels_k = np.zeros(k, int) if labels_k is None else labels_k
    width = max(1, BLOCK // n_images)
    result = np.empty((samples, n_images, len(places)))
    for start in range(0, len(places), width):
        piece = modes.matrix_local[:, places[start : start + width]].astype(right_snk.dtype, copy=False)
        values = orbitals_at_images(right_snk, piece, labels_k, n_images)
        values *= values if right_snk is left_snk else orbitals_at_images(left_snk, piece, labels_k, n_images)
        result[:, :, start : start + width] = values.sum(axis=1)
    return result


def species_of_changes(
    modes: Orbitals, labels_k: np.ndarray, orbitals_snk: np.ndarray, orbits: Orbits, mean: Field
) -> np.ndarray:
    """Return what ρ - ρ̄ has of every species, shape (s, species, Q), bohr⁻³; the mean is symmetric.  Not collective."""
    values_sgq = products(modes, orbitals_snk, orbitals_snk, orbits.first, labels_k, orbits.n_images)
    changes_sgq = SPIN_WEIGHT * as_species(values_sgq)
    changes_sgq[:, 0] -= mean.local.ravel()[orbits.first]
    return changes_sgq


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
    orbits = Orbits(modes.grid, where_it_matters(mean), species)
    parts_gsq, filled = np.empty((orbits.n_images, len(orbitals_snk) + n_slopes, len(orbits.first)), np.float32), 0
    changes = (
        species_of_changes(modes, labels_k, orbitals_snk[start : start + SAMPLES], orbits, mean)
        for start in range(0, len(orbitals_snk), SAMPLES)
    )
    slopes = (
        as_species(products(modes, left_snk, right_snk, orbits.first, labels_k, orbits.n_images))
        for left_snk, right_snk in _slope_orbitals(subspaces, latent_sd, n_slopes, seed)
    )
    for found_sgq in chain(changes, slopes):
        parts_gsq[:, filled : filled + len(found_sgq)] = found_sgq.transpose(1, 0, 2)
        filled += len(found_sgq)
    found = principal_densities(orbits, parts_gsq, smallest)
    return DensityFunctions(found.functions, found.values_f, found.labels_f, orbits, mean)


def _slope_orbitals(
    subspaces: LatentSubspaces, latent_sd: np.ndarray, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield orbitals (1, occupied, active) and scaled changes (j, occupied, active): their products are slopes of the density.

    There are so many changes in all.  Slopes need few digits: single precision, half the time.
    """
    rng, d = np.random.default_rng(seed), len(subspaces)
    lengths_d = np.minimum(SLOPE_WEIGHT, SLOPE_SPREADS * np.sqrt(np.mean(latent_sd**2, axis=0)))
    directions_jd = lengths_d * rng.normal(size=(count, d))
    bases = rng.integers(len(latent_sd), size=min(BASES, count))
    for number, base in enumerate(bases):
        (orbitals_nk,), (inverse_nn,) = subspaces.orthonormal(latent_sd[base][None])
        changes_jnk = subspaces.slopes(orbitals_nk, inverse_nn, directions_jd[number :: len(bases)])
        yield orbitals_nk[None].astype(np.float32), (BRA_AND_KET * SPIN_WEIGHT * changes_jnk).astype(np.float32)


def dipole_of(functions: DensityFunctions, rotation_ff: np.ndarray, latent: int) -> DipoleArrays:
    """Return what dipole moments are made from, of rotated functions (f, f), without what z (latent,) changes.  Collective."""
    grid = functions.grid
    z, y, x = grid.local_coordinates
    axes = Orbitals(grid, np.stack([np.broadcast_to(axis, grid.local_shape) for axis in (x, y, z)]))
    mean_v = axes.gram(Orbitals(grid, functions.mean.local[None]))[:, 0]
    return DipoleArrays(mean_v, functions.overlaps(axes) @ rotation_ff, np.zeros((3, latent)))
