"""The HDF5 files that mpiqmd writes and reads back: small good ones, their readers, and what a result must be like.

Each comes in five ways: ``raw``, any bytes damaged where a seal is required; ``stale``, bytes before the seal damaged;
``structure``, a whole and sealed file with other contents than mpiqmd writes; ``hostile``, one of
:mod:`tests.helpers.hostility`, whose copy elsewhere is not opened; ``unsealed``, bytes of a file that a kill left without a
seal, which may crash the HDF5 library and is for a process of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.datafiles import SEAL_SIZE, opened, seal, unseal
from mpiqmd.errors import DataFileError
from mpiqmd.grid.grid import Grid
from mpiqmd.md.checkpoint import load_checkpoint, previous_path
from mpiqmd.md.extxyz import write_extxyz
from mpiqmd.md.replicas import linked_files, write_index
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.info import describe
from mpiqmd.rom.learned.store import from_arrays, to_arrays
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SnapshotStore
from tests.helpers.hostility import ELSEWHERE, Watch, hostile, hostile_index
from tests.helpers.judging import Format, rewriting
from tests.helpers.learned_water import RANK, serial_water
from tests.helpers.md_surfaces import PairSurface, water
from tests.reliability.damage import damage_structure, damaged_bytes
from tests.unit.md import test_run
from tests.unit.rom import test_snapshots

COMM = MPI.COMM_SELF
NOTICED = {
    "checkpoint": "raw",
    "resumed": "raw",
    "continued": "stale",
    "trajectory": "stale",
    "snapshots": "stale",
    "model": "raw",
    "index": "raw",
}
"""The kinds of file, and the damage to their bytes that must not go unnoticed."""
KINDS = tuple(NOTICED)


def arrays_in(value: Any) -> dict[str, np.ndarray]:
    """All numbers in nested results, by where they are."""
    if isinstance(value, dict):
        return {f"{name}/{key}": array for name, item in value.items() for key, array in arrays_in(item).items()}
    if isinstance(value, list | tuple):
        return arrays_in(dict(enumerate(value)))
    array = np.asarray(value)
    return {"": array} if array.dtype.kind in "iufb" else {}


def finite(result: Any) -> None:
    """No NaN anywhere."""
    for name, array in arrays_in(result).items():
        assert np.isfinite(array).all(), name


def same_as(good: Any) -> Callable[[Any], None]:
    """Nothing but the numbers of the good file."""

    def check(result: Any) -> None:
        one, other = arrays_in(good), arrays_in(result)
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert np.array_equal(array, other[name]), name

    return check


def sealed_structure(path: Path, rng: np.random.Generator) -> str:
    """Other contents, and a seal that fits them."""
    unseal(path)
    done = damage_structure(path, rng)
    seal(path)
    return done


def stale_seal(path: Path, rng: np.random.Generator) -> str:
    """Damaged bytes before the seal of the good ones."""
    content = path.read_bytes()
    damaged = damaged_bytes(content[:-SEAL_SIZE], rng)
    path.write_bytes(damaged + content[-SEAL_SIZE:])
    return "unchanged" if damaged == content[:-SEAL_SIZE] else "stale seal"


def unsealed_bytes(path: Path, rng: np.random.Generator) -> str:
    """Damaged bytes without a seal."""
    unseal(path)
    return rewriting(damaged_bytes)(path, rng)


DAMAGES = {
    "raw": rewriting(damaged_bytes),
    "stale": stale_seal,
    "structure": sealed_structure,
    "hostile": hostile,
    "unsealed": unsealed_bytes,
}


def described(path: Path) -> None:
    """``mpiqmd info`` is held to the same, and shows nothing that steers a terminal."""
    with suppress(DataFileError):
        kind, lines = describe(path)
        assert kind.isprintable() and all(line.isprintable() and len(line) <= 300 for line in lines), lines


def read_index(path: Path) -> list[str]:
    """The replicas of an index."""
    described(path)
    with opened(path, "index of replicas", "Run again.", must_be_sealed=True) as contents:
        return [file.parent.name for file in linked_files(contents)]


def unopened(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A reader that does not open the copy elsewhere."""

    def watched(path: Path) -> Any:
        watch = Watch(path.with_name(ELSEWHERE))
        try:
            return read(path)
        finally:
            assert not watch.opened(), "another file was opened"

    return watched


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The groups of a checkpoint that has no older generation."""
    described(path)
    saved, _ = load_checkpoint(path)
    return saved.groups


def read_trajectory(path: Path) -> list[np.ndarray]:
    """The frames, which are also written as extended XYZ."""
    described(path)
    found = Trajectory.open(path)
    write_extxyz(found, path.with_suffix(".extxyz"))
    observables = [found.observables[name] for name in ("potential_energy", "conserved_energy", "temperature")]
    return [found.steps_t, found.times_t, found.positions_tav, found.velocities_tav, found.forces_tav, *observables]


def read_snapshots(path: Path) -> dict[str, Any]:
    """Numbers and orbitals of the finished geometries."""
    described(path)
    store, grid = SnapshotStore(path, test_snapshots.SIGNATURE, COMM), _snapshot_grid()
    done = store.finished_s
    numbers = [store.positions_sav, store.energies_s[done], store.forces_sav[done], store.eigenvalues_sn[done]]
    return {"numbers": numbers, "orbitals": SnapshotOrbitals(store, grid).all().local}


def read_model(path: Path) -> dict[str, Any]:
    """All arrays of a model, the learned ones put together."""
    described(path)
    water = serial_water()
    reduced = ReducedModel.load(path, COMM, water.model.grid, water.model.signature())
    learned = to_arrays(from_arrays(reduced.arrays, source=reduced.source))
    basis = [reduced.basis.modes.local, reduced.basis.singular_values_k]
    training = [reduced.training_positions_sav, reduced.training_energies_s, reduced.training_forces_sav]
    box = [reduced.box.lower_k, reduced.box.upper_k]
    return {
        "basis": basis,
        "training": training,
        "box": box,
        "learned": learned,
        "symmetries": [each.key for each in reduced.symmetries],
    }


def read_by_resuming(path: Path) -> list[np.ndarray]:
    """The trajectory after a run was continued, whose checkpoint (of two generations) or trajectory may be damaged."""
    for source in _run_folder().iterdir():
        if source.name != path.name:
            shutil.copyfile(source, path.with_name(source.name))
    test_run.run(COMM, path.parent, PairSurface(water()), steps=16, thermostat="langevin")
    return read_trajectory(path.with_name("trajectory.h5"))


@lru_cache
def _snapshot_grid() -> Grid:
    return Grid(COMM, 5.0, (10, 11, 12), order=4)


@lru_cache
def _folder() -> TemporaryDirectory:
    return TemporaryDirectory(prefix="mpiqmd-fuzz-")


@lru_cache
def _run_folder() -> Path:
    """A run of 13 steps with checkpoints of steps 10 and 13."""
    folder = Path(_folder().name) / "run"
    folder.mkdir()
    test_run.run(COMM, folder, PairSurface(water()), steps=13, thermostat="langevin")
    assert previous_path(folder / "checkpoint.h5").exists()
    return folder


@lru_cache
def _good_file(kind: str) -> Path:
    if kind == "index":
        write_index(Path(_folder().name), range(3))
        return Path(_folder().name) / "replicas.h5"
    if kind not in ("snapshots", "model"):
        return _run_folder() / ("trajectory.h5" if kind in ("trajectory", "continued") else "checkpoint.h5")
    path = Path(_folder().name) / f"{kind}.h5"
    if kind == "snapshots":
        test_snapshots.filled(_snapshot_grid(), path)
    else:
        water = serial_water()
        model = water.trained.reduced_model(RANK)
        replace(model, arrays=to_arrays(water.arrays)).save(path)
    return path


_READERS = {
    "checkpoint": read_checkpoint,
    "resumed": read_by_resuming,
    "continued": read_by_resuming,
    "trajectory": read_trajectory,
    "snapshots": read_snapshots,
    "model": read_model,
    "index": read_index,
}


def hdf5_format(kind: str, way: str) -> Format:
    """One of the files damaged in one of the ways."""
    source = _good_file(kind)
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copy(source, folder))
        good = _READERS[kind](copy)
    check = same_as(good) if way in ("raw", "stale") else finite
    read = unopened(_READERS[kind]) if way == "hostile" else _READERS[kind]
    damage = hostile_index if (kind, way) == ("index", "hostile") else DAMAGES[way]
    return Format(source.name, source.read_bytes(), read, check, damage)
