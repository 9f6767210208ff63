"""Writing H5MD trajectories that survive a kill.  Rank 0 only.

Layout (H5MD 1.1, www.nongnu.org/h5md): ``particles/molecule/{position,velocity,force}/{step,time,value}``
with ``species``, ``mass`` and ``box`` beside, and one group per observable.  All ``step`` and ``time`` are
hard links to one dataset each.  Units are those of :mod:`mpiqmd.md.h5md_units`, in ``unit`` attributes; energies are in
hartree and the temperature is k_B T in hartree.

The datasets are allocated ahead of the frames and grow geometrically, so that adding frames changes no HDF5
metadata.  What does change metadata (growth, a new observable, the trimming at the end) happens on a copy that then
takes the file's name.  A kill at any moment therefore leaves a whole file.  Room not used yet has step -1 and NaN
values; closing trims it and puts a checksum at the end.
"""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

import mpiqmd
from mpiqmd.datafiles import Unfit, reading, require_room, seal, unseal, writing
from mpiqmd.errors import DataFileError
from mpiqmd.md.h5md_units import WRITTEN, written_unit
from mpiqmd.md.trajectory import OBSERVABLES, Trajectory
from mpiqmd.molecule.elements import ATOMIC_NUMBERS

VERSION = (1, 1)
FORMAT = 2
"""Version of the layout, an attribute of the file: 1 (absent) had everything in atomic units."""

ELEMENTS = {"position": "positions_av", "velocity": "velocities_av", "force": "forces_av"}
"""H5MD elements of the particles, and where a frame has them."""

CHUNK_FRAMES = 256
ROOM_FOR_THE_REST = 2**18
"""Bytes for provenance and what else is small."""
GROWTH = 3
"""A new layout has room for twice the frames, and more observables."""
LONGEST_ATTRIBUTE = 30_000
"""Longer strings do not fit an HDF5 attribute (64 kB); they go into a dataset of ``parameters``."""


@dataclass(frozen=True)
class Frame:
    """One record of a trajectory: step, time and everything known there, atomic units."""

    step: int
    time: float
    positions_av: np.ndarray
    velocities_av: np.ndarray
    forces_av: np.ndarray
    observables: dict[str, float]


