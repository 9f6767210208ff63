"""The grids of a multigrid hierarchy: their points, who owns them, and the sparse rows that act on and between them.

Each level has half the intervals per side of the one before (rounded up), and a coarse point belongs to the rank that
owns the fine point at or just before it, so interpolation speaks to neighbours only.  Points are numbered rank by rank,
x fastest inside each block, as PETSc numbers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from mpiqmd.grid.grid import Grid

COARSEST = 4096
"""A level of at most so many points is the last: small enough to be gathered on every rank."""
FEWEST_INTERVALS = 8
"""An axis of fewer intervals is not coarsened."""


@dataclass(frozen=True)
class Level:
    """One grid of the hierarchy; axes are ordered z, y, x.

    ``weight`` is the volume element over that of the finest level: what the transpose of the interpolation sums.
    """

    intervals: tuple[int, ...]
    spacings: tuple[float, ...]
    is_periodic: bool
    bounds: tuple[np.ndarray, ...]
    place: tuple[int, int]
    weight: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along z, y and x."""
        n_z, n_y, n_x = (n if self.is_periodic else n - 1 for n in self.intervals)
        return n_z, n_y, n_x

    @property
    def size(self) -> int:
        """Number of points over all ranks."""
        return int(np.prod(self.shape))

    @property
    def local_slices(self) -> tuple[slice, slice, slice]:
        """This rank's part of each axis."""
        block = (*self.place, 0)
        z, y, x = (slice(int(b[i]), int(b[i + 1])) for b, i in zip(self.bounds, block, strict=True))
        return z, y, x

    @property
    def local_size(self) -> int:
        """Number of this rank's points."""
        return int(np.prod([part.stop - part.start for part in self.local_slices]))

    @cached_property
    def _offsets(self) -> np.ndarray:
        """First number of every rank's block, at [z, y] of the process grid."""
        sizes = np.outer(np.diff(self.bounds[0]), np.diff(self.bounds[1])) * self.shape[2]
        return np.concatenate([[0], np.cumsum(sizes.ravel())[:-1]]).reshape(sizes.shape)

    def numbers(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the numbers of the points of a product of index ranges, shape (z, y, x).  Not collective."""
        i_z = np.searchsorted(self.bounds[0], z, side="right") - 1
        i_y = np.searchsorted(self.bounds[1], y, side="right") - 1
        lines = np.diff(self.bounds[1])[i_y]
        within = (z - self.bounds[0][i_z])[:, None] * lines + (y - self.bounds[1][i_y])
        first = self._offsets[i_z[:, None], i_y] + within * self.shape[2]
        return first[:, :, None] + x


def hierarchy(grid: Grid) -> list[Level]:
    """Return the levels from the grid itself to the coarsest.  Not collective."""
    bounds = tuple(np.concatenate([[0], np.cumsum(counts)]) for counts in grid.counts)
    p_y = grid.process_shape[1]
    place = (grid.comm.rank // p_y, grid.comm.rank % p_y)
    intervals = tuple(int(n) for n in grid.points_v[::-1])
    spacings = tuple(float(h) for h in grid.spacing_v[::-1])
    levels = [Level(intervals, spacings, grid.is_periodic, bounds, place, 1.0)]
    while levels[-1].size > COARSEST and max(levels[-1].intervals) >= FEWEST_INTERVALS:
        levels.append(_coarser(levels[-1]))
    return levels


def _coarser(fine: Level) -> Level:
    """Return the level of half as many intervals along every axis that has enough.  Not collective."""
    intervals = tuple((n + 1) // 2 if n >= FEWEST_INTERVALS else n for n in fine.intervals)
    bounds = []
    for n_fine, n_coarse, fine_bounds in zip(fine.intervals, intervals, fine.bounds, strict=True):
        first = 0 if fine.is_periodic else 1
        lattice = np.arange(first, n_coarse)
        under = lattice * n_fine // n_coarse - first
        bounds.append(np.searchsorted(np.maximum(under, 0), fine_bounds))
    ratios = [n / m for n, m in zip(fine.intervals, intervals, strict=True)]
    spacings = tuple(h * ratio for h, ratio in zip(fine.spacings, ratios, strict=True))
    weight = fine.weight * float(np.prod(ratios))
    return Level(intervals, spacings, fine.is_periodic, tuple(bounds), fine.place, weight)


def star_matrix(level: Level, weights: list[float], shift: float) -> csr_matrix:
    """Return this rank's rows of ``Σ_axes h^-2 Σ_k w_k f(r + k h) + σ f(r)``, with global column numbers.

    Functions wrap around a periodic cell and are zero beyond the walls of an isolated one.  Not collective.
    """
    width = len(weights) // 2
    own = [np.arange(part.start, part.stop) for part in level.local_slices]
    centre = shift + weights[width] * sum(h**-2.0 for h in level.spacings)
    columns, values = [level.numbers(*own).ravel()], [np.full(level.local_size, centre)]
    for axis in range(3):
        for offset in (*range(-width, 0), *range(1, width + 1)):
            moved, n = own[axis] + offset, level.shape[axis]
            inside = np.full(len(moved), True) if level.is_periodic else (moved >= 0) & (moved < n)
            indices = list(own)
            indices[axis] = moved % n
            shape = [1, 1, 1]
            shape[axis] = len(moved)
            weight = weights[width + offset] * level.spacings[axis] ** -2.0 * inside.reshape(shape)
            columns.append(level.numbers(*indices).ravel())
            values.append(np.broadcast_to(weight, [len(part) for part in own]).ravel())
    return _rows(columns, values, level.size)


def interpolation(fine: Level, coarse: Level) -> csr_matrix:
    """Return this rank's rows of the linear interpolation from a level to the next finer one.  Not collective."""
    axes = [_linear(fine, coarse, axis) for axis in range(3)]
    columns, values = [], []
    for corner in np.ndindex(2, 2, 2):
        (z, a), (y, b), (x, c) = (sides[side] for sides, side in zip(axes, corner, strict=True))
        columns.append(coarse.numbers(z, y, x).ravel())
        values.append((a[:, None, None] * b[None, :, None] * c[None, None, :]).ravel())
    return _rows(columns, values, coarse.size)


def _linear(fine: Level, coarse: Level, axis: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for both neighbours on the coarse lattice their index and their weight at this rank's points of one axis."""
    first = 0 if fine.is_periodic else 1
    part, n = fine.local_slices[axis], coarse.shape[axis]
    lattice = np.arange(part.start, part.stop) + first
    places = lattice * coarse.intervals[axis] / fine.intervals[axis]
    left = np.floor(places + 1e-12).astype(int)
    fraction = np.maximum(places - left, 0.0)
    result = []
    for index, weight in ((left - first, 1.0 - fraction), (left + 1 - first, fraction)):
        inside = np.full(len(index), True) if fine.is_periodic else (index >= 0) & (index < n)
        result.append((index % n, weight * inside))
    return result


def _rows(columns: list[np.ndarray], values: list[np.ndarray], n_columns: int) -> csr_matrix:
    """Return a sparse matrix from the i-th column number and value of every row, zeros dropped, duplicates added."""
    index, data = np.stack(columns, axis=1), np.stack(values, axis=1)
    keep = data != 0.0
    indptr = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    rows = csr_matrix((data[keep], index[keep], indptr), shape=(len(index), n_columns))
    rows.sum_duplicates()
    return rows
