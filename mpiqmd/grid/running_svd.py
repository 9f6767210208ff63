"""Singular value decomposition of functions that come block by block, in bounded memory.

What came before is kept as its modes times their singular values, which has the same left singular functions and values as the
functions themselves:

    (A_1, A_2) (A_1, A_2)^T = (U Σ)(U Σ)^T + A_2 A_2^T     with  A_1 = U Σ V^T

Functions are gathered until there are about as many as modes, so that the cost stays that of a few decompositions.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.svd import Decomposition, decompose

WAITING = 256
"""Functions, or as many as modes if these are more, that are decomposed together."""
KEPT = 1e-8
"""Singular value, relative to the largest, below which modes are not kept from one decomposition to the next."""


class RunningDecomposition:
    """The left singular functions and values of blocks of functions on a grid.  Construction is not collective."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._scaled = Orbitals.zeros(grid, 0)
        self._waiting: list[np.ndarray] = []

    def add(self, functions: Orbitals) -> None:
        """Take in a block of functions.  Collective."""
        if sum(map(len, self._waiting)) >= max(WAITING, len(self._scaled)):
            found = self.finished()
            values = found.singular_values_k
            kept = int(np.sum(values > KEPT * values.max(initial=0.0)))
            found.modes.local[:kept] *= values[:kept, None, None, None]
            self._scaled, self._waiting = found.modes.select(slice(0, kept)), []
        if len(functions):
            self._waiting.append(functions.local)

    def finished(self) -> Decomposition:
        """Return the decomposition of all there were; its coefficients are not those of the functions.  Collective.

        Raises AccuracyError if they hold NaN or infinity.
        """
        return decompose(Orbitals(self.grid, np.concatenate([self._scaled.local, *self._waiting])))
