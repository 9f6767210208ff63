"""Values at chosen points of a distributed grid, and the choice of points by what they contribute."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import on_rank_zero, sum_over_ranks

SCATTER = 2654435761
"""Indices times this, modulo 2^32, are in no order: the golden ratio of 2^32."""
UNTIED = 1e-6
"""By how much values at points may be taken for larger than they are, so that round-off does not choose between images."""


def scattered_order(points: np.ndarray) -> np.ndarray:
    """Return numbers from 0 to 2^32 that are in no order, but always the same, shape (points,), for global indices."""
    return (points * SCATTER) % 2**32


def untied(points: np.ndarray) -> np.ndarray:
    """Return factors (points,), without unit, one or just above, that tell points of like values apart.  Not collective."""
    return 1.0 + UNTIED * scattered_order(points) / 2.0**32


def leading_points(grid: Grid, importance_local: np.ndarray, count: int) -> np.ndarray:
    """Return global indices, ascending, of the points that matter most, shape (count,).  Collective."""
    whole = Field(grid, importance_local.reshape(grid.local_shape)).gather()

    def lead() -> np.ndarray:
        """Return the choice from the values on the whole grid, which rank 0 has."""
        assert whole is not None
        flat = whole.ravel() * untied(np.arange(grid.size))
        return np.sort(np.argsort(-flat, kind="stable")[:count])

    return on_rank_zero(grid.comm, lead)


def drawn_points(grid: Grid, importance_local: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return global indices, ascending, shape (count,): half those that matter most, half drawn by the root of it.

    Points that do not matter are never chosen.  Collective.
    """
    whole = Field(grid, importance_local.reshape(grid.local_shape)).gather()

    def draw() -> np.ndarray:
        """Return the same of half leading, half drawn points."""
        assert whole is not None
        flat = whole.ravel() * untied(np.arange(grid.size))
        leading = np.argsort(-flat, kind="stable")[: count // 2]
        chance = np.sqrt(flat)
        chance[leading] = 0.0
        number = min(count - len(leading), int(np.count_nonzero(chance)))
        leading = leading[flat[leading] > 0.0]
        rng = np.random.default_rng(seed)
        drawn = rng.choice(flat.size, size=number, replace=False, p=chance / chance.sum()) if number else []
        return np.sort(np.concatenate([leading, drawn]).astype(int))

    return on_rank_zero(grid.comm, draw)


def own_points(grid: Grid, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some global grid points are this rank's, a mask (Q,), and their indices in its flattened block (own,).

    Not collective.
    """
    index = np.array(np.unravel_index(chosen, grid.shape))
    own = np.ones(len(chosen), bool)
    for axis, part in enumerate(grid.local_slices):
        own &= (index[axis] >= part.start) & (index[axis] < part.stop)
    local = [index[axis][own] - grid.local_slices[axis].start for axis in range(3)]
    return own, np.ravel_multi_index(local, grid.local_shape)


def global_points(grid: Grid, points_local: np.ndarray) -> np.ndarray:
    """Return the global indices (points,) of points of this rank, given those in its flattened block.  Not collective."""
    index = np.unravel_index(points_local, grid.local_shape)
    return np.ravel_multi_index([place + start for place, start in zip(index, grid.start, strict=True)], grid.shape)


def values_at(grid: Grid, functions_local: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return functions (j, this rank's points) at global points on every rank, shape (j, Q), in their unit.  Collective."""
    own, index = own_points(grid, chosen)
    values = np.zeros((len(functions_local), len(chosen)))
    values[:, own] = functions_local[:, index]
    return sum_over_ranks(grid.comm, values)
