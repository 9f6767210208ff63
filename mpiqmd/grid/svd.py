"""Singular value decomposition of a block of functions, by SLEPc.

The snapshot matrix has one row per grid point, distributed as the grid is, and one column per function.  In the inner
product of the grid,

    φ_s(r) = Σ_k χ_k(r) σ_k V_sk,     ∫ χ_k χ_l dr = δ_kl,     V^T V = 1,

so the modes χ are orthonormal functions and the squared projection error of the block on the first m of them is the sum of
the discarded σ² (Eckart and Young, Psychometrika 1, 211 (1936)).

A tall-skinny QR factorisation (Demmel, Grigori, Hoemmen, Langou, SIAM J. Sci. Comput. 34, A206 (2012)) leaves a triangle with
the block's singular values, which SLEPc decomposes.  It works on the matrix itself, not on its Gram matrix, so every singular
value has an absolute error of machine precision times the largest, and it is one pass of matrix products: a Lanczos
bidiagonalisation of the same block, with as many steps as columns, is twenty times slower and ends early where singular values
are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from mpiqmd.errors import AccuracyError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.petsc import PETSc, SLEPc
from mpiqmd.parallel.comm import decide, on_rank_zero, sum_over_ranks
from mpiqmd.parallel.dense import inverse_square_root

Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Local rows of the left vectors (rows, k), singular values (k,), replicated right vectors (columns, k)."""

ROWS = 16_384
"""Rows that are factorised together."""
ORTHONORMALITY = 1e-12
"""Largest departure of the modes' Gram matrix from the identity that is left as it is."""


@dataclass(frozen=True)
class Decomposition:
    """``φ_s = Σ_k χ_k σ_k V_sk``.

    Attributes
    ----------
    modes
        The left singular functions χ_k, orthonormal.
    singular_values_k
        σ_k in descending order, as many as modes; directions of a rank-deficient block may be left out.
    coefficients_sk
        V, orthonormal columns; in each column the entry of largest magnitude is positive.
    """

    modes: Orbitals
    singular_values_k: np.ndarray
    coefficients_sk: np.ndarray


def decompose(functions: Orbitals, overwrite: bool = False) -> Decomposition:
    """Return the singular value decomposition of a block of functions.  Collective.

    With ``overwrite`` the modes take the memory of the functions.  Raises AccuracyError if the block holds NaN or infinity.
    """
    grid, n = functions.grid, len(functions)
    nothing = Decomposition(functions.select(slice(0, 0)), np.empty(0), np.empty((n, 0)))
    if n == 0:
        return nothing
    matrix = np.array(functions.matrix_local.T, order="C", copy=True)
    matrix *= np.sqrt(grid.volume_element)
    total = _norm(grid.comm, matrix)
    if decide(grid.comm, total == 0.0):
        return nothing
    if not decide(grid.comm, np.isfinite(total)):
        raise AccuracyError(
            f"the {n} functions to be decomposed have norm {total}: they hold NaN or infinity, finite values "
            "are needed. Recompute the snapshots."
        )
    return _assemble(functions if overwrite else None, grid, *_tall_skinny(grid.comm, matrix))


def _norm(comm: MPI.Comm, matrix_local: np.ndarray) -> float:
    return float(np.sqrt(sum_over_ranks(comm, float(np.vdot(matrix_local, matrix_local)))))


