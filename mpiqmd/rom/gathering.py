"""Full solutions that wait until there are enough of them for a model to grow by.

Neighbouring steps of dynamics are nearly the same geometry: one is gathered if it is far enough from those of the training and
from those that wait already.  They are kept in a snapshot file, which is written anew with each of them and is whole at any
moment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mpiqmd.datafiles import UNFINISHED, writing
from mpiqmd.errors import DataFileError
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.rom.full_solutions import FullSolution
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.training_distance import TrainingDistance

APART = 0.25
"""Distance from the training geometries, and from each other, of geometries that are gathered: see
:mod:`~mpiqmd.rom.training_distance`."""


class Gathering:
    """Full solutions that wait.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid of their orbitals.
    signature
        Their physics, and how they are solved.
    enough
        How many a model grows by.

    Attributes
    ----------
    solutions
        Those that wait, in their order.
    """

    def __init__(self, grid: Grid, signature: Mapping[str, object], enough: int) -> None:
        self.grid, self.signature, self.enough = grid, signature, enough
        self.solutions: list[FullSolution] = []

    def __len__(self) -> int:
        return len(self.solutions)

    @property
    def positions_sav(self) -> np.ndarray:
        """Their geometries in the body frame, shape (S, N, 3), bohr."""
        return np.array([each.positions_av for each in self.solutions])

    def wants(self, positions_av: np.ndarray, region: TrainingDistance) -> bool:
        """Return whether a geometry (N, 3), bohr, in the body frame differs enough from all that are known.  Collective."""
        distance = region.distance(positions_av)
        if self.solutions:
            distance = min(distance, region.between(positions_av, self.positions_sav))
        return decide(self.grid.comm, distance >= APART) and len(self) < self.enough

    def add(self, solution: FullSolution, path: Path) -> None:
        """Let one more wait, and write all that do to a file.  Collective.  Raises DataFileError."""
        self.solutions.append(solution)
        comm, beside = self.grid.comm, path.with_name(path.name + UNFINISHED)
        on_rank_zero(comm, beside.unlink, missing_ok=True)
        store = SnapshotStore(beside, self.signature, comm)
        store.prepare(self.grid, self.positions_sav, [{}] * len(self), len(solution.orbitals))
        for index, each in enumerate(self.solutions):
            store.add(index, each.orbitals, each.energy, each.forces_av, each.eigenvalues_n)
        on_rank_zero(comm, _rename, beside, path)

    def read(self, positions_sav: np.ndarray, path: Path) -> list[FullSolution]:
        """Return those of these geometries (S, N, 3), bohr, which a file begins with; none of them needs none.  Collective.

        Raises DataFileError if it has others.
        """
        found: list[FullSolution] = []
        if not len(positions_sav):
            return found
        store = SnapshotStore(path, self.signature, self.grid.comm)
        count = len(positions_sav)
        if not (store.finished_s[:count].all() and np.array_equal(store.positions_sav[:count], positions_sav)):
            raise DataFileError(
                f"{path}: it does not have the {count} geometries that the checkpoint has gathered for the model to grow by. "
                "Both files of one run are needed: restore it from a copy, or start afresh with --overwrite."
            )
        for index in range(count):
            numbers = float(store.energies_s[index]), store.forces_sav[index], store.eigenvalues_sn[index]
            found.append(FullSolution(store.positions_sav[index], store.read(self.grid, index), *numbers))
        return found


def _rename(beside: Path, path: Path) -> None:
    with writing(path):
        os.replace(beside, path)
