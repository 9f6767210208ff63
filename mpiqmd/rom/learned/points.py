"""The learned grid: points at which the density is seen, by pivoted QR of the density functions.

Points are taken one after the other where the functions not yet told apart are largest (Q. Du, P. Sorensen, SIAM J. Sci.
Comput. 38, A1 (2016), "Q-DEIM"); two for each function make the reading ``ζ = B^+`` of its coefficients stable.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks
from mpiqmd.rom.learned.densities import DensityFunctions

CANDIDATES = 10_000
"""Grid points among which to choose, those where the functions are largest."""


def choose_points(functions: DensityFunctions, per_function: float) -> np.ndarray:
    """Return global indices of points, so many for each function.  Collective."""
    grid = functions.mean.grid
    candidates = leading_points(grid, (functions.functions.matrix_local**2).sum(axis=0), CANDIDATES)
    at_candidates_fq = values_at(grid, functions.functions.matrix_local, candidates)
    count = min(int(np.ceil(per_function * len(at_candidates_fq))), len(candidates))
    return candidates[on_rank_zero(grid.comm, _pivots, at_candidates_fq, count)]


def leading_points(grid: Grid, importance_local: np.ndarray, count: int) -> np.ndarray:
    """Return global indices, ascending, of the points that matter most.  Collective."""
    whole = Field(grid, importance_local.reshape(grid.local_shape)).gather()

    def lead() -> np.ndarray:
        assert whole is not None
        return np.sort(np.argsort(-whole.ravel(), kind="stable")[:count])

    return on_rank_zero(grid.comm, lead)


def drawn_points(grid: Grid, importance_local: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return global indices, ascending: half the points that matter most, half drawn by the root of what they do.

    Collective.
    """
    whole = Field(grid, importance_local.reshape(grid.local_shape)).gather()

    def draw() -> np.ndarray:
        assert whole is not None
        flat = whole.ravel()
        leading = np.argsort(-flat, kind="stable")[: count // 2]
        chance = np.sqrt(flat)
        chance[leading] = 0.0
        number = min(count - len(leading), int(np.count_nonzero(chance)))
        rng = np.random.default_rng(seed)
        drawn = rng.choice(flat.size, size=number, replace=False, p=chance / chance.sum()) if number else []
        return np.sort(np.concatenate([leading, drawn]).astype(int))

    return on_rank_zero(grid.comm, draw)


def values_at(grid: Grid, functions_local: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return functions (j, this rank's points) at global grid points on every rank, shape (j, Q).  Collective."""
    index = np.array(np.unravel_index(chosen, grid.shape))
    own = np.ones(len(chosen), bool)
    for axis, part in enumerate(grid.local_slices):
        own &= (index[axis] >= part.start) & (index[axis] < part.stop)
    local = [index[axis][own] - grid.local_slices[axis].start for axis in range(3)]
    values = np.zeros((len(functions_local), len(chosen)))
    values[:, own] = functions_local[:, np.ravel_multi_index(local, grid.local_shape)]
    return sum_over_ranks(grid.comm, values)


def _pivots(at_candidates_fq: np.ndarray, count: int) -> np.ndarray:
    """Return places among candidates, in rounds of one for each function.  Rank 0 only."""
    chosen: list[int] = []
    free = np.ones(at_candidates_fq.shape[1], bool)
    while len(chosen) < count:
        places = np.flatnonzero(free)
        order = qr(at_candidates_fq[:, places], pivoting=True, mode="r")[1]
        new = places[order[: min(len(at_candidates_fq), count - len(chosen))]]
        chosen += new.tolist()
        free[new] = False
    return np.array(chosen)