class TrajectoryWriter:
    """Appends frames to an H5MD file; use :meth:`create` or :meth:`resume`.  Not collective; rank 0."""

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
        boundary: str = "none",
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
            Edge lengths of the cell, shape (3,), bohr, if there is one.
        boundary
            ``"none"`` or ``"periodic"``.

        Raises
        ------
        DataFileError
            There is no room for it, or no permission.
        """
        with writing(path):
            require_room(path, ROOM_FOR_THE_REST + 8 * CHUNK_FRAMES * (9 * len(symbols) + len(OBSERVABLES) + 5))
        # Later versions of the format mark a file that a kill left open, and refuse to open it again.
        file = h5py.File(path, "w", libver="earliest")
        _write_header(file)
        molecule = file.create_group("particles/molecule")
        numbers = {symbol: ATOMIC_NUMBERS[symbol] for symbol in sorted(set(symbols))}
        species_a = [numbers[symbol] for symbol in symbols]
        molecule.create_dataset("species", data=species_a, dtype=h5py.enum_dtype(numbers, basetype="i4"))
        molecule.create_dataset("mass", data=masses_a).attrs["unit"] = "electron_mass"
        box = molecule.create_group("box")
        box.attrs["dimension"] = 3
        box.attrs["boundary"] = np.array([boundary] * 3, dtype="S8")
        writer = cls(path, file, 0)
        writer._create_series(len(symbols), box_v)
        _write_attributes(file, attributes)
        file.flush()
        return writer

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
        unseal(path)
        writer = cls(path, h5py.File(path, "r+"), kept)
        with reading(path, "trajectory", "One written by `mpiqmd md` is needed. Start afresh with --overwrite."):
            writer._require_room_to_grow()
        writer._steps[kept:] = -1
        return writer

    def _require_room_to_grow(self) -> None:
        """Raise Unfit if frames cannot be added to some series of the file."""
        for series in self._series():
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
        """
        try:
            if self.pending:
                self._write_pending()
            self.file.flush()
        except RuntimeError as error:
            # What HDF5 says of a full disk; only its first part is worth reading.
            raise OSError(" ".join(str(error).split()).split(", buf")[0]) from error
        if sync:
            os.fsync(self.file.id.get_vfd_handle())

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
        _write_attributes(self.file, self.attributes)
        self.attributes = {}
        self._resize(self.n_frames)

    def _forget(self) -> None:
        """Let go of what was looked up in the file, which closes or changes."""
        self._open: dict[str, h5py.Dataset] = {}
        self._observables: list[str] = []

    def _change_layout(self, change: Callable[[], None]) -> None:
        """Let ``change`` act on a copy of the file, which takes its place when it is whole and on the disk."""
        self._forget()
        self.file.close()
        beside = self.path.with_name(self.path.name + ".part")
        try:
            require_room(self.path, GROWTH * os.path.getsize(self.path))
            shutil.copyfile(self.path, beside)
            with h5py.File(beside, "r+") as self.file:
                change()
                self.flush(sync=True)
                self._forget()
            os.replace(beside, self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        self.file = h5py.File(self.path, "r+")

    @property
    def _steps(self) -> h5py.Dataset:
        return self._dataset("particles/molecule/position/step")

    def _series(self) -> list[h5py.Dataset]:
        """Return every dataset with one entry per frame."""
        groups = [*self.file["particles/molecule"].values(), *self.file["observables"].values()]
        groups.append(self.file["particles/molecule/box"].get("edges", {}))
        values = [group["value"] for group in groups if "value" in group]
        return [self._steps, self.file["particles/molecule/position/time"], *values]

    def _create_series(self, n_atoms: int, box_v: np.ndarray | None) -> None:
        """Create the datasets that grow with the frames."""
        first = self.file.create_group("particles/molecule/position")
        _create_growing(first, "step", (), "i8", -1)
        _create_growing(first, "time", (), "f8", np.nan).attrs["unit"] = WRITTEN["time"]
        for name in ELEMENTS:
            self._create_element(f"particles/molecule/{name}", (n_atoms, 3), WRITTEN[name])
        if box_v is not None:
            # A fixed box could be stored once, but readers in use expect its time-dependent form.
            edges_v = np.asarray(box_v, dtype=float) * written_unit("position")
            self._create_element("particles/molecule/box/edges", (3,), WRITTEN["position"], edges_v)
        for name in OBSERVABLES:
            self._create_element(f"observables/{name}", (), "hartree")

    def _create_element(
        self, path: str, shape: tuple[int, ...], unit: str | None = None, fill: np.ndarray | None = None
    ) -> None:
        """Create one H5MD element that shares the steps and times of the positions."""
        group = self.file.require_group(path)
        values = _create_growing(group, "value", shape, "f8", np.nan, len(self._steps))
        if unit:
            values.attrs["unit"] = unit
        if fill is not None:
            values[:] = fill
        for name in ("step", "time"):
            if name not in group:
                group[name] = self.file[f"particles/molecule/position/{name}"]

    def _resize(self, length: int) -> None:
        """Give every series room for ``length`` frames."""
        box_v = None
        if "particles/molecule/box/edges" in self.file and len(self._steps):
            box_v = self.file["particles/molecule/box/edges/value"][0]
        before = len(self._steps)
        for series in self._series():
            series.resize(length, axis=0)
        if box_v is not None and length > before:
            self.file["particles/molecule/box/edges/value"][before:] = box_v
        self.file.flush()

    def _write_pending(self) -> None:
        """Write all pending frames, one slice per dataset; steps last, since they make frames valid."""
        frames, self.pending = self.pending, []
        begin, end = self.n_frames, self.n_frames + len(frames)
        self._make_room(end, list(dict.fromkeys(name for frame in frames for name in frame.observables)))
        for name, field in ELEMENTS.items():
            values = np.array([getattr(frame, field) for frame in frames])
            self._dataset(f"particles/molecule/{name}/value")[begin:end] = values * written_unit(name)
        for name in self._names:
            values = [frame.observables.get(name, np.nan) for frame in frames]
            self._dataset(f"observables/{name}/value")[begin:end] = np.array(values, dtype=float)
        times = np.array([frame.time for frame in frames])
        self._dataset("particles/molecule/position/time")[begin:end] = times * written_unit("time")
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

    def _make_room(self, end: int, names: list[str]) -> None:
        """Have room for ``end`` frames and for observables of these names."""
        new = [name for name in names if name not in self._names]
        length = len(self._steps)
        if not new and end <= length:
            return

        def change() -> None:
            for name in new:
                self._create_element(f"observables/{name}", ())
            if end > length:
                self._resize(max(2 * length, end))

        self._change_layout(change)


def _write_attributes(file: h5py.File, attributes: Mapping[str, str | int | float]) -> None:
    """Write provenance; what is too long for an attribute becomes a dataset of ``parameters``."""
    for key, value in attributes.items():
        if isinstance(value, str) and len(value.encode()) > LONGEST_ATTRIBUTE:
            parameters = file.require_group("parameters")
            if key in parameters:
                del parameters[key]
            parameters[key] = value
        else:
            file.attrs[key] = value


def _write_header(file: h5py.File) -> None:
    """Write the ``h5md`` group that makes the file an H5MD file."""
    file.attrs["format"] = FORMAT
    header = file.create_group("h5md")
    header.attrs["version"] = np.array(VERSION, dtype="i4")
    header.create_group("author").attrs["name"] = np.bytes_(_user())
    creator = header.create_group("creator")
    creator.attrs["name"] = np.bytes_("mpiqmd")
    creator.attrs["version"] = np.bytes_(mpiqmd.__version__)
    header.create_group("modules/units").attrs["version"] = np.array((1, 0), dtype="i4")


def _user() -> str:
    """Return who runs the job, which H5MD wants to know; containers may have no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _create_growing(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str, fill: float, length: int = CHUNK_FRAMES
) -> h5py.Dataset:
    """Create a dataset that grows along its first axis and has its room allocated at once."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_value(np.array(fill, dtype=dtype))
    creation.set_chunk((CHUNK_FRAMES, *shape))
    space = h5py.h5s.create_simple((length, *shape), (h5py.h5s.UNLIMITED, *shape))
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=creation))
