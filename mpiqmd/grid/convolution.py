"""Convolutions in free space with a kernel that is even along every axis, by fast Fourier transforms of padded axes.

With F the discrete Fourier transform of functions continued by zeros to a period of twice the points of an axis, at least,

    (g * f)(r) = Σ_r' g(r - r') f(r') = F^-1 (ĝ F f)

without images: differences inside the cell never reach round the period, which is otherwise the smallest one whose transform
is fast.  Functions are real: of x there are half the modes.  Between the axes ranks exchange the block
(:mod:`mpiqmd.grid.pencils`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.fft import fft, ifft, irfft, next_fast_len, rfft

from mpiqmd.grid.grid import Grid
from mpiqmd.grid.pencils import Pencils


class Convolution:
    """``f -> g * f`` for blocks of functions on a grid.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid the functions live on.
    kernel
        ``kernel(kz, ky, kx)`` returns ĝ at these wave numbers of the period, integers (z,), (y,) and (x,) from 0 to half of it;
        shape (z, y, x), in the unit of g times a volume.
    """

    def __init__(self, grid: Grid, kernel: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.grid, self.periods = grid, [period(n) for n in grid.shape]
        n_z, n_y, n_x = self.periods
        self.pencils = Pencils(grid, (n_z, n_y, n_x // 2 + 1))
        z, y, x = self.pencils.own_modes
        modes_z, modes_y = (np.minimum(np.arange(n), n - np.arange(n)) for n in (n_z, n_y))
        self.kernel_local = kernel(modes_z[z], modes_y[y], np.arange(n_x // 2 + 1)[x])

    def apply(self, block_local: np.ndarray) -> np.ndarray:
        """Return ``g * f``, in the unit of ĝ f, for a local block (n, z, y, x), one function after the other.  Collective."""
        result = np.empty(block_local.shape)
        for index in range(len(block_local)):
            result[index] = self._applied(block_local[index : index + 1])[0]
        return result

    def _applied(self, block_local: np.ndarray) -> np.ndarray:
        (n_z, n_y, n_x), (own_z, own_y, own_x) = self.periods, self.grid.shape
        into_z, into_y = (partial(fft, n=n, axis=axis, overwrite_x=True) for n, axis in ((n_z, 1), (n_y, 2)))
        work = self.pencils.forward(rfft(block_local, n=n_x, axis=3), into_y, into_z)
        work *= self.kernel_local
        from_z, from_y = partial(_within, axis=1, count=own_z), partial(_within, axis=2, count=own_y)
        return irfft(self.pencils.backward(work, from_y, from_z), n=n_x, axis=3)[..., :own_x]


def period(n: int) -> int:
    """Return the even period that the n points of an axis are continued to.  Not collective."""
    return 2 * next_fast_len(n, real=True)


def _within(work: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Return the inverse transform of an axis at the points that are there."""
    points = [slice(None)] * work.ndim
    points[axis] = slice(0, count)
    return np.asarray(ifft(work, axis=axis, overwrite_x=True)[tuple(points)])
