"""Replicated dense linear algebra: solved on rank 0, broadcast, hence bitwise equal on every rank."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from mpiqmd.errors import AccuracyError
from mpiqmd.parallel.comm import decide, replicate


def eigh(comm: MPI.Comm, matrix_nn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (ascending) and orthonormal eigenvectors (columns) of a symmetric matrix.

    Shapes (n,), in the unit of the matrix, and (n, n), without unit.  Collective.  Rank 0 solves, the others receive.  Raises
    AccuracyError if the matrix holds NaN or infinity.
    """
    size = len(matrix_nn)
    packed = np.empty((size + 1, size))
    if comm.rank == 0:
        if np.isfinite(matrix_nn).all():
            packed[0], packed[1:] = np.linalg.eigh(0.5 * (matrix_nn + matrix_nn.T))
        else:
            packed[:] = np.nan
    replicate(comm, packed)
    if not np.isfinite(packed[0, 0]):
        raise AccuracyError(
            "a matrix to be diagonalised holds NaN or infinity: the iteration before it diverged. "
            "Try a larger cell, a finer grid, or scf.solver = 'slepc'."
        )
    return packed[0].copy(), packed[1:].copy()


def inverse_square_root(comm: MPI.Comm, overlap_nn: np.ndarray) -> np.ndarray:
    """Return ``S^(-1/2)`` of a symmetric positive definite matrix (Löwdin orthonormalisation).  Collective.

    Shape (n, n), without unit as S is.  Raises AccuracyError if S is singular to double precision.
    """
    values, vectors = eigh(comm, overlap_nn)
    if values[0] <= 1e-14 * values[-1]:
        raise AccuracyError(
            f"the orbitals are linearly dependent (smallest overlap eigenvalue {values[0]:.2e}): "
            "start from other orbitals or ask for fewer of them."
        )
    return (vectors / np.sqrt(values)) @ vectors.T


def polar_factor(comm: MPI.Comm, overlap_nn: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix, (n, n), without unit, nearest to an overlap: it turns new orbitals onto old ones.

    Collective.
    """
    left, _, right = np.linalg.svd(overlap_nn)
    return decide(comm, left @ right)
