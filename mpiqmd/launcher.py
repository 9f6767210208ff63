"""How a process of an MPI job starts: what the launcher says about it before MPI is loaded, and its environment."""

from __future__ import annotations

import os
from collections.abc import Sequence

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LAUNCHER_SIZE = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
LAUNCHER_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")


def prepare_environment() -> None:
    """Set one BLAS thread per rank unless the user chose otherwise; must come before NumPy is imported."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    # Debian's h5py otherwise picks its serial library whenever it is not started by mpirun.
    os.environ.setdefault("H5PY_ALWAYS_USE_MPI", "1")


def launcher_rank() -> int:
    """Return the rank that the launcher gave this process; 0 without a launcher.  Not collective."""
    return _first_integer(LAUNCHER_RANK, 0)


def singletons_message(world_size: int) -> str | None:
    """Return what to say if a launcher started several processes that MPI does not see as one job, else None.

    Not collective.  It happens when ``mpirun`` belongs to another MPI library than mpi4py: every process is then
    rank 0 of its own world, and all of them would write the same files.
    """
    launched = _first_integer(LAUNCHER_SIZE, 1)
    if launched <= 1 or world_size > 1:
        return None
    return (
        f"{launched} processes were started, but each of them is alone (MPI world of size 1). mpirun and mpi4py "
        "must belong to the same MPI library. Use the mpirun of the library that `mpiqmd doctor` names "
        "(on Debian and Ubuntu /usr/bin/mpirun)."
    )


def _first_integer(names: Sequence[str], default: int) -> int:
    """Return the first of these environment variables that holds an integer."""
    for name in names:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return default
