"""The part of the grid within a radius of a nucleus, as contiguous boxes of this rank's block.

In a periodic cell every image of the sphere that reaches the rank's block gives a box; in an isolated one the sphere is
clipped at the walls.  Boxes are slices, so reading and adding to a function there are views, not gathers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from mpiqmd.grid.grid import Grid


@dataclass(frozen=True)
class Box:
    """One box of local grid points and the displacements from the nucleus to them.

    Attributes
    ----------
    slices
        Slices (z, y, x) into a local block.
    x, y, z
        Displacements in bohr, shaped to broadcast over the box.
    """

    slices: tuple[slice, slice, slice]
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def distances(self) -> np.ndarray:
        """``|r - R|`` over the box, shape (z, y, x), bohr."""
        return np.sqrt(self.z**2 + self.y**2 + self.x**2)


def boxes(grid: Grid, position_v: np.ndarray, radius: float) -> Iterator[Box]:
    """Yield the boxes of this rank's points within ``radius`` of a nucleus and its images.  Not collective."""
    pieces = [_intervals(grid, axis, float(position_v[2 - axis]), radius) for axis in range(3)]
    for (slice_z, z), (slice_y, y), (slice_x, x) in product(*pieces):
        yield Box((slice_z, slice_y, slice_x), x[None, None, :], y[None, :, None], z[:, None, None])


def _intervals(grid: Grid, axis: int, centre: float, radius: float) -> list[tuple[slice, np.ndarray]]:
    """Return (local slice, displacements) for each image of ``[centre - radius, centre + radius]`` on one axis."""
    spacing, edge = grid.spacing_v[2 - axis], grid.cell_v[2 - axis]
    start, n_local = grid.start[axis], grid.local_shape[axis]
    own = grid.coordinates(axis)[start : start + n_local]
    reach = int(np.ceil((radius + abs(centre)) / edge + 0.5)) if grid.is_periodic else 0
    intervals = []
    for image in range(-reach, reach + 1):
        displacements = own - (centre + image * edge)
        first = max(0, int(np.ceil((-radius - displacements[0]) / spacing)))
        last = min(n_local, int(np.floor((radius - displacements[0]) / spacing)) + 1)
        if first < last:
            intervals.append((slice(first, last), displacements[first:last]))
    return intervals
