"""Fixtures shared by the whole suite, which runs unchanged on 1, 2, 3 and 4 ranks."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI


def pytest_configure(config):
    config.addinivalue_line("markers", "serial: runs on one rank only")
    config.addinivalue_line("markers", "slow: long validation, run with -m slow")
    config.addinivalue_line("markers", "reference: compares with another code's numbers")


def pytest_collection_modifyitems(config, items):
    if MPI.COMM_WORLD.size == 1:
        return
    skip = pytest.mark.skip(reason="one rank only")
    for item in items:
        if "serial" in item.keywords:
            item.add_marker(skip)


def pytest_runtest_logreport(report):
    """End the whole job when a test fails on one rank: the others would wait for it until the time is up."""
    if not report.failed or MPI.COMM_WORLD.size == 1:
        return
    print(f"\n{report.nodeid} failed on rank {MPI.COMM_WORLD.rank}\n{report.longreprtext}", flush=True)
    sys.stderr.flush()
    # Time for the other ranks to say whether it failed there, too.
    time.sleep(3.0)
    MPI.COMM_WORLD.Abort(1)


@pytest.fixture
def comm():
    """A duplicate of the world: library code that reaches for the world itself deadlocks or fails."""
    duplicate = MPI.COMM_WORLD.Dup()
    # What lives already cannot hold the duplicate: leaving it out makes the collection below a thousand times quicker.
    gc.freeze()
    yield duplicate
    gc.collect()
    duplicate.Barrier()
    duplicate.Free()


@pytest.fixture
def serial_comm():
    """This rank alone, for a serial recomputation inside a distributed test."""
    return MPI.COMM_SELF


@pytest.fixture
def rng():
    """A seeded generator, the same on every rank."""
    return np.random.default_rng(20240917)


@pytest.fixture
def shared_tmp_path(comm):
    """A temporary folder that every rank sees under the same name."""
    holder = tempfile.TemporaryDirectory() if comm.rank == 0 else None
    path = comm.bcast(holder.name if holder else None, root=0)
    yield Path(path)
    comm.Barrier()
    if holder:
        holder.cleanup()
