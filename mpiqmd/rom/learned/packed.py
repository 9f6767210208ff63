"""Large matrices in the order in which rows are multiplied with them (``panels``).

A matrix is kept in single precision where its rounding is far below what it models.  Only the stored numbers are rounded: the
arithmetic is in double precision, so that energies stay smooth and forces their exact derivatives.  Results are padded with
zeros to whole panels, and may be the next product's rows.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned.panels import PANEL, packed_product


def padded(count: int) -> int:
    """Return the length to which ``count`` numbers are padded."""
    return -(-count // PANEL) * PANEL


def pad(rows_ri: np.ndarray) -> np.ndarray:
    """Return rows (..., i) with zeros up to whole panels, in double precision and their own unit."""
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
    panels
        The matrix, shape (panels, inputs, PANEL).
    """

    def __init__(self, matrix_oi: np.ndarray, dtype: type = np.float32) -> None:
        outputs, inputs = matrix_oi.shape
        whole = np.zeros((padded(outputs), inputs), dtype)
        whole[:outputs] = matrix_oi
        self.panels = np.ascontiguousarray(whole.reshape(-1, PANEL, inputs).transpose(0, 2, 1))

    def times(self, rows_ri: np.ndarray) -> np.ndarray:
        """Return ``rows @ matrix^T``, shape (r, padded outputs), in the unit of both, of contiguous rows (r, i or more)."""
        return packed_product(rows_ri, self.panels)
