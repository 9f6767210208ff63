"""The orbitals of a snapshot file in memory, each read from the disk once however often the offline stage asks for it."""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.rom.snapshots import SnapshotStore


class SnapshotOrbitals:
    """Orbitals of the finished geometries of a store, which may grow.  Construction is not collective.

    Whoever gets them leaves them as they are.

    Parameters
    ----------
    store
        The file and its numbers.
    grid
        The grid to put the orbitals on.
    """

    def __init__(self, store: SnapshotStore, grid: Grid) -> None:
        self.store, self.grid = store, grid
        self._read: dict[int, Orbitals] = {}

    def of(self, index: int) -> Orbitals:
        """Return the orbitals of one finished geometry.  Collective.  Raises DataFileError if they are damaged."""
        if index not in self._read:
            self._read[index] = self.store.read(self.grid, index)
        return self._read[index]

    def all(self) -> Orbitals:
        """Return the orbitals of all finished geometries as one block, in their order.  Collective.

        Raises DataFileError if there are none, or some are damaged.
        """
        done = [int(index) for index in np.flatnonzero(self.store.finished_s)]
        if not done:
            raise DataFileError(
                f"{self.store.path}: none of its {len(self.store)} geometries is finished. Run `mpiqmd train` first."
            )
        block = Orbitals(self.grid, np.concatenate([self.of(index).local for index in done]))
        ends = np.cumsum([len(self._read[index]) for index in done])
        for index, end in zip(done, ends, strict=True):
            # views of the block: two copies of all snapshots would not always fit
            self._read[index] = Orbitals(self.grid, block.local[end - len(self._read[index]) : end])
        return block

    def release(self) -> None:
        """Let go of the memory; what is asked for again is read again.  Not collective."""
        self._read.clear()
