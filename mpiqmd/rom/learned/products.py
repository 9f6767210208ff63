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
    # splitting the rows never copies, not even where the columns are part of a larger array
    np.matmul(rows.reshape(groups, -1, rows.shape[1]), matrix, out=out.reshape(groups, -1, out.shape[1]))
    return out
