"""Starting orbitals of an MD step from those of the steps before it.

Orbitals are defined up to a rotation, so each earlier block is first aligned with the latest one by the polar factor of
their overlap; then the polynomial of degree k through the last k + 1 blocks is continued,

    Φ(t + 1) = Σ_j (-1)^j C(k + 1, j + 1) Φ(t - j) U_j,    j = 0..k.
"""

from __future__ import annotations

from math import comb

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import decide


class OrbitalExtrapolation:
    """Remembers converged orbitals and predicts the next ones.

    Parameters
    ----------
    grid
        The grid the orbitals live on.
    degree
        Degree of the polynomial: 0 reuses the last orbitals, 2 is a good choice for a timestep of 0.5 to 1 fs.
    """

    def __init__(self, grid: Grid, degree: int) -> None:
        self.grid, self.degree = grid, degree
        self._history: list[Orbitals] = []

    def add(self, orbitals: Orbitals) -> None:
        """Remember converged orbitals, the latest first.  Not collective."""
        self._history.insert(0, orbitals)
        del self._history[self.degree + 1 :]

    def predict(self) -> Orbitals | None:
        """Return the extrapolated orbitals (not orthonormalised), or None without a history.  Collective."""
        if not self._history:
            return None
        latest, degree = self._history[0], len(self._history) - 1
        result = Orbitals(self.grid, (degree + 1) * latest.local)
        for j, older in enumerate(self._history[1:], start=1):
            rotation = _polar_factor(decide(self.grid.comm, older.gram(latest)))
            result.local += (-1) ** j * comb(degree + 1, j + 1) * older.combine(rotation).local
        return result

    def forget(self) -> None:
        """Drop the history.  Not collective."""
        self._history.clear()

    def state(self) -> dict[str, np.ndarray]:
        """Return the history as whole arrays ``orbitals_j`` of shape (n, z, y, x) on every rank.  Collective."""
        return {f"orbitals_{j}": orbitals.gather_everywhere() for j, orbitals in enumerate(self._history)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, on any number of ranks.  Not collective."""
        names = sorted(name for name in state if name.startswith("orbitals_"))
        self._history = [Orbitals(self.grid, state[name][(slice(None), *self.grid.local_slices)]) for name in names]


def _polar_factor(overlap_nn: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(overlap_nn)
    return left @ right
