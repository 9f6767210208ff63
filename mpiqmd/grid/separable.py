"""Operators that are diagonal in a product of three 1-D bases.

On an orthogonal cell every translation-invariant or Laplacian-like operator here has the form

    A = (Wz ⊗ Wy ⊗ Wx)^T diag(g) (Wz ⊗ Wy ⊗ Wx)

with small 1-D matrices W of shape (modes, points): eigenvectors of the 1-D stencil, or a real Fourier basis.  Six matrix
products apply it, between which ranks exchange the block (:mod:`mpiqmd.grid.pencils`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mpiqmd.grid.grid import Grid
from mpiqmd.grid.pencils import Pencils


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
        self.pencils = Pencils(grid, (len(bases[0]), len(bases[1]), len(bases[2])))
        self.own_modes = self.pencils.own_modes
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
        z, y, _ = self.bases
        return self.pencils.forward(work @ self.transposed[2], partial(np.matmul, y), partial(along_z, z))

    def backward(self, work: np.ndarray) -> np.ndarray:
        """Return the local block of ``W^T c`` for this rank's part of the mode box.  Collective.

        c has shape (n, z, y, x) of this rank's modes, ``W^T c`` of its points; W is without unit.
        """
        z, y, _ = self.transposed
        return self.pencils.backward(work, partial(np.matmul, y), partial(along_z, z)) @ self.bases[2]


def along_z(matrix: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Return the product of a matrix (modes, z), without unit, with the z axis of a block (n, z, y, x).  Not collective.

    Shape (n, modes, y, x), in the unit of the block.
    """
    n, n_z, n_y, n_x = block.shape
    return np.matmul(matrix, block.reshape(n, n_z, n_y * n_x)).reshape(n, len(matrix), n_y, n_x)


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
