"""Unseen geometries solved in full, kept in a snapshot file without orbitals so that none is ever solved twice.

The file is a pool: it grows by the geometries that it does not know yet, whichever model they are to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mpiqmd.rom.snapshots import SAME_GEOMETRY, SnapshotStore
from mpiqmd.rom.training import Outcome, TrainingSolver
from mpiqmd.sampling.samples import Samples


def solve_unseen(
    solver: TrainingSolver, path: Path, signature: Mapping[str, object], positions_sav: np.ndarray, trained: SnapshotStore
) -> tuple[Outcome, SnapshotStore, list[int]]:
    """Solve the geometries (samples, N, 3), bohr, that a file does not know; return its store, and where they are in it.

    Solutions start from those of the training.  Collective.  Raises DataFileError if the file is damaged or belongs to other
    physics.
    """
    store = SnapshotStore(path, signature, solver.model.grid.comm)
    known = list(store.positions_sav)
    places = [_place(known, positions_av) for positions_av in positions_sav]
    if known:
        solver.open(store, Samples(np.array(known), name="unseen"), with_orbitals=False)
    pending = sorted({place for place in places if not store.finished_s[place]})
    if places and not pending:
        solver.log(f"{len(places)} unseen geometries are solved already")
    return solver.solve(store, pending, trained), store, places


def _place(known: list[np.ndarray], positions_av: np.ndarray) -> int:
    """Return where a geometry is among those known, which it joins if it is not."""
    for place, other_av in enumerate(known):
        if np.abs(other_av - positions_av).max() < SAME_GEOMETRY:
            return place
    known.append(positions_av)
    return len(known) - 1
