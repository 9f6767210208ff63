"""Where, when and with what a calculation ran, for the files it leaves."""

from __future__ import annotations

import json
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import mpiqmd


def circumstances() -> dict[str, str]:
    """Return ``host``, ``started`` (ISO 8601, UTC) and ``versions`` (JSON) of this run.  Not collective."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "started": now, "versions": json.dumps(loaded_versions())}


def loaded_versions() -> dict[str, str]:
    """Return the versions of this program and of the libraries that the running command has loaded.

    In a git checkout ``revision`` is its commit; changes that are not committed do not show.  Not collective.
    """
    versions = {"mpiqmd": mpiqmd.__version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "h5py", "mpi4py", "matplotlib", "ase"):
        module = sys.modules.get(name)
        if module is not None and isinstance(getattr(module, "__version__", None), str):
            versions[name] = module.__version__
    if "mpi4py.MPI" in sys.modules:
        versions["mpi"] = sys.modules["mpi4py.MPI"].Get_library_version().split(",")[0].strip("\0 \n")
    if "mpiqmd.grid.petsc" in sys.modules:
        versions |= sys.modules["mpiqmd.grid.petsc"].versions()
    revision = git_revision(Path(mpiqmd.__file__).parents[1])
    return versions | ({"revision": revision} if revision else {})


def git_revision(checkout: Path) -> str:
    """Return the commit (hexadecimal) that a git checkout or worktree is at; empty where there is none.  Not collective.

    Read from git's files: the program may not be there, and starting one under MPI is not always allowed.
    """
    try:
        folder = checkout / ".git"
        if folder.is_file():
            folder = checkout / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        common = folder / "commondir"
        shared = folder / common.read_text(encoding="utf-8").strip() if common.is_file() else folder
        name = head.removeprefix("ref:").strip()
        commit = _commit(shared, name) if name != head else head
    except (OSError, ValueError):
        return ""
    return commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else ""


def _commit(folder: Path, name: str) -> str:
    """Return the commit of a branch, which has a file of its own or a line among the packed ones."""
    own = folder / name
    if own.is_file():
        return own.read_text(encoding="utf-8").strip()
    lines = (folder / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