def _tall_skinny(comm: MPI.Comm, matrix_local: np.ndarray) -> Triplets:
    """Return the triplets of ``A = Q R`` from those of R; a rank's factor of Q comes from its own rows.

    Rows are factorised some thousands at a time, in the memory of the matrix.
    """
    rows, columns = matrix_local.shape
    pieces = [matrix_local[start : start + max(ROWS, columns)] for start in range(0, max(rows, 1), max(ROWS, columns))]
    own_r = []
    for piece in pieces:
        q, r = np.linalg.qr(piece)
        piece[:, : q.shape[1]] = q
        own_r.append(r)
    triangles: list[list[np.ndarray]] = comm.gather(own_r, root=0) or []
    blocks: list[list[np.ndarray]] = []

    def factor() -> tuple[np.ndarray, np.ndarray]:
        """Decompose all triangles together; keep, rank by rank, what is to be done with each."""
        # SLEPc gets one triangle: it takes twenty times as long over all of them
        joined_q, joined_r = np.linalg.qr(np.concatenate([r for each in triangles for r in each]))
        left, values, right = _triplets(joined_r)
        left = joined_q @ left
        for each in triangles:
            ends = np.cumsum([len(r) for r in each])
            blocks.append(np.split(left[: ends[-1]], ends[:-1]))
            left = left[ends[-1] :]
        return values, right

    values, right = on_rank_zero(comm, factor)
    for piece, block in zip(pieces, comm.scatter(blocks, root=0), strict=True):
        piece[:, : block.shape[1]] = piece[:, : len(block)] @ block
    return matrix_local[:, : len(values)], values, right


def _triplets(matrix: np.ndarray) -> Triplets:
    """Return all triplets of a small matrix by SLEPc, on this process alone."""
    n_rows, n_columns = matrix.shape
    count = min(n_rows, n_columns)
    operator = PETSc.Mat().createDense(matrix.shape, array=np.asfortranarray(matrix), comm=MPI.COMM_SELF)
    operator.assemble()
    solver = SLEPc.SVD().create(MPI.COMM_SELF)
    right_vector, left_vector = operator.createVecs()
    left, values, right = np.empty((n_rows, count)), np.empty(count), np.empty((n_columns, count))
    try:
        solver.setOperator(operator)
        solver.setType(SLEPc.SVD.Type.LAPACK)
        solver.setDimensions(count, count)
        solver.solve()
        for k in range(count):
            values[k] = solver.getSingularTriplet(k, left_vector, right_vector)
            left[:, k], right[:, k] = left_vector.array, right_vector.array
    finally:
        for thing in (solver, left_vector, right_vector, operator):
            thing.destroy()
    return left, values, right


def _assemble(memory: Orbitals | None, grid: Grid, left: np.ndarray, values: np.ndarray, right: np.ndarray) -> Decomposition:
    """Order the triplets, fix their signs and see to it that the modes are orthonormal; they may take the memory of others."""
    order = decide(grid.comm, np.argsort(-values, kind="stable"))
    values, right, signs = values[order], right[:, order], np.ones(len(values))
    if len(values):
        # Of entries that are equal but for round-off the first decides, the same one on any number of ranks.
        largest = np.argmax(np.abs(right) > (1.0 - 1e-9) * np.abs(right).max(axis=0), axis=0)
        signs = decide(grid.comm, np.where(right[largest, np.arange(len(values))] < 0, -1.0, 1.0))
        right = right * signs
    modes = Orbitals.zeros(grid, len(values)) if memory is None else memory.select(slice(0, len(values)))
    scale = signs / np.sqrt(grid.volume_element)
    for start in range(0, len(left), ROWS):
        modes.matrix_local[:, start : start + ROWS] = (left[start : start + ROWS, order] * scale).T
    orthonormalise(modes)
    return Decomposition(modes, values, right)


def orthonormalised(functions: Orbitals) -> Orbitals:
    """Return functions that are orthonormal to 1e-12 as they are, else the nearest such.  Collective."""
    rotation_nn = _to_orthonormal(functions)
    return functions if rotation_nn is None else functions.combine(rotation_nn)


def orthonormalise(functions: Orbitals) -> None:
    """Make functions so in their own memory.  Collective."""
    rotation_nn = _to_orthonormal(functions)
    if rotation_nn is not None:
        functions.rotate(rotation_nn)


def _to_orthonormal(functions: Orbitals) -> np.ndarray | None:
    """Return what turns functions into the nearest orthonormal ones, None if they are such."""
    if len(functions) == 0:
        return None
    overlap = functions.gram()
    worst = float(np.abs(overlap - np.eye(len(functions))).max())
    if decide(functions.grid.comm, worst <= ORTHONORMALITY):
        return None
    return inverse_square_root(functions.grid.comm, overlap)
