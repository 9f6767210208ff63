"""Operators that are diagonal in a product of three 1-D bases.

On an orthogonal cell every translation-invariant or Laplacian-like operator here has the form

    A = (Wz ⊗ Wy ⊗ Wx)^T diag(g) (Wz ⊗ Wy ⊗ Wx)

with small 1-D matrices W of shape (modes, points): eigenvectors of the 1-D stencil, a real Fourier basis, or a
zero-padded one for convolutions in free space.  Six matrix products apply it; on several ranks the block is exchanged
once per distributed axis each way, so that the axis being transformed is always whole (pencils).  Where x has modes enough
for all ranks, both exchanges come before y and z are transformed: padding has then doubled one axis only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mpiqmd.grid.grid import Grid

MODES_EACH = 4
"""Modes of x that every rank must get for both exchanges to split them; fewer would be shared too unevenly."""


class SeparableOperator:
    """``A = W^T diag(g) W`` with ``W = Wz ⊗ Wy ⊗ Wx``, applied to blocks of functions.

    Construction is not collective.

    Parameters
    ----------
    grid
        The grid the functions live on.
    bases
        The 1-D matrices (Wz, Wy, Wx), each of shape (modes, points of that axis).
    diagonal
        ``diagonal(kz_slice, ky_slice, kx_slice)`` returns g on that part of the mode box, shape (modes z, y, x).
    dtype
        Working precision; float32 halves the cost of a preconditioner.
    """

    def __init__(
        self,
        grid: Grid,
        bases: tuple[np.ndarray, np.ndarray, np.ndarray],
        diagonal: Callable[[slice, slice, slice], np.ndarray],
        dtype: type = np.float64,
    ) -> None:
        self.grid = grid
        self.dtype = dtype
        self.bases = [np.ascontiguousarray(basis, dtype=dtype) for basis in bases]
        self.transposed = [np.ascontiguousarray(basis.T, dtype=dtype) for basis in bases]
        comm_z, comm_y, _ = grid.axis_comms
        n_z, n_y, n_x = map(len, bases)
        self.join_y = AxisTrade(comm_y, n_x, grid.counts[1], split_axis=3, join_axis=2)
        own_x, self.splits_x_only = self.join_y.own, n_x >= MODES_EACH * comm_y.size * comm_z.size
        if self.splits_x_only:
            self.join_z = AxisTrade(comm_z, own_x.stop - own_x.start, grid.counts[0], split_axis=3, join_axis=1)
            share = self.join_z.own
            self.own_modes = (slice(0, n_z), slice(0, n_y), slice(own_x.start + share.start, own_x.start + share.stop))
        else:
            self.join_z = AxisTrade(comm_z, n_y, grid.counts[0], split_axis=2, join_axis=1)
            self.own_modes = (slice(0, n_z), self.join_z.own, own_x)
        self.diagonal_local = np.ascontiguousarray(diagonal(*self.own_modes), dtype=dtype)

    def apply(self, block_local: np.ndarray) -> np.ndarray:
        """Return ``A f``, in the unit of g f, for a local block (n, z, y, x), in the operator's precision.  Collective."""
        work = self.forward(np.asarray(block_local, dtype=self.dtype))
        work *= self.diagonal_local
        return np.asarray(self.backward(work), dtype=np.float64)

    def forward(self, work: np.ndarray) -> np.ndarray:
        """Return ``W f`` on this rank's part of the mode box, ``own_modes``.  Collective.

        f has shape (n, z, y, x) of this rank's points, ``W f`` of its modes; W is without unit.
        """
        work = self.join_y.forward(work @ self.transposed[2])
        if self.splits_x_only:
            return along_z(self.bases[0], np.matmul(self.bases[1], self.join_z.forward(work)))
        return along_z(self.bases[0], self.join_z.forward(np.matmul(self.bases[1], work)))

    def backward(self, work: np.ndarray) -> np.ndarray:
        """Return the local block of ``W^T c`` for this rank's part of the mode box.  Collective.

        c has shape (n, z, y, x) of this rank's modes, ``W^T c`` of its points; W is without unit.
        """
        work = along_z(self.transposed[0], work)
        if self.splits_x_only:
            work = self.join_z.backward(np.matmul(self.transposed[1], work))
        else:
            work = np.matmul(self.transposed[1], self.join_z.backward(work))
        return self.join_y.backward(work) @ self.bases[2]


def along_z(matrix: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return the product of a matrix (modes, z), without unit, with the z axis of a block (n, z, y, x).  Not collective.

    Shape (n, modes, y, x), in the unit of the block.
    """
    n, n_z, n_y, n_x = block.shape
    return np.matmul(matrix, block.reshape(n, n_z, n_y * n_x)).reshape(n, len(matrix), n_y, n_x)


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


def fourier_basis(n: int, n_points: int | None = None) -> np.ndarray:
    """Return the orthonormal real Fourier basis on n periodic points, restricted to the first ``n_points``.

    Rows are ordered by wave number: constant, then cosine and sine of 1, 2, ..., and (even n) the Nyquist cosine; see
    :func:`wave_numbers`.  Shape (n, n_points), without unit.  Not collective.
    """
    points = np.arange(n if n_points is None else n_points)
    basis = np.empty((n, len(points)))
    for row, wave in enumerate(wave_numbers(n)):
        phase = 2.0 * np.pi * wave * points / n
        basis[row] = np.cos(phase) if row == 0 or row % 2 == 1 else np.sin(phase)
        basis[row] *= np.sqrt((1.0 if wave == 0 or 2 * wave == n else 2.0) / n)
    return basis


def wave_numbers(n: int) -> np.ndarray:
    """Return the integer wave number of each row of :func:`fourier_basis`, shape (n,).  Not collective."""
    return (np.arange(n) + 1) // 2
