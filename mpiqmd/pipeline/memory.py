"""Whether a calculation fits into the machine, judged before anything large is allocated.

Functions on the grid are all that is large.  A solver holds some of them whatever the molecule, and some for every
orbital; the numbers below are peaks of resident memory measured at 96^3 points.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.grid.multigrid import chooses_multigrid
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.machine import memory_per_rank

if TYPE_CHECKING:
    from mpi4py import MPI

DENSITY_REFINEMENT = {"same": 1.0, "finer": 1.5, "doubled": 2.0}
"""What the words of grid.density mean: times as many points a side."""
FIXED_FUNCTIONS = 30
"""Potentials, densities, work space."""
MULTIGRID_FUNCTIONS = 200
"""The matrices of the levels."""
ABPG_PER_ORBITAL = 6
"""And twice the depth of the Anderson acceleration."""
SLEPC_PER_ORBITAL = 40
DENSE_PER_ORBITAL = 3
"""Orbitals, their products with the potential, and a transform of either, on a grid of the density's own."""
REST = 2e8
"""Bytes of a process that has loaded its libraries."""


def functions(settings: Settings, n_orbitals: int, ranks: int) -> int:
    """Return how many grid functions a ground state of so many orbitals holds at a time.  Not collective."""
    scf, grid = settings.scf, settings.grid
    per_orbital = SLEPC_PER_ORBITAL if scf.solver == "slepc" else ABPG_PER_ORBITAL + 2 * scf.anderson_history
    has_levels = chooses_multigrid(grid.poisson, math.prod(grid.points), ranks)
    finer = DENSITY_REFINEMENT[grid.density] ** 3
    on_density_grid = finer * (FIXED_FUNCTIONS + (DENSE_PER_ORBITAL * n_orbitals if finer > 1 else 0))
    return math.ceil(on_density_grid) + MULTIGRID_FUNCTIONS * has_levels + per_orbital * n_orbitals


def needed_memory(settings: Settings, n_orbitals: int, ranks: int) -> float:
    """Return the bytes that each of so many ranks needs for a ground state of so many orbitals.  Not collective."""
    return 8.0 * math.prod(settings.grid.points) * functions(settings, n_orbitals, ranks) / ranks + REST


def require_memory(settings: Settings, n_orbitals: int, comm: MPI.Comm) -> None:
    """Raise ConfigError, with the estimate, unless the machine has the memory that the input asks for.  Collective."""
    needed = needed_memory(settings, n_orbitals, comm.size)
    available = memory_per_rank(comm)
    if decide(comm, needed <= available):
        return
    asked, has = (f"{size * comm.size / 1e9:.3g} GB" for size in (needed, available))
    raise ConfigError(
        f"[grid] points = {' x '.join(map(str, settings.grid.points))} with {n_orbitals} orbitals takes about {asked}, and the "
        f"{comm.size} rank(s) of this job have {has}. At most that is allowed. Use fewer grid.points (or a larger "
        "grid.spacing), a smaller grid.cell, fewer scf.empty_orbitals, or more nodes."
    )
