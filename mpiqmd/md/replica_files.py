"""The trajectories of ``md --replicas``, found through the file that links them.  Not collective; needs no MPI."""

from __future__ import annotations

from pathlib import Path

from mpiqmd.datafiles import Contents, Unfit, opened
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.selfcontained import is_replicas


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
