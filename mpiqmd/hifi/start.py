"""Starting orbitals from atoms: a Rayleigh-Ritz solution among atom-centred Gaussians in a model potential.

Every atom brings s (and, beyond helium, p) Gaussians of two widths; the potential is that of superposed exponential
atomic densities.  Far better than noise and costs about two iterations of the solver.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.images import nearest_image
from mpiqmd.parallel.dense import eigh

EXPONENTS = (1.1, 0.28)
"""Exponents of the Gaussians ``r^l exp(-α r²)`` of each atom, bohr⁻²."""
DENSITY_DECAY = 1.9
"""Decay constant of the model atomic densities, 1/bohr."""
DEPENDENT = 1e-6
"""Overlap eigenvalues below this are dropped from the atomic basis."""


def atomic_orbitals(problem: Problem, count: int) -> Orbitals:
    """Return ``count`` orthonormal starting orbitals, the lowest of the atomic basis first.  Collective.

    Raises ConfigError if the atomic basis has fewer.
    """
    with_empty = count > problem.n_occupied
    trial = _gaussians(problem, EXPONENTS, with_empty)
    if len(trial) < 2 * count:
        trial = _gaussians(problem, (*EXPONENTS, 0.6, 2.2, 0.12), with_empty)
    _, potential = problem.density_terms(atomic_density(problem))
    overlap = trial.gram()
    applied = problem.linear.plus(potential).apply(problem.model.space(trial))
    hamiltonian = trial.gram(applied)
    values, vectors = eigh(problem.grid.comm, overlap)
    keep = values > DEPENDENT * values[-1]
    if keep.sum() < count:
        raise ConfigError(
            f"{count} orbitals are needed for {problem.n_electrons:g} electrons and scf.empty_orbitals; the {len(trial)} "
            f"functions on the atoms give at most {keep.sum()} to start from. Correct system.charge or scf.empty_orbitals."
        )
    orthonormal = vectors[:, keep] / np.sqrt(values[keep])
    _, ritz = eigh(problem.grid.comm, orthonormal.T @ hamiltonian @ orthonormal)
    return trial.combine(orthonormal @ ritz[:, :count])


def atomic_density(problem: Problem) -> Field:
    """Return superposed densities ``Z_a κ³/(8π) exp(-κ |r - R_a|)``, scaled to the electron count.  Collective."""
    grid = problem.model.density_grid
    total = np.zeros(grid.local_shape)
    for valence, displacements in zip(problem.model.valences_a, _displacements(problem, grid), strict=True):
        x, y, z = displacements
        total += valence * np.exp(-DENSITY_DECAY * np.sqrt(z**2 + y**2 + x**2))
    density = Field(grid, total)
    density.local *= problem.n_electrons / density.integrate()
    return density


def _gaussians(problem: Problem, exponents: tuple[float, ...], polarised: bool) -> Orbitals:
    """Return s Gaussians on every atom, and p ones on those beyond helium or, for empty levels too, on all."""
    functions = []
    for valence, (x, y, z) in zip(problem.model.valences_a, _displacements(problem, problem.grid), strict=True):
        squares = z**2 + y**2 + x**2
        for exponent in exponents:
            envelope = np.exp(-exponent * squares)
            functions.append(envelope)
            if valence > 2 or polarised:
                functions += [x * envelope, y * envelope, z * envelope]
    return Orbitals(problem.grid, np.stack(functions))


def _displacements(problem: Problem, grid: Grid) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return (x, y, z) from each nucleus to the grid points, to the nearest image in a periodic cell."""
    z, y, x = grid.local_coordinates
    result = []
    for position_v in problem.positions_av:
        steps = [axis - centre for axis, centre in zip((x, y, z), position_v, strict=True)]
        if grid.is_periodic:
            steps = [nearest_image(step, edge) for step, edge in zip(steps, grid.cell_v, strict=True)]
        result.append(tuple(steps))
    return result
