"""What is left of the moving ions' local potentials, as tables over each one's position.

    v_a(x) - its mean - its first order   on the density functions:   l_f(x) = Σ_k t_k(x_a) (left right)_kf

with t_k products of Chebyshev polynomials.  The tables have a low rank, and values and slopes are read from them together.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.data import MovingIon
from mpiqmd.rom.learned.packed import Packed, pad, padded

WITH_SLOPES = 4
"""A value and its derivatives along x, y and z."""


def polynomial_rows(
    positions_bv: np.ndarray, box: ChebyshevBox, degrees_kv: np.ndarray, excess_b: np.ndarray | None = None
) -> np.ndarray:
    """Return t_k and their slopes along x, y and z (1/bohr), padded, shape (B, 4, k), at positions (B, 3), bohr.

    ``excess`` (B,) becomes how far outside the box a position is, bohr, if that is more than it was.
    """
    rows_bik = np.zeros((len(positions_bv), WITH_SLOPES, padded(len(degrees_kv))))
    excess_b = np.zeros(len(positions_bv)) if excess_b is None else excess_b
    kernels.chebyshev_rows(positions_bv, box.lower_v, box.upper_v, degrees_kv, rows_bik, excess_b)
    return rows_bik


class LocalIon:
    """The table of one ion.  Replicated, not collective."""

    def __init__(self, ion: MovingIon) -> None:
        self._left, self._right = Packed(ion.left_kj.T), Packed(ion.right_jf[:, :-1].T)
        self._mean_j = pad(ion.right_jf[:, -1])

    def look_up(self, rows_bik: np.ndarray, tables_bif: np.ndarray) -> np.ndarray:
        """Set l and its slopes on the density functions, padded, (B, 4, f), and return them on the mean density (B, 4).

        In Ha and Ha/bohr; ``rows`` are those of :func:`polynomial_rows`.
        """
        on_mean_bi = np.empty((len(rows_bik), WITH_SLOPES))
        kernels.look_up(rows_bik, self._left.panels, self._right.panels, self._mean_j, tables_bif, on_mean_bi)
        return on_mean_bi
