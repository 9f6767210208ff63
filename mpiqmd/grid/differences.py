"""Finite differences along the axes of a block of functions, on any number of ranks.

The Laplacian is one compiled pass over each function with its surroundings, the potential included.  A first derivative
acts along one axis as a small dense matrix, at the speed of BLAS for any order.  Either way the planes that neighbours
need of all functions travel in one message while the rank's own part is computed, and their contribution to the outermost
planes is added when they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from mpiqmd.grid import stencils
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.kernels import star_stencil


@dataclass
class Exchange:
    """Planes on their way: those before and after the rank's own, and the messages with what they read from."""

    before: np.ndarray
    after: np.ndarray
    requests: list[MPI.Request]
    sent: tuple[np.ndarray, np.ndarray]


class AxisOperator:
    """A 1-D stencil applied along one array axis of blocks shaped ``(n, z, y, x)``.

    Parameters
    ----------
    grid
        The grid.
    axis
        Array axis: 0 is z, 1 is y, 2 is x.
    weights
        Stencil weights on a unit grid at offsets ``-w..w``.
    power
        Power of the spacing to divide by (1 for a first, 2 for a second derivative).
    """

    def __init__(self, grid: Grid, axis: int, weights: list, power: int) -> None:
        self.grid, self.axis = grid, axis
        scale = float(grid.spacing_v[2 - axis]) ** -power
        comm = grid.axis_comms[axis]
        self.is_split = comm is not None and comm.size > 1
        if comm is None or not self.is_split:
            self.own = stencils.matrix(weights, scale, grid.shape[axis], grid.is_periodic)
            return
        self.comm, self.width = comm, len(weights) // 2
        self._cut([float(weight) * scale for weight in weights])
        self.previous, self.next = self._neighbours()

    def _cut(self, weights: list[float]) -> None:
        """Cut this rank's rows of the stencil's matrix into what acts on its own planes and on its neighbours'."""
        width, n_local = self.width, self.grid.local_shape[self.axis]
        extended = np.zeros((n_local, n_local + 2 * width))
        for row in range(n_local):
            extended[row, row : row + 2 * width + 1] = weights
        self.own = np.ascontiguousarray(extended[:, width:-width])
        self.before = np.ascontiguousarray(extended[:width, :width])
        self.after = np.ascontiguousarray(extended[-width:, -width:])

    def _neighbours(self) -> tuple[int, int]:
        """Return the ranks before and after this one along the axis, none beyond a wall."""
        rank, size, wrap = self.comm.rank, self.comm.size, self.grid.is_periodic
        start, n_local = self.grid.start[self.axis], self.grid.local_shape[self.axis]
        before = (rank - 1) % size if wrap or start > 0 else MPI.PROC_NULL
        after = (rank + 1) % size if wrap or start + n_local < self.grid.shape[self.axis] else MPI.PROC_NULL
        return before, after

    def add_to(self, result_local: np.ndarray, block_local: np.ndarray, scratch: np.ndarray) -> None:
        """Add the differentiated block to ``result_local``.  Collective over the axis."""
        exchange = self.start_exchange(block_local)
        _multiply(self.own, block_local, self.axis, scratch)
        result_local += scratch
        self.finish_exchange(exchange, result_local)

    def finish_exchange(self, exchange: Exchange | None, result_local: np.ndarray, scale: float = 1.0) -> None:
        """Add what the neighbours' planes contribute, times ``scale``.  Collective over the axis."""
        if exchange is None:
            return
        MPI.Request.Waitall(exchange.requests)
        ends = (self.before, exchange.before, slice(0, self.width)), (self.after, exchange.after, slice(-self.width, None))
        for matrix, halo, part in ends:
            contribution = np.empty_like(halo)
            _multiply(scale * matrix, halo, self.axis, contribution)
            result_local[(slice(None),) * (self.axis + 1) + (part,)] += contribution

    def start_exchange(self, block_local: np.ndarray) -> Exchange | None:
        """Post the exchange of the outermost planes with both neighbours; zeros come from beyond a wall."""
        if not self.is_split:
            return None
        axis = self.axis + 1
        first, last = [slice(None)] * 4, [slice(None)] * 4
        first[axis], last[axis] = slice(0, self.width), slice(-self.width, None)
        send_first = np.ascontiguousarray(block_local[tuple(first)])
        send_last = np.ascontiguousarray(block_local[tuple(last)])
        before, after = np.zeros_like(send_last), np.zeros_like(send_first)
        requests = [
            self.comm.Irecv(before, self.previous, tag=1),
            self.comm.Irecv(after, self.next, tag=2),
            self.comm.Isend(send_last, self.next, tag=1),
            self.comm.Isend(send_first, self.previous, tag=2),
        ]
        return Exchange(before, after, requests, (send_first, send_last))


