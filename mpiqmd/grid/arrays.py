"""Distributed functions: one (:class:`Field`) or a block of them (:class:`Orbitals`).

Both are opaque to NumPy: ``.local`` is this rank's piece, and replicated numbers come only from the collective verbs.
The volume element lives inside the verbs, so orthonormal orbitals have the identity as their Gram matrix.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import replicate, sum_over_ranks


class Field:
    """One real function on a grid.

    Parameters
    ----------
    grid
        The grid it lives on.
    local
        This rank's block, shape ``grid.local_shape`` (z, y, x); zeros if not given.  Kept, not copied.
    """

    def __init__(self, grid: Grid, local: np.ndarray | None = None) -> None:
        self.grid = grid
        self.local = np.zeros(grid.local_shape) if local is None else local

    def __bool__(self) -> bool:
        raise TypeError("a Field has no truth value: it is distributed")

    def copy(self) -> Field:
        """Return an independent copy.  Not collective."""
        return Field(self.grid, self.local.copy())

    def integrate(self) -> float:
        """Return ``∫ f(r) dr``.  Collective."""
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, float(self.local.sum()))

    def inner(self, other: Field) -> float:
        """Return ``∫ f(r) g(r) dr``.  Collective."""
        local = float(np.vdot(self.local, other.local))
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, local)

    def norm(self) -> float:
        """Return ``(∫ f² dr)^1/2``.  Collective."""
        return self.inner(self) ** 0.5

    def gather(self) -> np.ndarray | None:
        """Return the whole function in its own unit, shape ``grid.shape``, on rank 0 and None elsewhere.  Collective."""
        whole = _gather(self.grid, self.local[None])
        return None if whole is None else whole[0]


class Orbitals:
    """A block of n real functions on a grid: orbitals, snapshots or modes.

    Parameters
    ----------
    grid
        The grid they live on.
    local
        This rank's contiguous block, shape ``(n, *grid.local_shape)``.  Kept, not copied.
    """

    def __init__(self, grid: Grid, local: np.ndarray) -> None:
        self.grid = grid
        self.local = np.ascontiguousarray(local)

    @classmethod
    def zeros(cls, grid: Grid, n: int) -> Orbitals:
        """Return n zero functions.  Not collective."""
        return cls(grid, np.zeros((n, *grid.local_shape)))

    def __len__(self) -> int:
        return len(self.local)

    def __bool__(self) -> bool:
        raise TypeError("Orbitals have no truth value: they are distributed")

    @property
    def matrix_local(self) -> np.ndarray:
        """This rank's block as a view of shape ``(n, local_size)``, in the unit of the functions (orbitals: bohr^-3/2)."""
        # said in full: the size of a block of no functions tells nothing
        return self.local.reshape(len(self.local), self.grid.local_size)

    def copy(self) -> Orbitals:
        """Return an independent copy.  Not collective."""
        return Orbitals(self.grid, self.local.copy())

    def select(self, indices: slice | list[int]) -> Orbitals:
        """Return some of the functions (a view for a slice).  Not collective."""
        return Orbitals(self.grid, self.local[indices])

    def gather_everywhere(self) -> np.ndarray:
        """Return the whole block in its own unit, shape ``(n, *grid.shape)``, on every rank: for restarts only.  Collective."""
        whole = _gather(self.grid, self.local)
        if whole is None:
            whole = np.empty((len(self), *self.grid.shape))
        return replicate(self.grid.comm, whole)

    def gram(self, other: Orbitals | None = None) -> np.ndarray:
        """Return ``G_ij = ∫ φ_i χ_j dr``, shape ``(n, m)``; with itself if ``other`` is None.  Collective.

        Between orbitals it is without unit.
        """
        right = self if other is None else other
        local = self.matrix_local @ right.matrix_local.T
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, local)

    def norms(self) -> np.ndarray:
        """Return the norms ``(∫ φ_i² dr)^1/2``, shape (n,), without unit for orbitals.  Collective."""
        local = np.einsum("ij,ij->i", self.matrix_local, self.matrix_local)
        return np.sqrt(self.grid.volume_element * sum_over_ranks(self.grid.comm, local))

    def combine(self, coefficients_nm: np.ndarray) -> Orbitals:
        """Return the m functions ``χ_j = Σ_i φ_i C_ij``.  Not collective."""
        result = np.ascontiguousarray(coefficients_nm.T) @ self.matrix_local
        return Orbitals(self.grid, result.reshape(-1, *self.grid.local_shape))

    def rotate(self, rotation_nn: np.ndarray, block: int = 8192) -> None:
        """Replace the functions by ``χ_j = Σ_i φ_i U_ij``, as many, in their own memory.  Not collective."""
        flat, turned_nn = self.matrix_local, np.ascontiguousarray(rotation_nn.T)
        for start in range(0, flat.shape[1], block):
            flat[:, start : start + block] = turned_nn @ flat[:, start : start + block]

    def density(self, weights_n: np.ndarray) -> Field:
        """Return ``ρ(r) = Σ_i w_i φ_i(r)²``.  Not collective."""
        flat = np.einsum("i,ij,ij->j", weights_n, self.matrix_local, self.matrix_local)
        return Field(self.grid, flat.reshape(self.grid.local_shape))

    def matrix_elements(self, potential: Field, block: int = 8192) -> np.ndarray:
        """Return ``V_ij = ∫ φ_i v φ_j dr``, symmetric, shape (n, n), in the unit of v, by cache-sized blocks.  Collective."""
        flat, v = self.matrix_local, potential.local.ravel()
        local = np.zeros((len(flat), len(flat)))
        for start in range(0, v.size, block):
            piece = flat[:, start : start + block]
            local += (piece * v[start : start + block]) @ piece.T
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, 0.5 * (local + local.T))


def _gather(grid: Grid, block_local: np.ndarray) -> np.ndarray | None:
    """Return a block on the whole grid on rank 0, None elsewhere.  Collective."""
    pieces = grid.comm.gather((grid.local_slices, block_local), root=0)
    if pieces is None:
        return None
    whole = np.empty((len(block_local), *grid.shape))
    for slices, piece in pieces:
        whole[(slice(None), *slices)] = piece
    return whole
