"""Writing H5MD trajectories that survive a kill.  Rank 0 only.

The layout is in :mod:`mpiqmd.md.h5md_layout`.  Datasets are allocated ahead of the frames and grow geometrically, so
that adding frames changes no HDF5 metadata.  What does change metadata (growth, a new observable, the trimming at the
end) happens on a copy that then takes the file's name.  A kill at any moment therefore leaves a whole file.  Closing
trims room that was not used and puts a checksum at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import (
    Unfit,
    open_hdf5,
    reading,
    replacing,
    require_room,
    seal,
    swapping,
    unseal,
    writing,
)
from mpiqmd.errors import DataFileError
from mpiqmd.md.h5md_layout import (
    CHUNK_FRAMES,
    ELEMENTS,
    FIRST,
    all_series,
    create_observable,
    create_per_atom,
    create_series,
    per_atom_series,
    resize,
    write_attributes,
    write_particles,
)
from mpiqmd.md.h5md_units import FILE_UNITS
from mpiqmd.md.quantities import STANDARD, observable, per_atom
from mpiqmd.md.trajectory import Trajectory

ROOM_FOR_THE_REST = 2**18
"""Bytes for provenance and what else is small."""
GROWTH = 3
"""A new layout has room for twice the frames, and more observables."""


@dataclass(frozen=True)
class Frame:
    """One record of a trajectory: step, time and everything known there, atomic units."""

    step: int
    time: float
    positions_av: np.ndarray
    velocities_av: np.ndarray
    forces_av: np.ndarray
    observables: dict[str, float]
    per_atom: dict[str, np.ndarray] = field(default_factory=dict)


class TrajectoryWriter:
    """Appends frames to an H5MD file; use :meth:`create` or :meth:`resume`.  Not collective; rank 0.

    Parameters
    ----------
    path, file
        Where the file is, and the open file.
    n_frames
        Frames that it holds.
    """

    def __init__(self, path: Path, file: h5py.File, n_frames: int) -> None:
        self.path = path
        self.file = file
        self.n_frames = n_frames
        self.pending: list[Frame] = []
        self.attributes: dict[str, str | int | float] = {}
        self._forget()

    @classmethod
    def create(
        cls,
        path: Path,
        symbols: tuple[str, ...],
        masses_a: np.ndarray,
        attributes: Mapping[str, str | int | float],
        box_v: np.ndarray | None = None,
    ) -> TrajectoryWriter:
        """Start a new file, replacing an old one.

        Parameters
        ----------
        path
            The file.
        symbols, masses_a
            N chemical symbols and masses (electron masses).
        attributes
            Provenance, kept as attributes of the file.
        box_v
            Edge lengths of a periodic cell, shape (3,), bohr; None for an isolated molecule.

        Raises
        ------
        DataFileError
            There is no room for it, or no permission.
        """
        with replacing(path) as beside:
            require_room(path, ROOM_FOR_THE_REST + 8 * CHUNK_FRAMES * (9 * len(symbols) + len(STANDARD) + 5))
            # Later versions of the format mark a file that a kill left open, and refuse to open it again.
            with open_hdf5(beside, "w", libver="earliest") as file:
                write_particles(file, symbols, masses_a, box_v is not None)
                create_series(file, len(symbols), box_v)
                write_attributes(file, attributes)
        with writing(path):
            return cls(path, open_hdf5(path, "r+"), 0)

    @classmethod
    def resume(cls, path: Path, step: int, output_every: int, symbols: tuple[str, ...]) -> TrajectoryWriter:
        """Open an existing file of these atoms and drop every frame after ``step``, so that none is written twice.

        Raises
        ------
        DataFileError
            The file is missing or damaged, is of other atoms, or lacks frames up to ``step``.
        """
        try:
            before = Trajectory.open(path, with_coordinates=False)
        except DataFileError as error:
            raise DataFileError(
                f"the checkpoint of step {step} belongs to a trajectory that cannot be read: {error} A restart needs both "
                "files, or start afresh with --overwrite."
            ) from error
        kept = int((before.steps_t <= step).sum())
        expected = np.arange(0, step + 1, output_every)
        if not np.array_equal(before.steps_t[:kept], expected) or before.symbols != tuple(symbols):
            raise DataFileError(
                f"{path} has {kept} frames up to step {step} of the checkpoint, but {len(expected)} were expected "
                f"(atoms {'-'.join(before.symbols)} there, {'-'.join(symbols)} here): the two files are not of one run. "
                "Restore the right pair, or start afresh with --overwrite."
            )
        with writing(path):
            unseal(path)
            writer = cls(path, open_hdf5(path, "r+"), kept)
        with reading(path, "trajectory", "One written by `mpiqmd md` is needed. Start afresh with --overwrite."):
            writer._require_room_to_grow()
        with writing(path):
            writer._steps[kept:] = -1
        return writer

    def _require_room_to_grow(self) -> None:
        """Raise Unfit if frames cannot be added to some series of the file."""
        for series in all_series(self.file):
            kind = "i8" if series == self._steps else "f8"
            if series.maxshape[0] is not None or series.dtype != np.dtype(kind):
                found = f"{series.name} holds {series.dtype} and may grow to {series.maxshape[0]}"
                self.file.close()
                raise Unfit(f"{found}, where {kind} without end is expected")

    def append(self, frame: Frame) -> None:
        """Keep a frame for the next :meth:`flush`."""
        self.pending.append(frame)

    def flush(self, sync: bool = False) -> None:
        """Write the frames kept so far; with ``sync``, wait until they are on the disk.

        Raises
        ------
        OSError
            They cannot be written.
        DataFileError
            The file of this name is not the one that is written to: another program has replaced or removed it.
        """
        self._require_own()
        with _words_of_hdf5():
            if self.pending:
                self._write_pending()
            self.file.flush()
        if sync:
            os.fsync(self.file.id.get_vfd_handle())

    def _require_own(self) -> None:
        """Raise DataFileError unless the name of the file still leads to what this writer has open."""
        try:
            is_own = os.path.samestat(os.stat(self.path), os.fstat(self.file.id.get_vfd_handle()))
        except FileNotFoundError:
            is_own = False
        if not is_own:
            raise DataFileError(
                f"{self.path} is not the file any more that this run writes: another program has removed or replaced it. Only "
                "one run may write into a folder. Restore it, or start afresh with another --output."
            )

    def set_attribute(self, key: str, value: str | int | float) -> None:
        """Set a provenance attribute of the file, which is written when the file is closed."""
        self.attributes[key] = value

    def close(self) -> None:
        """Write what is pending, trim unused room, close and seal; may be called twice."""
        if not self.file:
            return
        try:
            self.flush()
            if self.attributes or len(self._steps) != self.n_frames:
                self._change_layout(self._finish)
        finally:
            self._forget()
            self.file.close()
        seal(self.path)

    def _finish(self) -> None:
        write_attributes(self.file, self.attributes)
        self.attributes = {}
        resize(self.file, self.n_frames)

    def _forget(self) -> None:
        """Let go of what was looked up in the file, which closes or changes."""
        self._open: dict[str, h5py.Dataset] = {}
        self._observables: list[str] = []
        self._atomic: list[str] | None = None

    def _change_layout(self, change: Callable[[], None]) -> None:
        """Let ``change`` act on a copy of the file, which takes its place when it is whole and on the disk."""
        self._forget()
        self.file.close()
        with swapping(self.path) as beside:
            require_room(self.path, GROWTH * os.path.getsize(self.path))
            shutil.copyfile(self.path, beside)
            with _words_of_hdf5(), open_hdf5(beside, "r+") as self.file:
                change()
                self._forget()
        self.file = open_hdf5(self.path, "r+")

    @property
    def _steps(self) -> h5py.Dataset:
        return self._dataset(f"{FIRST}/step")

    def _write_pending(self) -> None:
        """Write all pending frames, one slice per dataset; steps after the others are there, since they make frames valid."""
        frames, self.pending = self.pending, []
        begin, end = self.n_frames, self.n_frames + len(frames)
        self._make_room(end, _names(frame.observables for frame in frames), _names(frame.per_atom for frame in frames))
        unknown_a = np.full(frames[0].forces_av.shape[0], np.nan)

        def put(path: str, numbers: list, quantity: str) -> None:
            self._dataset(path)[begin:end] = np.array(numbers, dtype=float) * FILE_UNITS[quantity].one_atomic_unit

        for name, element in ELEMENTS.items():
            coordinates = [getattr(frame, element.field) for frame in frames]
            put(f"particles/molecule/{name}/value", coordinates, element.quantity)
        for name in self._names:
            numbers = [frame.observables.get(name, np.nan) for frame in frames]
            put(f"observables/{name}/value", numbers, observable(name).quantity)
        for name in self._per_atom:
            rows = [frame.per_atom.get(name, unknown_a) for frame in frames]
            put(f"particles/molecule/{name}/value", rows, per_atom(name).quantity)
        put(f"{FIRST}/time", [frame.time for frame in frames], "time")
        # Who reads meanwhile must not find a step without its numbers.
        self.file.flush()
        self._steps[begin:end] = np.array([frame.step for frame in frames], dtype=np.int64)
        self.n_frames = end

    def _dataset(self, path: str) -> h5py.Dataset:
        """Return a dataset of the open file; looking one up takes longer than writing a few frames."""
        if path not in self._open:
            self._open[path] = self.file[path]
        return self._open[path]

    @property
    def _names(self) -> list[str]:
        """The observables in the file."""
        if not self._observables:
            self._observables = list(self.file["observables"])
        return self._observables

    @property
    def _per_atom(self) -> list[str]:
        """The numbers of each atom in the file."""
        if self._atomic is None:
            self._atomic = per_atom_series(self.file)
        return self._atomic

    def _make_room(self, end: int, names: list[str], atomic: list[str]) -> None:
        """Have room for ``end`` frames and for observables and numbers of each atom of these names."""
        new = [name for name in names if name not in self._names]
        new_atomic = [name for name in atomic if name not in self._per_atom]
        length = len(self._steps)
        if not new and not new_atomic and end <= length:
            return

        def change() -> None:
            for name in new:
                create_observable(self.file, name)
            for name in new_atomic:
                create_per_atom(self.file, name)
            if end > length:
                resize(self.file, max(2 * length, end))

        self._change_layout(change)


def _names(named: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the names in several mappings, each once."""
    return list(dict.fromkeys(name for names in named for name in names))


@contextmanager
def _words_of_hdf5() -> Iterator[None]:
    """Turn what HDF5 says of a full disk into an OSError, with its first part, which alone is worth reading."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(" ".join(str(error).split()).split(", buf")[0]) from error
