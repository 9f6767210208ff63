"""``mpiqmd info FILE``: what a model, trajectory or checkpoint holds and where it came from."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd.claims import holder_of
from mpiqmd.datafiles import Contents, opened, stored_digest
from mpiqmd.errors import DataFileError
from mpiqmd.md.replicas import linked_files
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.results import read_result
from mpiqmd.printable import printable
from mpiqmd.rom.kinds import SNAPSHOTS, WINDOWS
from mpiqmd.rom.model_summary import describe_model, find_singular_values
from mpiqmd.selfcontained import REPLICAS
from mpiqmd.units import ATOMIC_TIME_IN_FS

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

GROUPED = re.compile(r"arrays/[^/]+/")
"""Parts of which only the size is worth a line."""
NUMBER = re.compile(r"(?<=[/_])\d+(?=/|$)")
"""A number in a path, of datasets that are all alike."""
BESIDE = ("unit", "description")
"""Attributes that stand beside the dataset they belong to."""
LONGEST_VALUE = 90
"""Longer attributes are cut when printed."""
LONGEST_LINE, MOST_LINES = 300, 2000


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, object]:
    """Print what ``arguments.file`` holds.  Collective.

    Returns
    -------
    ``file``, ``kind`` and ``lines`` (what was printed).

    Raises
    ------
    DataFileError
        The file is neither HDF5 nor a result, or is damaged.
    """
    kind, lines = on_rank_zero(comm, describe, Path(arguments.file))
    for line in lines:
        log(line)
    return {"file": str(arguments.file), "kind": kind, "lines": lines}


def describe(path: Path) -> tuple[str, list[str]]:
    """Return the kind of a file and the lines that describe it.  Not collective."""
    if path.suffix == ".json":
        result = read_result(path)
        kind = f"result of mpiqmd {result.get('command', '?')}"
        lines = [f"{path}: {kind}", *(f"  {key} = {_short(value)}" for key, value in result.items())]
        return printable(kind, LONGEST_VALUE), _shown(lines)
    remedy = "Allowed are HDF5 files and result.json of mpiqmd. Check the path, or restore the file from a copy."
    with opened(path, "HDF5 file", remedy) as contents:
        kind = _kind(contents)
        lines = [f"{path}: {kind}, {path.stat().st_size / 1e6:.2f} MB", f"  {_integrity(path)}"]
        lines += [f"  {line}" for line in _summary(kind, contents)]
        lines += [f"  {line}" for line in _tree(contents.file)]
    return printable(kind, LONGEST_VALUE), _shown(lines)


def _shown(lines: list[str]) -> list[str]:
    """Return lines made of what a file holds as they may be printed: so long, so many, and all of it visible."""
    more = len(lines) - MOST_LINES
    return [printable(line, LONGEST_LINE) for line in lines[:MOST_LINES]] + ([f"  ... and {more} more"] if more > 0 else [])


def _kind(contents: Contents) -> str:
    """Recognise a file by what is in it."""
    file = contents.file
    if "h5md" in file:
        return "trajectory"
    if "dynamics" in file and "run" in file:
        return "checkpoint"
    if find_singular_values(contents) is not None:
        return "model"
    return str(file.attrs.get("kind", "HDF5 file"))


def _summary(kind: str, contents: Contents) -> list[str]:
    """Return what people want to know first."""
    file = contents.file
    if kind == "checkpoint":
        step = int(contents.array("dynamics/step", "", integer=True))
        identity = json.loads(bytes(contents.dataset("run/identity")[:]).decode())
        lines = [f"step {step}, {file.attrs['time'] * ATOMIC_TIME_IN_FS:.2f} fs"]
        return lines + [f"{key}: {_short(value)}" for key, value in identity.items()]
    if kind == "model":
        return describe_model(file)
    if kind == WINDOWS:
        from mpiqmd.rom.windowed_model import WindowedModel  # slow to load, and seldom needed

        return WindowedModel.of(contents).lines()
    if kind == SNAPSHOTS:
        return _snapshots(file)
    if kind == REPLICAS:
        return _replicas(contents)
    if kind != "trajectory":
        return []
    steps_t = contents.array("particles/molecule/position/step", "t", integer=True)
    steps_t = steps_t[steps_t >= 0]
    if not len(steps_t):
        return ["no frames"]
    end = steps_t[-1] * float(file.attrs["timestep"]) * ATOMIC_TIME_IN_FS
    return [f"{len(steps_t)} frames, steps {steps_t[0]} to {steps_t[-1]}, to {end:.2f} fs"]


def _replicas(contents: Contents) -> list[str]:
    """Return how far the linked trajectories are, and whether each is finished."""
    lines, finished = [], 0
    for path in linked_files(contents):
        try:
            run, is_whole = Trajectory.open(path, with_coordinates=False), stored_digest(path) is not None
        except DataFileError as problem:
            lines.append(f"  {path.parent.name}: {problem}")
            continue
        finished += is_whole
        end = f", to step {run.steps_t[-1]}, {run.times_fs_t[-1]:.2f} fs" if len(run) else ""
        lines.append(f"  {path.parent.name}: {len(run)} frames{end}, {'finished' if is_whole else 'not finished'}")
    return [f"{len(lines)} replicas, {finished} of them finished", *lines]


def _snapshots(file: h5py.File) -> list[str]:
    """Return how many geometries are solved, what is missing, and the range of their energies."""
    groups = [file[name] for name in sorted(file)]
    energies = [float(group["energy"][()]) for group in groups if group["finished"][()]]
    lines = [f"{len(energies)} of {len(groups)} geometries solved"]
    if energies:
        lines[0] += f", free energies {min(energies):.6f} to {max(energies):.6f} Ha"
    if groups:
        orbitals, *points = groups[0]["orbitals"].shape
        lines.append(f"{orbitals} orbitals each on {' x '.join(map(str, points))} points (z, y, x)")
    return lines


def _tree(file: h5py.File) -> Iterator[str]:
    """Yield one line per attribute and dataset; linked steps and times of a trajectory appear once."""
    yield from (f"@{key} = {_short(value)}" for key, value in file.attrs.items())
    items: list[tuple[str, h5py.HLObject]] = []
    file.visititems(lambda name, item: items.append((name, item)))
    for name, item in items:
        if not GROUPED.match(name):
            yield from (f"{name} @{key} = {_short(value)}" for key, value in item.attrs.items() if key not in BESIDE)
    yield from _datasets([(name, item) for name, item in items if isinstance(item, h5py.Dataset)])


def _datasets(items: list[tuple[str, h5py.Dataset]]) -> Iterator[str]:
    """Yield a line for each dataset with its unit and what it is; one for all that differ by a number, or make a part."""
    alike: dict[str, list[h5py.Dataset]] = {}
    for name, item in items:
        part = GROUPED.match(name)
        alike.setdefault(part[0].rstrip("/") if part else NUMBER.sub("*", name), []).append(item)
    for name, members in alike.items():
        size = f"{sum(item.nbytes for item in members) / 1e6:.2f} MB"
        if GROUPED.match(f"{name}/"):
            yield f"{name}: {len(members)} arrays, {size}"
            continue
        unit = f" [{_short(members[0].attrs['unit'])}]" if "unit" in members[0].attrs else ""
        what = f"  {_short(members[0].attrs['description'])}" if "description" in members[0].attrs else ""
        shapes = {"x".join(map(str, item.shape)) or "scalar" for item in members}
        shape = shapes.pop() if len(shapes) == 1 else "several shapes"
        yield f"{name}: {f'{len(members)} times ' if len(members) > 1 else ''}{shape} {members[0].dtype}{unit}{what}"


def _integrity(path: Path) -> str:
    """Return what the seal of an open file says: one that does not fit has been refused before."""
    digest = stored_digest(path)
    if digest is None:
        # A replica's folder is claimed with the one above it.
        holders = [holder_of(folder) for folder in path.resolve().parents[:2]]
        at_work = [holder.describe() for holder in holders if holder is not None]
        if at_work:
            return f"no checksum yet: {at_work[0]} is still at work"
        return "no checksum: its writer was killed, or wrote without mpiqmd's checksum"
    return f"checksum is right (SHA-256 {digest[:12]}...)"


def _short(value: object) -> str:
    """Return a value as one short line."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = [item.decode(errors="replace") for item in value]
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    return printable(" ".join(str(value).split()), LONGEST_VALUE)
