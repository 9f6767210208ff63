"""Independent trajectories of one molecule: their folders, the file that links them, and which advance together.

Not collective; needs no MPI.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import Contents, Unfit, opened, replacing, sealed
from mpiqmd.errors import ConfigError
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.selfcontained import REPLICAS, is_replicas

INDEX_FILE = "replicas.h5"


def require_different(settings: DynamicsSettings, count: int) -> None:
    """Raise ConfigError if no random number enters a run, so that all replicas would be one trajectory."""
    starts_random = isinstance(settings.initial_velocities, str) and settings.initial_velocities == "random"
    if count > 1 and not starts_random and settings.thermostat not in THERMOSTATS.with_flag("stochastic"):
        raise ConfigError(
            f"--replicas {count} with given md.initial_velocities and md.thermostat = {settings.thermostat!r}: all replicas "
            "would be the same trajectory. Allowed: random velocities, or the thermostats "
            f"{' and '.join(THERMOSTATS.with_flag('stochastic'))}. Change either."
        )


def replica_folder(folder: Path, index: int) -> Path:
    """Return where a replica writes."""
    return folder / f"replica-{index:04d}"


def write_index(folder: Path, indices: Sequence[int]) -> None:
    """Write a file in which every replica's trajectory appears as a group, by external links.  Not collective.

    It is whole when it appears.  The trajectories need not be there yet: those of a run that goes on are read through it too.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["kind"] = REPLICAS
        for index in indices:
            name = replica_folder(folder, index).name
            file[name] = h5py.ExternalLink(f"{name}/trajectory.h5", "/")
    with replacing(folder / INDEX_FILE) as beside:
        beside.write_bytes(sealed(content.getvalue()))


def groups(own: list[int], at_once: int) -> list[list[int]]:
    """Return the replicas that run side by side, ``at_once`` at most, in groups as equal as they can be.  Not collective."""
    return [part.tolist() for part in np.array_split(own, ceil(len(own) / at_once))] if own else []


def open_runs(path: Path | str) -> list[Trajectory]:
    """Return the trajectory in a file, or all that a ``replicas.h5`` links.

    Raises
    ------
    DataFileError
        A file cannot be opened, or is no trajectory of mpiqmd.
    """
    path = Path(path)
    remedy = "A trajectory.h5 or a replicas.h5 written by `mpiqmd md` is needed. Check the path."
    with opened(path, "trajectory", remedy) as contents:
        linked = linked_files(contents) if is_replicas(contents.file) else []
    return [Trajectory.open(file) for file in linked or [path]]


def linked_files(contents: Contents) -> list[Path]:
    """Return the files that an open ``replicas.h5`` links, in order; the links themselves are not followed.

    Where they lead was looked at when the file was opened.  Raises Unfit if there are none.
    """
    folder = Path(contents.file.filename).parent
    links = [contents.file.get(name, getlink=True) for name in sorted(contents.file)]
    if not links:
        raise Unfit("it links no replica")
    return [folder / link.filename for link in links]
