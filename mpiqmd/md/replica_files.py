"""The trajectories of ``md --replicas``, found through the file that links them.  Not collective; needs no MPI."""

from __future__ import annotations

import re
from pathlib import Path

import h5py

from mpiqmd.datafiles import Contents, Unfit, opened
from mpiqmd.md.trajectory import Trajectory

REPLICAS = "replicas"
"""Attribute ``kind`` of the file."""
LINK = re.compile(r"replica-\d{4,9}/trajectory\.h5")
"""Where a link may lead: into a folder beside the file, nowhere else."""


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


def is_replicas(file: h5py.File) -> bool:
    """Return whether an open file is one that links replicas."""
    return file.attrs.get("kind") == REPLICAS


def linked_files(contents: Contents) -> list[Path]:
    """Return the files that an open ``replicas.h5`` links, in order; the links themselves are not followed.

    Raises Unfit if it links none, or links anything else.
    """
    file, folder = contents.file, Path(contents.file.filename).parent
    links = [file.get(name, getlink=True) for name in sorted(file)]
    for link in links:
        if not isinstance(link, h5py.ExternalLink) or link.path != "/" or not LINK.fullmatch(link.filename):
            raise Unfit("it holds something else than links to replica-*/trajectory.h5 beside it")
    if not links:
        raise Unfit("it links no replica")
    return [folder / link.filename for link in links]
