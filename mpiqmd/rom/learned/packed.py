"""Large matrices in the order in which rows are multiplied with them (``panels``).

A step takes as long as it takes to read these matrices, so they are kept in few digits: in single precision where rounding is
far below what they model, in half precision where an energy sees it to second order only, as what minima are predicted by.
Only the stored numbers are rounded: the arithmetic is in double precision, so that energies stay smooth and forces their exact
derivatives.  Zeros are not read where a whole panel has them.  Results are padded with zeros to whole panels, and may be the
next product's rows.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned.panels import PANEL, READS_HALVES, Panels, packed_product


def padded(count: int) -> int:
    """Return the length to which ``count`` numbers are padded."""
    return -(-count // PANEL) * PANEL


def pad(rows_ri: np.ndarray) -> np.ndarray:
    """Return rows (..., i) with zeros up to whole panels, in double precision and their own unit."""
    result = np.zeros((*rows_ri.shape[:-1], padded(rows_ri.shape[-1])))
    result[..., : rows_ri.shape[-1]] = rows_ri
    return result


def by_species(values_jq: np.ndarray, labels_j: np.ndarray, n_species: int, size: int) -> np.ndarray:
    """Return rows (j, species size), of any unit, with their values at the points of their species, zeros at the others."""
    result = np.zeros((len(values_jq), n_species, size))
    result[np.arange(len(labels_j)), labels_j, : values_jq.shape[1]] = values_jq
    return result.reshape(len(values_jq), n_species * size)


def halved(values: np.ndarray) -> np.ndarray:
    """Return numbers of any shape and unit rounded to half precision, in double."""
    return values.astype(np.float16).astype(float)


class Packed:
    """A matrix to be multiplied with rows from the left: ``rows @ matrix^T``.  Replicated, not collective.

    Parameters
    ----------
    matrix_oi
        Shape (outputs, inputs), any unit.
    dtype
        Precision to which it is rounded: half precision where no number is too large for it, or where single precision is
        asked for and all are of half precision already.

    Attributes
    ----------
    panels
        The matrix.
    """

    def __init__(self, matrix_oi: np.ndarray, dtype: type = np.float32) -> None:
        outputs, inputs = matrix_oi.shape
        fits = np.abs(matrix_oi).max(initial=0.0) <= np.finfo(np.float16).max
        if dtype == np.float32 and fits and np.array_equal(halved(matrix_oi), matrix_oi):
            dtype = np.float16
        if dtype == np.float16 and not fits:
            dtype = np.float32
        whole = np.zeros((padded(outputs), inputs), dtype)
        whole[:outputs] = matrix_oi
        panels_pio = whole.reshape(-1, PANEL, inputs).transpose(0, 2, 1)
        used_pi = panels_pio.any(axis=2)
        values = np.ascontiguousarray(panels_pio[used_pi])
        if dtype == np.float16:
            values = values.view(np.uint16) if READS_HALVES else values.astype(np.float32)
        self.panels: Panels = (values, _runs(used_pi), len(used_pi))

    def times(self, rows_ri: np.ndarray) -> np.ndarray:
        """Return ``rows @ matrix^T``, shape (r, padded outputs), in the unit of both, of contiguous rows (r, i or more)."""
        return packed_product(rows_ri, self.panels)


def _runs(used_pi: np.ndarray) -> np.ndarray:
    """Return the panel, the first input, how many, and how many were before, of consecutive inputs in use; (runs, 4)."""
    edges = np.diff(used_pi.astype(np.int8), axis=1, prepend=0, append=0)
    panels, first = np.nonzero(edges == 1)
    lengths = np.nonzero(edges == -1)[1] - first
    return np.stack([panels, first, lengths, np.cumsum(lengths) - lengths], axis=1).astype(np.intp)
