"""Small helpers that keep replicated data identical on every rank.

A *decision* (has it converged? which step is next?) is taken on rank 0 and broadcast, so that round-off
differences between ranks can never send them down different paths.  Dense eigenproblems follow the same rule:
signs and rotations of degenerate vectors would otherwise differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from mpi4py import MPI

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

PATIENCE_SECONDS = 10.0
"""How long a rank that has failed waits for the others to say the same."""


def decide(comm: MPI.Comm, value: Value) -> Value:
    """Return rank 0's ``value`` on every rank.  Collective."""
    return comm.bcast(value, root=0) if comm.size > 1 else value


def sum_over_ranks(comm: MPI.Comm, local: Any) -> Any:
    """Return the sum of a number or an array over all ranks, the same on each.  Collective."""
    if comm.size == 1:
        return local
    if np.ndim(local) == 0:
        return comm.allreduce(local)
    total = np.ascontiguousarray(local).copy()
    comm.Allreduce(MPI.IN_PLACE, total)
    return total


def replicate(comm: MPI.Comm, array: np.ndarray) -> np.ndarray:
    """Overwrite ``array``, of any shape and unit, with rank 0's copy on every rank and return it.  Collective."""
    if comm.size > 1:
        comm.Bcast(array, root=0)
    return array


def on_rank_zero(
    comm: MPI.Comm, function: Callable[Parameters, Value], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Value:
    """Run ``function(*args, **kwargs)`` on rank 0 and return its result everywhere; its exception is raised everywhere.

    Collective.  The result is pickled between ranks of one job (never to disk), so keep it small.
    """
    result, error = None, None
    if comm.rank == 0:
        try:
            result = function(*args, **kwargs)
        except Exception as exception:
            error = exception
    error = comm.bcast(error, root=0)
    if error is not None:
        raise error
    return comm.bcast(result, root=0)


def everyone_arrives(failures: MPI.Comm) -> bool:
    """Return whether all ranks come here within the patience granted; a plain barrier could wait for ever.

    ``failures`` is a duplicate of the job's communicator that is used for nothing else: ranks that do not come may be in the
    middle of something collective.
    """
    if failures.size == 1:
        return True
    request = failures.Ibarrier()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
