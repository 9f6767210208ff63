"""Products of Chebyshev polynomials of the positions of several atoms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.learned.chebyshev import ChebyshevBox


class ChebyshevProducts:
    """Products of Chebyshev polynomials of the positions of several atoms, those of an atom side by side.

    Parameters
    ----------
    indices
        The atoms' places among all.
    boxes
        Where each may be.
    degrees
        Of the products of each, in x, y and z, shape (products, 3).
    """

    def __init__(self, indices: Sequence[int], boxes: Sequence[ChebyshevBox], degrees: Sequence[np.ndarray]) -> None:
        self.indices = np.array(indices, int)
        self.degrees_kv = np.ascontiguousarray(np.concatenate([np.zeros((0, 3), int), *degrees]))
        self.starts = np.concatenate([[0], np.cumsum([len(each) for each in degrees])]).astype(int)
        self.parts = [slice(int(a), int(b)) for a, b in pairwise(self.starts)]
        self._lower_tv = np.array([box.lower_v for box in boxes]).reshape(-1, 3)
        self._upper_tv = np.array([box.upper_v for box in boxes]).reshape(-1, 3)
        self._n_degrees = int(self.degrees_kv.max(initial=1)) + 1

    def evaluate(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return t_k (B, products), their derivatives (B, products, 3) in 1/bohr, and how far outside its box an atom is (B,).

        Geometries have shape (B, N, 3), bohr.
        """
        size, count = len(positions_bav), len(self.degrees_kv)
        weights_bk, slopes_bkv, excess_b = np.empty((size, count)), np.empty((size, count, 3)), np.empty(size)
        tables = self.indices, self._lower_tv, self._upper_tv, self.starts, self.degrees_kv, self._n_degrees
        kernels.chebyshev_weights(positions_bav, *tables, weights_bk, slopes_bkv, excess_b)
        return weights_bk, slopes_bkv, excess_b
