"""Training geometries solved by several jobs or groups of ranks: each writes a snapshot file of its own, one gathers them.

HDF5 files are written by one job at a time, so ``snapshots.h5`` may have parts ``snapshots-*.h5`` beside it, ordinary
snapshot files of some of its geometries.  Gathering moves what is finished in them into the whole store and removes them;
a kill on the way leaves a geometry in both places at worst, and gathering again goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.rom.snapshots import SAME_GEOMETRY, SnapshotStore


def blocks(indices: Sequence[int], count: int) -> list[list[int]]:
    """Return the indices as ``count`` consecutive blocks whose lengths differ by one at most.  Not collective."""
    bounds = [len(indices) * block // count for block in range(count + 1)]
    return [list(indices[first:last]) for first, last in pairwise(bounds)]


def part_path(whole: Path, name: str) -> Path:
    """Return the file of a part of a store."""
    return whole.with_name(f"{whole.stem}-{name}{whole.suffix}")


def part_paths(whole: Path) -> list[Path]:
    """Return the parts that lie beside a store, and parts of parts.  Not collective."""
    return sorted(whole.parent.glob(part_path(whole, "*").name))


def gather_parts(store: SnapshotStore, grid: Grid) -> int:
    """Move the finished geometries of all parts into a store and remove the parts; return how many were moved.

    Collective.  The store has been prepared with all geometries.

    Raises
    ------
    DataFileError
        A part is damaged, belongs to other physics, or holds a geometry that the store does not know; nothing has been
        moved then.
    """
    paths = on_rank_zero(store.comm, part_paths, store.path)
    parts = [SnapshotStore(path, store.signature, store.comm) for path in paths]
    places = [_places(part, store) for part in parts]
    moved = 0
    for part, places_s in zip(parts, places, strict=True):
        for index in np.flatnonzero(part.finished_s):
            if not decide(store.comm, bool(store.finished_s[places_s[index]])):
                store.take(places_s[index], part, int(index), grid)
                moved += 1
        on_rank_zero(store.comm, part.path.unlink)
    return moved


def _places(part: SnapshotStore, store: SnapshotStore) -> list[int]:
    """Return the index in the store of every geometry of a part.  Not collective."""
    if part.positions_sav.shape[1:] != store.positions_sav.shape[1:] or part.n_orbitals != store.n_orbitals:
        raise DataFileError(
            f"{part.path}: {part.positions_sav.shape[1]} atoms and {part.n_orbitals} orbitals a geometry, {store.path} has "
            f"{store.positions_sav.shape[1]} and {store.n_orbitals}; they must agree. Use the input the part was made with, "
            "or remove it."
        )
    places = []
    for index, positions_av in enumerate(part.positions_sav):
        differences_s = np.abs(store.positions_sav - positions_av).max(axis=(1, 2))
        nearest = int(np.argmin(differences_s))
        if differences_s[nearest] > SAME_GEOMETRY:
            raise DataFileError(
                f"{part.path}: its geometry {index} is none of the {len(store)} of this training (the nearest, {nearest}, "
                f"differs by {differences_s[nearest]:.2g} bohr); parts of the same training are needed. Use the input it "
                "was made with, or remove it."
            )
        places.append(nearest)
    return places
