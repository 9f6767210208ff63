"""How a process of an MPI job starts: what the launcher says about it before MPI is loaded, and its environment."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
REMOTE_SHELLS = ("ssh", "rsh")
LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MPI_LOCALNRANKS", "MPI_LOCALRANKID"),
    ("JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),
    ("PALS_SIZE", "PALS_RANKID"),
    ("", "PMIX_RANK"),
    ("FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
"""Variables that say how many processes a launcher started and which of them this is, the nearest launcher first.

MPI launchers come before schedulers: ``mpirun`` starts its daemons by ``srun``, and what they start inherits the variables of
that step.  A Slurm job has ``SLURM_NTASKS`` whether or not anything was started in it, so only the number of its step counts.
"""
LONGEST_NUMBER = 9
"""Digits of a number of processes; what is longer is none."""
AT_A_TERMINAL = "SLURM_PTY_"
"""How the names begin that ``srun --pty`` sets: its first task is a shell, from which programs are started one by one."""


CTRL_C_STATUS = 130
"""What shells expect of a program that Ctrl-C has ended."""


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process on Ctrl-C in a ``with`` block that loads libraries, where the exception that Python makes of it may be
    caught by one of them, and be lost.  Not collective.
    """
    heard = threading.current_thread() is threading.main_thread()
    if not heard or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: object) -> None:
    if launcher_rank() == 0:
        with suppress(OSError):
            os.write(2, b"\nmpiqmd: interrupted before it began\n")
    os._exit(CTRL_C_STATUS)


def prepare_environment() -> None:
    """Set one BLAS thread per rank unless the user chose otherwise, no locks of HDF5, and what MPI libraries cannot do without.

    Must come before NumPy, h5py and MPI are imported.
    """
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    # Readers in other programs shall not stop a run, nor it them; it claims its folder instead.
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    # Loops of Python would take days, and fail; numba ends a process for a number of threads that it does not like.
    for name in ("NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS"):
        os.environ.pop(name, None)
    # Debian's h5py otherwise picks its serial library whenever it is not started by mpirun.
    os.environ.setdefault("H5PY_ALWAYS_USE_MPI", "1")
    os.environ.setdefault("PATH", os.defpath)
    # Open MPI 5 ends a process without a home; one that is not there is enough.
    if not _is_whole_path("HOME"):
        os.environ.pop("HOME", None)
        home = os.path.expanduser("~")
        os.environ["HOME"] = home if os.path.isabs(home) else os.sep
    # A relative or empty one is to be ignored, but numba would look for machine code in the current folder.
    if not _is_whole_path("XDG_CACHE_HOME"):
        os.environ.pop("XDG_CACHE_HOME", None)
    # Open MPI 4 ends a process that it could not help to start others on other hosts.
    if launched_processes() == 1 and not any(map(shutil.which, REMOTE_SHELLS)):
        os.environ.setdefault("OMPI_MCA_plm", "isolated")


def _is_whole_path(name: str) -> bool:
    """Whether an environment variable holds a path that does not depend on the current folder."""
    return os.path.isabs(os.environ.get(name, ""))


def launcher_rank() -> int:
    """Return the rank that the launcher gave this process; 0 without a launcher.  Not collective."""
    return _first_integer([rank for _, rank in LAUNCHERS], 0)


def launched_processes() -> int:
    """Return how many processes the nearest launcher started, at least; 1 without a launcher.  Not collective."""
    at_a_terminal = any(name.startswith(AT_A_TERMINAL) for name in os.environ)
    for size_name, rank_name in LAUNCHERS:
        size, rank = _first_integer([size_name], 0), _first_integer([rank_name], 0)
        if size_name.startswith("SLURM") and (at_a_terminal or not size):
            continue
        if size or rank:
            return max(size, rank + 1)
    return 1


def singletons_message(world_size: int) -> str | None:
    """Return what to say if a launcher started several processes that MPI does not see as one job, else None.

    Not collective.  It happens when ``mpirun`` belongs to another MPI library than mpi4py, and under ``srun`` without an
    interface to that library: every process is then rank 0 of its own world, and all of them would write the same files.
    """
    launched = launched_processes()
    if launched <= 1 or world_size > 1:
        return None
    return (
        f"{launched} processes were started, but each of them is alone (MPI world of size 1). mpirun, or srun, and mpi4py must "
        "belong together. Use the mpirun of the library that `mpiqmd doctor` names (on Debian and Ubuntu /usr/bin/mpirun), "
        "under Slurm too, or `srun --mpi=pmix` if `srun --mpi=list` has it. Runs that are meant to be separate: start each "
        "as a step of one process (`srun --ntasks=1`)."
    )


def _first_integer(names: Sequence[str], default: int) -> int:
    """Return the first of these environment variables that holds an integer."""
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal() and len(value) <= LONGEST_NUMBER:
            return int(value)
    return default
