"""Products of a few rows with a large matrix, the work of every online step.

A matrix is kept in blocks of ``BLOCK`` columns, so that a block of the rows stays in the fastest cache while the matrix is
read once, and in single precision where its rounding is far below what it models.  Only the stored numbers are rounded: the
arithmetic is in double precision, so that energies stay smooth and forces their exact derivatives.  Rows are padded with zeros
to whole blocks, and so are results, which makes one product's result the next one's rows.

The order of summation depends on the number of rows only where these are fewer than four: a geometry in a batch of a multiple
of four has the same numbers in any company, bit for bit.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.kernels import BLOCK


def padded(count: int) -> int:
    """Return the length to which ``count`` numbers are padded."""
    return -(-count // BLOCK) * BLOCK


def pad(rows_ri: np.ndarray) -> np.ndarray:
    """Return rows (..., i) with zeros up to whole blocks, in double precision and their own unit."""
    result = np.zeros((*rows_ri.shape[:-1], padded(rows_ri.shape[-1])))
    result[..., : rows_ri.shape[-1]] = rows_ri
    return result


class Packed:
    """A matrix to be multiplied with rows from the left: ``rows @ matrix^T``.  Replicated, not collective.

    Parameters
    ----------
    matrix_oi
        Shape (outputs, inputs), any unit.
    dtype
        Precision in which it is kept.

    Attributes
    ----------
    blocks
        The matrix, shape (blocks, outputs, BLOCK).
    """

    def __init__(self, matrix_oi: np.ndarray, dtype: type = np.float32) -> None:
        outputs, inputs = matrix_oi.shape
        self.shape, count = (outputs, inputs), padded(inputs) // BLOCK
        whole = np.zeros((outputs, count * BLOCK), dtype)
        whole[:, :inputs] = matrix_oi
        self.blocks = np.ascontiguousarray(whole.reshape(outputs, count, BLOCK).transpose(1, 0, 2))

    def times(self, rows_ri: np.ndarray) -> np.ndarray:
        """Return ``rows @ matrix^T``, shape (r, padded outputs), in the unit of both, of rows (r, padded inputs)."""
        return kernels.packed_product(rows_ri, self.blocks)