def _multiply(matrix: np.ndarray, block: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Contract ``matrix`` with one spatial axis of ``block`` (n, z, y, x) into ``out``."""
    if axis == 2:
        np.matmul(block.reshape(-1, block.shape[3]), matrix.T, out=out.reshape(-1, out.shape[3]))
    elif axis == 1:
        np.matmul(matrix, block, out=out)
    else:
        n = len(block)
        np.matmul(matrix, block.reshape(n, block.shape[1], -1), out=out.reshape(n, out.shape[1], -1))


class Laplacian:
    """``∇²`` of a block of functions by central differences of the grid's order."""

    def __init__(self, grid: Grid) -> None:
        self.grid, self.width = grid, grid.order // 2
        weights = stencils.second_derivative(grid.order)
        self.axes = [AxisOperator(grid, axis, weights, 2) for axis in range(3)]
        inverse_squares = grid.spacing_v**-2.0
        self._centre = float(weights[self.width]) * float(inverse_squares.sum())
        self._weights_vk = np.outer(inverse_squares, [float(weight) for weight in weights[self.width + 1 :]])
        self._padded = np.zeros([n + 2 * self.width for n in grid.local_shape])
        self._nothing = np.zeros(grid.local_shape)
        self._stencil = star_stencil(self.width)

    def apply(
        self,
        orbitals: Orbitals,
        out: np.ndarray | None = None,
        scale: float = 1.0,
        potential: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return (in ``out`` if given) ``scale ∇²φ_i + v φ_i`` as a local block of shape (n, z, y, x).  Collective.

        ``potential`` is the local part of v, left out if None.  With ``scale`` -1/2 and v in Ha the result is in Ha times the
        unit of φ.
        """
        block = orbitals.local
        result = np.empty_like(block) if out is None else out
        exchanges = [axis.start_exchange(block) for axis in self.axes]
        weights_vk = scale * self._weights_vk
        values = self._nothing if potential is None else potential
        for function, target in zip(block, result, strict=True):
            self._pad(function)
            self._stencil(self._padded.reshape(-1), scale * self._centre, weights_vk, values, target)
        for axis, exchange in zip(self.axes, exchanges, strict=True):
            axis.finish_exchange(exchange, result, scale)
        return result

    def _pad(self, function: np.ndarray) -> None:
        """Put a function into the padded buffer; around it are zeros, or its own other end where the cell wraps."""
        w, padded = self.width, self._padded
        padded[w:-w, w:-w, w:-w] = function
        if not self.grid.is_periodic:
            return
        for axis, operator in enumerate(self.axes):
            if not operator.is_split:
                view = np.moveaxis(padded, axis, 0)
                n = len(view) - 2 * w
                view[:w], view[n + w :] = view[w + np.arange(-w, 0) % n], view[w + np.arange(n, n + w) % n]


class Gradient:
    """``∇f`` of a field by central differences, and its negative adjoint ``∇·``."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        weights = stencils.first_derivative(grid.order)
        self.axes = [AxisOperator(grid, axis, weights, 1) for axis in range(3)]
        self._scratch = np.empty((1, *grid.local_shape))

    def apply(self, field: Field) -> np.ndarray:
        """Return the local block of ``(∂x f, ∂y f, ∂z f)``, shape (3, z, y, x), in the unit of f per bohr.  Collective."""
        result = np.zeros((3, *self.grid.local_shape))
        for direction in range(3):
            self.axes[2 - direction].add_to(result[direction : direction + 1], field.local[None], self._scratch)
        return result

    def divergence(self, vector_local: np.ndarray) -> np.ndarray:
        """Return the local block of ``∇·v``, shape (z, y, x), in the unit of v per bohr; v has shape (3, z, y, x).  Collective.

        The stencils are antisymmetric, so this is exactly minus the adjoint of :meth:`apply`.
        """
        result = np.zeros((1, *self.grid.local_shape))
        for direction in range(3):
            piece = np.ascontiguousarray(vector_local[direction : direction + 1])
            self.axes[2 - direction].add_to(result, piece, self._scratch)
        return result[0]
