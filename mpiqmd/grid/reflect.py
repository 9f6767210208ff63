"""Mirror images of functions through the planes of the cell's centre, exact on the grid.

An isolated grid is symmetric about the origin: of its n points the i-th goes to n - 1 - i.  The i-th point of a periodic
one, at ``-L/2 + i h``, goes to (n - i) mod n.  No interpolation either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid


def reflect(orbitals: Orbitals, signs_v: Sequence[int]) -> Orbitals:
    """Return ``φ_i(s_x x, s_y y, s_z z)`` for signs of +1 or -1.  Collective.

    Raises ValueError for other signs.
    """
    signs = [int(sign) for sign in signs_v]
    if len(signs) != 3 or any(sign not in (-1, 1) for sign in signs):
        raise ValueError(f"mirror signs {signs}: three numbers are needed, each +1 or -1.")
    block = orbitals.local
    for axis in range(3):
        if signs[2 - axis] < 0:
            block = _reverse(orbitals.grid, block, axis)
    return Orbitals(orbitals.grid, block.copy() if block is orbitals.local else block)


def mirror_images(grid: Grid, axis: int) -> np.ndarray:
    """Return the index of every point's mirror image along an array axis (0 is z), shape (points,).  Not collective."""
    n = grid.shape[axis]
    return (n - np.arange(n)) % n if grid.is_periodic else np.arange(n)[::-1]


def _reverse(grid: Grid, block: np.ndarray, axis: int) -> np.ndarray:
    """Reverse one axis of a local block (n, z, y, x), trading planes within the axis where it is split."""
    images = mirror_images(grid, axis)
    comm = grid.axis_comms[axis]
    if comm is None or comm.size == 1:
        return np.ascontiguousarray(np.take(block, images, axis=axis + 1))
    offsets = np.concatenate([[0], np.cumsum(grid.counts[axis])])
    start, stop = int(offsets[comm.rank]), int(offsets[comm.rank + 1])
    own = images[start:stop]
    planes = np.moveaxis(block, axis + 1, 0)
    outgoing, arriving = [], []
    for rank in range(comm.size):
        theirs = (own >= offsets[rank]) & (own < offsets[rank + 1])
        # Planes are sent in the order in which the receiver, counting up its own planes, expects them.
        leaving = np.flatnonzero(theirs)
        outgoing.append(leaving[np.argsort(own[leaving])])
        arriving.append(np.flatnonzero(theirs))
    received = _trade_planes(comm, planes, outgoing, arriving)
    result = np.empty_like(planes, order="C")
    for where, pieces in zip(arriving, received, strict=True):
        result[where] = pieces
    return np.ascontiguousarray(np.moveaxis(result, 0, axis + 1))


def _trade_planes(
    comm: MPI.Comm, planes: np.ndarray, outgoing: list[np.ndarray], arriving: list[np.ndarray]
) -> list[np.ndarray]:
    """Send ``planes[outgoing[rank]]`` to each rank; return the ``len(arriving[rank])`` planes each sent."""
    size = int(np.prod(planes.shape[1:]))
    send = np.concatenate([planes[where].ravel() for where in outgoing])
    receive = np.empty(sum(len(where) for where in arriving) * size)
    comm.Alltoallv([send, [len(w) * size for w in outgoing]], [receive, [len(w) * size for w in arriving]])
    parts = np.split(receive, np.cumsum([len(where) * size for where in arriving])[:-1])
    return [part.reshape(-1, *planes.shape[1:]) for part in parts]
