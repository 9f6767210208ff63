"""What the machine under a job has: the memory that each rank may count on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from mpi4py import MPI

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory_per_rank(comm: MPI.Comm) -> float:
    """Return the bytes that every rank can have if all ranks of its node take the same.  Collective.

    It is what the node has, or what the batch system or the container lets the job use, whichever is least.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    share = min(min(_node_limits()) / node.size, _process_limit())
    node.Free()
    return comm.allreduce(share, MPI.MIN)


def _node_limits() -> Iterator[float]:
    """Yield the memory of this node, and the limits of the control groups that this process is in."""
    with open("/proc/meminfo", encoding="ascii") as file:
        kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in file)}
    yield 1024.0 * kilobytes["MemTotal"]
    for path in _cgroup_files():
        text = path.read_text(encoding="ascii").strip() if path.is_file() else "max"
        if text.isdigit():
            yield float(text)


def _cgroup_files() -> Iterator[Path]:
    """Yield where the kernel keeps these limits, for either version of control groups."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root, name = (CGROUPS, "memory.max") if not controllers else (CGROUPS / "memory", "memory.limit_in_bytes")
        if controllers in ("", "memory"):
            folder = root / path.strip("/")
            yield from (parent / name for parent in (folder, *folder.parents) if parent.is_relative_to(root))


def _process_limit() -> float:
    """Return the address space that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return float("inf") if soft == resource.RLIM_INFINITY else float(soft)
