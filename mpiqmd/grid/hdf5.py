"""Blocks of functions in HDF5 files, one format whatever wrote them.

A block is one dataset of the global shape ``(k, z, y, x)``, so any number of ranks reads what any other
number wrote. With a parallel HDF5 every rank moves its own part; without one, rank 0 moves the file's part
plane by plane, so no rank ever holds a whole function.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from mpiqmd.datafiles import open_hdf5, writing
from mpiqmd.errors import DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import on_rank_zero


def is_parallel(comm: MPI.Comm) -> bool:
    """Return whether files opened on this communicator are shared through MPI-IO.  Not collective."""
    return comm.size > 1 and bool(h5py.get_config().mpi)


@contextmanager
def open_shared(path: str | Path, mode: str, comm: MPI.Comm) -> Iterator[h5py.File | None]:
    """Open a file for block data: on every rank with parallel HDF5, else on rank 0, giving None elsewhere.

    Collective.  Raises DataFileError, on every rank, if the file cannot be opened, and where it cannot be written to.
    """
    file, problem = None, None
    try:
        if is_parallel(comm):
            file = h5py.File(path, mode, driver="mpio", comm=comm)
        elif comm.rank == 0:
            file = open_hdf5(Path(path), mode)
    except (OSError, ValueError) as error:
        problem = str(error)
    problems = [text for text in comm.allgather(problem) if text]
    try:
        if problems:
            raise DataFileError(
                f"{path}: cannot be opened as HDF5 with mode {mode!r} ({problems[0]}). "
                "Check that it exists, is complete, and that its folder is writable."
            )
        with nullcontext() if mode == "r" else writing(Path(path)):
            yield file
            if file is not None and mode != "r":
                file.flush()
    finally:
        if file is not None:
            # After a write that failed, closing fails too, and says less.
            with suppress(OSError, RuntimeError):
                file.close()


def create_block(group: h5py.Group, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Create a double-precision dataset whose storage is there from the start, unfilled.

    Writing its values later touches raw data only, so a kill cannot damage the rest of the file.  Called by
    every rank that has the file open.
    """
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return group.create_dataset(name, shape=shape, dtype="f8", dcpl=creation)


def write_orbitals(group: h5py.Group | None, name: str, orbitals: Orbitals) -> None:
    """Write a block as dataset ``name`` of a group, overwriting one of the same shape.  Collective.

    ``group`` belongs to a file from :func:`open_shared`: None where that gave None.
    """
    grid = orbitals.grid
    dataset = None if group is None else _room(group, name, (len(orbitals), *grid.shape))
    if dataset is None or not (grid.comm.size == 1 or is_parallel(grid.comm)):
        _gather_planes(dataset, orbitals)
    elif grid.comm.size == 1:
        dataset[...] = orbitals.local
    else:
        with dataset.collective:
            dataset[(slice(None), *grid.local_slices)] = orbitals.local


def _room(group: h5py.Group, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Return the dataset of a block of this shape, new or to be overwritten."""
    dataset = group[name] if name in group else create_block(group, name, shape)
    if dataset.shape != shape:
        raise DataFileError(f"{name}: the file has room for {dataset.shape}, the block is {shape}. Start a new file.")
    return dataset


def read_orbitals(grid: Grid, path: str | Path, name: str) -> Orbitals:
    """Return the functions of dataset ``name`` on this grid, whatever number of ranks wrote them.

    Collective.

    Raises
    ------
    DataFileError
        If the file or the dataset is missing or damaged, or the dataset has another grid's shape.
    """
    with open_shared(path, "r", grid.comm) as file:
        return _read(grid, path, name, file)


def _read(grid: Grid, path: str | Path, name: str, file: h5py.File | None) -> Orbitals:
    shape = on_rank_zero(grid.comm, _shape_of, file, name)
    if shape is None or len(shape) != 4 or tuple(shape[1:]) != grid.shape:
        raise DataFileError(
            f"{path}: dataset {name!r} has shape {shape}; functions on this grid need (count, z, y, x) = "
            f"(any, {', '.join(map(str, grid.shape))}). Use the file with the grid it was made on."
        )
    local = np.empty((shape[0], *grid.local_shape))
    problem = _read_local(grid, name, file, local)
    problems = [text for text in grid.comm.allgather(problem) if text]
    if problems:
        raise DataFileError(
            f"{path}: dataset {name!r} is damaged ({problems[0]}); finite numbers are expected. Restore the file from a "
            "copy, or make it again."
        )
    return Orbitals(grid, local)


def _read_local(grid: Grid, name: str, file: h5py.File | None, local: np.ndarray) -> str | None:
    """Fill this rank's part of a block, and return what is wrong with it.  Collective."""
    try:
        dataset = None if file is None else file[name]
        if dataset is None or not (grid.comm.size == 1 or is_parallel(grid.comm)):
            _scatter_planes(dataset, grid, local)
        elif grid.comm.size == 1:
            local[...] = dataset[...]
        else:
            with dataset.collective:
                local[...] = dataset[(slice(None), *grid.local_slices)]
    except (OSError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split())
    return None if np.isfinite(local).all() else "it cannot be read, or holds NaN or infinity"


def _shape_of(file: h5py.File, name: str) -> tuple[int, ...] | None:
    """Return the shape of a dataset of real numbers, None if there is none of this name."""
    try:
        dataset = file[name]
        return dataset.shape if isinstance(dataset, h5py.Dataset) and dataset.dtype.kind == "f" else None
    except (KeyError, OSError, RuntimeError):
        return None


def _gather_planes(dataset: h5py.Dataset | None, orbitals: Orbitals) -> None:
    """Write through rank 0, one z plane of one function at a time."""
    grid = orbitals.grid
    start, n_local = grid.start[0], grid.local_shape[0]
    for index in range(len(orbitals)):
        for z in range(grid.shape[0]):
            inside = start <= z < start + n_local
            piece = orbitals.local[index, z - start] if inside else None
            pieces = grid.comm.gather((grid.local_slices[1:], piece), root=0)
            if pieces is None or dataset is None:
                continue
            plane = np.empty(grid.shape[1:])
            for slices, part in pieces:
                if part is not None:
                    plane[slices] = part
            dataset[index, z] = plane


def _scatter_planes(dataset: h5py.Dataset | None, grid: Grid, local: np.ndarray) -> None:
    """Read through rank 0, one z plane of one function at a time."""
    for index in range(len(local)):
        for z in range(grid.shape[0]):
            plane = np.full(grid.shape[1:], np.nan)
            if dataset is not None:
                # A plane that cannot be read stays NaN, which every rank then sees.
                with suppress(OSError):
                    plane[...] = dataset[index, z]
            grid.comm.Bcast(plane, root=0)
            inside = z - grid.start[0]
            if 0 <= inside < grid.local_shape[0]:
                local[index, inside] = plane[grid.local_slices[1:]]
