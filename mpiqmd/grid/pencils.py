"""Blocks of functions exchanged between ranks so that the axis to be transformed is whole: pencils.

x is whole as the grid has it.  The block is exchanged once per distributed axis each way.  Where x has modes enough for all
ranks, both exchanges come before y and z are transformed: padding has then doubled one axis only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mpiqmd.grid.grid import Grid

MODES_EACH = 4
"""Modes of x that every rank must get for both exchanges to split them; fewer would be shared too unevenly."""

Transform = Callable[[np.ndarray], np.ndarray]
"""From a block (n, z, y, x) to one with another length of one axis."""


class Pencils:
    """The exchanges between transforms of three axes.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid the functions live on.
    n_modes
        Modes along z, y and x.

    Attributes
    ----------
    own_modes
        This rank's part of the mode box, slices along z, y and x.
    """

    def __init__(self, grid: Grid, n_modes: tuple[int, int, int]) -> None:
        comm_z, comm_y, _ = grid.axis_comms
        n_z, n_y, n_x = n_modes
        self.join_y = AxisTrade(comm_y, n_x, grid.counts[1], split_axis=3, join_axis=2)
        own_x, self.splits_x_only = self.join_y.own, n_x >= MODES_EACH * comm_y.size * comm_z.size
        if self.splits_x_only:
            self.join_z = AxisTrade(comm_z, own_x.stop - own_x.start, grid.counts[0], split_axis=3, join_axis=1)
            share = self.join_z.own
            self.own_modes = (slice(0, n_z), slice(0, n_y), slice(own_x.start + share.start, own_x.start + share.stop))
        else:
            self.join_z = AxisTrade(comm_z, n_y, grid.counts[0], split_axis=2, join_axis=1)
            self.own_modes = (slice(0, n_z), self.join_z.own, own_x)

    def forward(self, work: np.ndarray, along_y: Transform, along_z: Transform) -> np.ndarray:
        """Return what transforms make of a block of shape (n, z, y, modes of x), in its unit: the own modes.  Collective."""
        work = self.join_y.forward(work)
        if self.splits_x_only:
            return along_z(along_y(self.join_z.forward(work)))
        return along_z(self.join_z.forward(along_y(work)))

    def backward(self, work: np.ndarray, along_y: Transform, along_z: Transform) -> np.ndarray:
        """Return what transforms make of this rank's modes: of shape (n, z, y, modes of x), in their unit.  Collective."""
        work = along_z(work)
        work = self.join_z.backward(along_y(work)) if self.splits_x_only else along_y(self.join_z.backward(work))
        return self.join_y.backward(work)


class AxisTrade:
    """Trade one axis for another inside an axis communicator: split the first, join the pieces of the second.

    Construction is not collective.

    Parameters
    ----------
    comm
        The ranks along the joined axis.
    n_split
        Length of the axis to be split, in shares as equal as they can be.
    join_counts
        Each rank's length of the axis to be joined, shape (ranks,).
    split_axis, join_axis
        Axes of a block (n, z, y, x).

    Attributes
    ----------
    own
        This rank's share of the split axis.
    """

    def __init__(self, comm: MPI.Comm, n_split: int, join_counts: np.ndarray, split_axis: int, join_axis: int) -> None:
        self.comm = comm
        self.split_axis, self.join_axis = split_axis, join_axis
        self.join_offsets = np.concatenate([[0], np.cumsum(join_counts)])
        share = np.full(comm.size, n_split // comm.size)
        share[: n_split % comm.size] += 1
        self.split_offsets = np.concatenate([[0], np.cumsum(share)])
        self.own = slice(int(self.split_offsets[comm.rank]), int(self.split_offsets[comm.rank + 1]))

    def forward(self, block: np.ndarray) -> np.ndarray:
        """Return a block with the joined axis whole and the split axis distributed.  Collective over the axis.

        Shape (n, z, y, x) before and after, in any unit.
        """
        return self._trade(block, self.split_axis, self.split_offsets, self.join_axis, self.join_offsets)

    def backward(self, block: np.ndarray) -> np.ndarray:
        """Return what :meth:`forward` was given, shape (n, z, y, x), in its unit.  Collective over the axis."""
        return self._trade(block, self.join_axis, self.join_offsets, self.split_axis, self.split_offsets)

    def _trade(
        self, block: np.ndarray, out_axis: int, out_offsets: np.ndarray, in_axis: int, in_offsets: np.ndarray
    ) -> np.ndarray:
        """Return the block with ``out_axis`` split at its offsets and ``in_axis`` joined.  Collective over the axis."""
        comm = self.comm
        if comm.size == 1:
            return block
        pieces = np.split(block, out_offsets[1:-1], axis=out_axis)
        shape = list(block.shape)
        shape[out_axis] = int(out_offsets[comm.rank + 1] - out_offsets[comm.rank])
        shape[in_axis] = int(in_offsets[-1])
        joined = np.empty(shape, block.dtype)
        targets = np.split(joined, in_offsets[1:-1], axis=in_axis)
        # what stays on this rank goes straight to its place while the rest travels
        stays = np.arange(comm.size) == comm.rank
        counts_out = [0 if own else piece.size for own, piece in zip(stays, pieces, strict=True)]
        counts_in = [0 if own else target.size for own, target in zip(stays, targets, strict=True)]
        send, receive = np.empty(sum(counts_out), block.dtype), np.empty(sum(counts_in), block.dtype)
        for own, piece, part in zip(stays, pieces, _parts(send, counts_out), strict=True):
            if not own:
                part.reshape(piece.shape)[...] = piece
        requests = [comm.Ialltoallv([send, counts_out], [receive, counts_in])]
        targets[comm.rank][...] = pieces[comm.rank]
        MPI.Request.Waitall(requests)
        for own, target, part in zip(stays, targets, _parts(receive, counts_in), strict=True):
            if not own:
                target[...] = part.reshape(target.shape)
        return joined


def _parts(buffer: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    """Return consecutive parts of a buffer as views."""
    return np.split(buffer, np.cumsum(counts)[:-1])
