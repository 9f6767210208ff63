"""Values at chosen points of a distributed grid, wherever these are: every rank asks for points of its own choice."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.chosen_points import own_points
from mpiqmd.grid.grid import Grid


class PointExchange:
    """Takes values from points of all ranks to where they are wanted, and back.  Construction is collective.

    Parameters
    ----------
    grid
        The grid.
    points_local
        This rank's points that have values, indices in its flattened block.
    wanted
        Global indices of the points whose values this rank wants, shape (W,); the same point may be wanted many times.
    """

    def __init__(self, grid: Grid, points_local: np.ndarray, wanted: np.ndarray) -> None:
        self.comm, self._count, self._wanted = grid.comm, len(points_local), len(wanted)
        # a point that has no value is the one after the last
        places = np.full(grid.local_size, self._count)
        places[points_local] = np.arange(self._count)
        everyones = self.comm.allgather(wanted) if self.comm.size > 1 else [wanted]
        found = [own_points(grid, each) for each in everyones]
        self._here = [places[index] for _, index in found]
        self._there = self._trade([np.flatnonzero(own) for own, _ in found])

    def fetch(self, values: np.ndarray) -> np.ndarray:
        """Return values (j, W) at the wanted points of functions (j, points), in their unit; zero at points without.

        Collective.
        """
        padded = np.concatenate([values, np.zeros_like(values[:, :1], shape=(len(values), 1))], axis=1)
        result = np.empty_like(values, shape=(len(values), self._wanted))
        for there, arriving in zip(self._there, self._trade([padded[:, here] for here in self._here]), strict=True):
            result[:, there] = arriving
        return result

    def put(self, values: np.ndarray) -> np.ndarray:
        """Return functions (j, points) that have these values (j, W) at the wanted points, of whichever rank, zero elsewhere.

        Points that are wanted more than once get the same value each time, in their unit.  Collective.
        """
        result = np.zeros_like(values, shape=(len(values), self._count + 1))
        for here, arriving in zip(self._here, self._trade([values[:, there] for there in self._there]), strict=True):
            result[:, here] = arriving
        return result[:, : self._count]

    def _trade(self, outgoing: list[np.ndarray]) -> list[np.ndarray]:
        """Send each rank its piece, and return what they send.  Collective."""
        return self.comm.alltoall(outgoing) if self.comm.size > 1 else outgoing
