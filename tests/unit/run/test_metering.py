"""The metered communicator of the scaling study does what the plain one does, and counts it."""

import numpy as np
import pytest
from mpi4py import MPI

from run.scaling.metering import Meter, MeteredComm, WatchedMPI


def test_sums_and_transposes_are_counted(comm):
    meter = Meter()
    watched = MeteredComm(comm, meter)
    assert (watched.rank, watched.size) == (comm.rank, comm.size)
    total = np.full(5, float(comm.rank))
    watched.Allreduce(MPI.IN_PLACE, total)
    assert total == pytest.approx(comm.size * (comm.size - 1) / 2)
    assert watched.allreduce(1.0) == comm.size
    assert meter.calls == 2 and meter.bytes == (48 if comm.size > 1 else 0)
    meter.reset()
    received, ones = np.zeros(comm.size), [1] * comm.size
    watched.Alltoallv([np.arange(comm.size, dtype=float), ones], [received, ones])
    assert received == pytest.approx(comm.rank)
    assert meter.bytes == (8 * comm.size if comm.size > 1 else 0) and meter.wall > 0
    received[:] = -1.0
    watched.Ialltoallv([np.arange(comm.size, dtype=float), ones], [received, ones]).Wait()
    assert received == pytest.approx(comm.rank)
    assert meter.bytes == (16 * comm.size if comm.size > 1 else 0)


def test_parts_share_the_meter_and_waiting_is_metered(comm):
    meter = Meter()
    half = MeteredComm(comm, meter).Split(comm.rank % 2, comm.rank)
    assert half.bcast(7.0) == 7.0 and meter.calls == 1
    neighbour = (half.rank + 1) % half.size
    received, mpi = np.zeros(3), WatchedMPI(meter)
    requests = [half.Irecv(received, (half.rank - 1) % half.size), half.Isend(np.full(3, 2.0), neighbour)]
    mpi.Request.Waitall(requests)
    assert received == pytest.approx(2.0) and meter.calls == 3
    half.Isend(np.zeros(9), MPI.PROC_NULL).Wait()
    assert meter.bytes == 24 + (8 if half.size > 1 else 0)
    assert mpi.PROC_NULL == MPI.PROC_NULL
    half.Free()
