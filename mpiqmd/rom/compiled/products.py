"""Products of a batch of geometries with a matrix that all of them share."""

from __future__ import annotations

import numpy as np

GROUP = 8
"""Geometries per product.  BLAS adds up in an order that depends on the sizes: with one size for all products a geometry at
one place of a group has the same numbers in any company, bit for bit."""


def shared_product(rows: np.ndarray, matrix: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``rows @ matrix`` for a batch, the matrix read once per group of geometries.  Not collective.

    Parameters
    ----------
    rows
        Equally many rows of each geometry, shape (B n, k).
    matrix
        What all share, shape (k, l).
    size
        B: one geometry or a multiple of ``GROUP``; anything else is one product.
    out
        Where to put the product, shape (B n, l); it may be some columns of a larger array.
    """
    if size % GROUP:
        return np.matmul(rows, matrix, out=out)
    out = np.empty((len(rows), matrix.shape[1])) if out is None else out
    groups = size // GROUP
    np.matmul(_grouped(rows, groups), matrix, out=_grouped(out, groups))
    return out


def _grouped(rows: np.ndarray, groups: int) -> np.ndarray:
    """Return a view of shape (groups, rows of a group, columns)."""
    n_rows, n_columns = rows.shape
    step, along = rows.strides
    height = n_rows // groups
    return np.lib.stride_tricks.as_strided(rows, (groups, height, n_columns), (height * step, step, along))
