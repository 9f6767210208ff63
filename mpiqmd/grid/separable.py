"""Operators that are diagonal in a product of three 1-D bases.

On an orthogonal cell every translation-invariant or Laplacian-like operator here has the form

    A = (Wz ⊗ Wy ⊗ Wx)^T diag(g) (Wz ⊗ Wy ⊗ Wx)

with small 1-D matrices W of shape (modes, points): eigenvectors of the 1-D stencil, a real Fourier basis, or a
zero-padded one for convolutions in free space.  Six matrix products apply it; on several ranks the block is exchanged
once per distributed axis each way, so that the axis being transformed is always whole (pencils).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mpiqmd.grid.grid import Grid


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
        self.swap_xy = AxisTrade(comm_y, len(bases[2]), grid.counts[1], split_axis=3, join_axis=2)
        self.swap_yz = AxisTrade(comm_z, len(bases[1]), grid.counts[0], split_axis=2, join_axis=1)
        self.own_modes = (slice(0, len(bases[0])), self.swap_yz.own, self.swap_xy.own)
        self.diagonal_local = np.ascontiguousarray(diagonal(*self.own_modes), dtype=dtype)

    def apply(self, block_local: np.ndarray) -> np.ndarray:
        """Return ``A f`` for a local block ``(n, z, y, x)``, in its own precision.  Collective."""
        work = self.forward(np.asarray(block_local, dtype=self.dtype))
        work *= self.diagonal_local
        return np.asarray(self.backward(work), dtype=np.float64)

    def forward(self, work: np.ndarray) -> np.ndarray:
        """Return ``W f`` on this rank's part of the mode box, ``own_modes``.  Collective."""
        work = work @ self.transposed[2]
        work = self.swap_xy.forward(work)
        work = np.matmul(self.bases[1], work)
        work = self.swap_yz.forward(work)
        return along_z(self.bases[0], work)

    def backward(self, work: np.ndarray) -> np.ndarray:
        """Return the local block of ``W^T c`` for this rank's part of the mode box.  Collective."""
        work = along_z(self.transposed[0], work)
        work = self.swap_yz.backward(work)
        work = np.matmul(self.transposed[1], work)
        work = self.swap_xy.backward(work)
        return work @ self.bases[2]


def along_z(matrix: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return the product of a matrix with the z axis of a block (n, z, y, x).  Not collective."""
    n, n_z, n_y, n_x = block.shape
    return np.matmul(matrix, block.reshape(n, n_z, n_y * n_x)).reshape(n, len(matrix), n_y, n_x)


class AxisTrade:
    """Trade one axis for another inside an axis communicator: split the first, join the pieces of the second."""

    def __init__(self, comm: MPI.Comm, n_split: int, join_counts: np.ndarray, split_axis: int, join_axis: int) -> None:
        self.comm = comm
        self.split_axis, self.join_axis = split_axis, join_axis
        self.join_offsets = np.concatenate([[0], np.cumsum(join_counts)])
        share = np.full(comm.size, n_split // comm.size)
        share[: n_split % comm.size] += 1
        self.split_offsets = np.concatenate([[0], np.cumsum(share)])
        self.own = slice(int(self.split_offsets[comm.rank]), int(self.split_offsets[comm.rank + 1]))

    def forward(self, block: np.ndarray) -> np.ndarray:
        """Make the joined axis whole and the split axis distributed.  Collective over the axis."""
        return self._trade(block, self.split_axis, self.split_offsets, self.join_axis, self.join_offsets)

    def backward(self, block: np.ndarray) -> np.ndarray:
        """Undo :meth:`forward`.  Collective over the axis."""
        return self._trade(block, self.join_axis, self.join_offsets, self.split_axis, self.split_offsets)

    def _trade(
        self, block: np.ndarray, out_axis: int, out_offsets: np.ndarray, in_axis: int, in_offsets: np.ndarray
    ) -> np.ndarray:
        comm = self.comm
        if comm.size == 1:
            return block
        pieces = np.split(block, out_offsets[1:-1], axis=out_axis)
        send = np.concatenate([piece.ravel() for piece in pieces])
        shape = list(block.shape)
        shape[out_axis] = int(out_offsets[comm.rank + 1] - out_offsets[comm.rank])
        shapes = [
            tuple(int(extent) if axis == in_axis else length for axis, length in enumerate(shape))
            for extent in np.diff(in_offsets)
        ]
        counts = [int(np.prod(piece)) for piece in shapes]
        receive = np.empty(sum(counts), dtype=block.dtype)
        comm.Alltoallv([send, [piece.size for piece in pieces]], [receive, counts])
        parts = np.split(receive, np.cumsum(counts)[:-1])
        joined = [part.reshape(piece) for part, piece in zip(parts, shapes, strict=True)]
        return np.ascontiguousarray(np.concatenate(joined, axis=in_axis))


def fourier_basis(n: int, n_points: int | None = None) -> np.ndarray:
    """Return the orthonormal real Fourier basis on n periodic points, restricted to the first ``n_points``.

    Rows are ordered by wave number: constant, then cosine and sine of 1, 2, ..., and (even n) the Nyquist cosine; see
    :func:`wave_numbers`.  Shape (n, n_points).  Not collective.
    """
    points = np.arange(n if n_points is None else n_points)
    basis = np.empty((n, len(points)))
    for row, wave in enumerate(wave_numbers(n)):
        phase = 2.0 * np.pi * wave * points / n
        basis[row] = np.cos(phase) if row == 0 or row % 2 == 1 else np.sin(phase)
        basis[row] *= np.sqrt((1.0 if wave == 0 or 2 * wave == n else 2.0) / n)
    return basis


def wave_numbers(n: int) -> np.ndarray:
    """Return the integer wave number of each row of :func:`fourier_basis`.  Not collective."""
    return (np.arange(n) + 1) // 2
