"""What a job spends on messages: a communicator that times and counts every call, and its children.

PETSc talks on communicators of its own, so the multigrid path is not metered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

METERED = (
    "allreduce",
    "Allreduce",
    "bcast",
    "Bcast",
    "allgather",
    "Allgatherv",
    "gather",
    "Alltoallv",
    "Ialltoallv",
    "Barrier",
)


class Meter:
    """Calls, bytes sent by this rank, and seconds of CPU and wall-clock time inside messages."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self.calls, self.bytes, self.cpu, self.wall = 0, 0, 0.0, 0.0

    def measured(self, function: Callable[..., Any], size: int, *arguments: Any, **keywords: Any) -> Any:
        """Return what the function returns, its time and size counted."""
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall
            self.calls += 1
            self.bytes += size


class MeteredComm(MPI.Intracomm):
    """A communicator whose calls are metered; those split from it share its meter."""

    def __new__(cls, comm: MPI.Comm, meter: Meter) -> MeteredComm:
        """Take over the handle of an existing communicator."""
        return super().__new__(cls, comm)

    def __init__(self, comm: MPI.Comm, meter: Meter) -> None:
        self.meter = meter

    def Split(self, color: int = 0, key: int = 0) -> MeteredComm:
        """Return a metered part of the communicator."""
        return MeteredComm(super().Split(color, key), self.meter)

    def Isend(self, buffer: Any, dest: int, tag: int = 0) -> MPI.Request:
        """Count a message that is sent while the rank computes."""
        size = 0 if dest == MPI.PROC_NULL else payload(buffer)
        return self.meter.measured(super().Isend, size, buffer, dest, tag)


def _forward(name: str) -> Callable[..., Any]:
    plain = getattr(MPI.Intracomm, name)

    def call(self: MeteredComm, *arguments: Any, **keywords: Any) -> Any:
        size = max((payload(argument) for argument in arguments[:2]), default=0) if self.size > 1 else 0
        return self.meter.measured(plain, size, self, *arguments, **keywords)

    return call


for _name in METERED:
    setattr(MeteredComm, _name, _forward(_name))


def payload(buffer: Any) -> int:
    """Return the bytes of a buffer as mpi4py takes it: an array or ``[array, counts]``; 8 for a number, 0 for the rest."""
    if isinstance(buffer, np.ndarray):
        return int(buffer.nbytes)
    if isinstance(buffer, list | tuple) and buffer and isinstance(buffer[0], np.ndarray):
        return int(buffer[0].nbytes)
    return 8 if isinstance(buffer, float) else 0


class WatchedMPI:
    """Stands for the module ``MPI`` where halos are waited for, so that the waiting is metered."""

    def __init__(self, meter: Meter) -> None:
        class Request(MPI.Request):
            @classmethod
            def Waitall(cls, requests: list[MPI.Request], statuses: list[MPI.Status] | None = None) -> bool:
                return meter.measured(MPI.Request.Waitall, 0, requests, statuses)

        self.Request = Request

    def __getattr__(self, name: str) -> Any:
        return getattr(MPI, name)
