"""``mpiqmd doctor``: what is installed, whether it fits together, and what to do where it does not.

Libraries are imported by name, each inside its own check, so that one that is missing is reported and the rest
is still examined.  Under ``mpirun`` the checks run on all ranks of the job as it will be.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiqmd.errors import MpiqmdError
from mpiqmd.parallel.comm import on_rank_zero

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

OLDEST_PYTHON = (3, 11)
SETUP = "run run/setup (or install it into the environment you use)"


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``advice`` is empty when all is well, ``required`` says whether it must be."""

    name: str
    found: str
    advice: str = ""
    required: bool = True

    @property
    def verdict(self) -> str:
        """``ok``, ``note`` (works, could be better) or ``problem``."""
        if not self.advice:
            return "ok"
        return "problem" if self.required else "note"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Examine the installation, print one line per finding and return them.

    Collective.  Raises MpiqmdError if something required is missing or wrong on any rank.
    """
    findings = [_shared(comm, check) for check in CHECKS]
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        log(f"{finding.verdict:8s} {finding.name:{width}s}  {finding.found}")
        if finding.advice:
            log(f"{'':{width + 10}} -> {finding.advice}")
    failed = [finding.name for finding in findings if finding.verdict == "problem"]
    if failed:
        raise MpiqmdError(
            f"{len(failed)} of {len(findings)} checks failed ({', '.join(failed)}): all must pass for the other "
            "commands to work. Do what the lines above say, then run `mpiqmd doctor` again."
        )
    log(f"all {len(findings)} checks passed on {comm.size} rank{'s' if comm.size > 1 else ''}")
    return {"findings": [asdict(finding) | {"verdict": finding.verdict} for finding in findings]}


def _shared(comm: MPI.Comm, check: Callable[[MPI.Comm], Finding]) -> Finding:
    """Run a check on every rank and return rank 0's finding, or the first rank's that differs.  Collective."""
    findings = comm.allgather(check(comm))
    for rank, finding in enumerate(findings):
        if finding.verdict == "problem":
            where = f" (rank {rank})" if comm.size > 1 else ""
            return Finding(finding.name, finding.found + where, finding.advice, finding.required)
    first = findings[0]
    for rank, finding in enumerate(findings):
        if finding.found != first.found:
            found = f"{first.found} on rank 0, but {finding.found} on rank {rank}"
            return Finding(first.name, found, "install the same version on every node of the job")
    return first


def check_python(comm: MPI.Comm) -> Finding:
    """Find the Python version.  Not collective."""
    found = f"{platform.python_version()} ({sys.executable})"
    too_old = sys.version_info < OLDEST_PYTHON
    return Finding("Python", found, "use Python 3.11 or newer" if too_old else "")


def check_mpi(comm: MPI.Comm) -> Finding:
    """Find mpi4py and the MPI library it was built with.  Not collective."""
    mpi = importlib.import_module("mpi4py.MPI")
    library = mpi.Get_library_version().strip("\0 \n").splitlines()[0].split(", package")[0]
    version = importlib.import_module("mpi4py").__version__
    return Finding("MPI", f"{library}; mpi4py {version}; {comm.size} rank{'s' if comm.size > 1 else ''}")


def check_ranks(comm: MPI.Comm) -> Finding:
    """Compare the ranks on this host with the cores this process may use.  Collective."""
    hosts = comm.allgather(platform.node())
    here = hosts.count(platform.node())
    cores = os.cpu_count() or 1
    found = f"{max(hosts.count(host) for host in hosts)} per host on {len(set(hosts))} host(s), {cores} cores"
    crowded = here > cores
    return Finding("ranks", found, f"start at most {cores} ranks per host" if crowded else "", required=False)


def check_numpy(comm: MPI.Comm) -> Finding:
    """Find NumPy.  Not collective."""
    return _library("numpy", "NumPy")


def check_scipy(comm: MPI.Comm) -> Finding:
    """Find SciPy.  Not collective."""
    return _library("scipy", "SciPy")


def check_ase(comm: MPI.Comm) -> Finding:
    """Find ASE.  Not collective."""
    return _library("ase", "ASE")


def check_matplotlib(comm: MPI.Comm) -> Finding:
    """Find matplotlib.  Not collective."""
    return _library("matplotlib", "matplotlib")


def check_petsc(comm: MPI.Comm) -> Finding:
    """Find PETSc and SLEPc; they must have been built for real double precision.  Not collective."""
    name = "PETSc, SLEPc"
    try:
        versions = importlib.import_module("mpiqmd.grid.petsc").versions()
    except Exception as problem:
        return Finding(name, f"cannot be imported: {problem}", SETUP)
    found = "PETSc {petsc}, SLEPc {slepc}, scalars {scalar}, integers {int}".format(**versions)
    if versions["scalar"] != "float64":
        return Finding(name, found, "install the builds with real double-precision scalars; run run/setup")
    return Finding(name, found)


def check_threads(comm: MPI.Comm) -> Finding:
    """Find how many threads BLAS takes per rank.  Not collective."""
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    advice = "" if threads == "1" else "set OMP_NUM_THREADS=1: the ranks already use the cores"
    return Finding("BLAS threads per rank", threads, advice, required=False)


def check_libxc(comm: MPI.Comm) -> Finding:
    """Find libxc's C library and its version.  Not collective."""
    conda = Path(os.environ.get("CONDA_PREFIX", sys.prefix)) / "lib" / "libxc.so"
    name = str(conda) if conda.exists() else ctypes.util.find_library("xc")
    if name is None:
        return Finding("libxc", "not found", "install libxc (Debian: libxc9 or libxc-dev; conda: libxc)")
    try:
        library = ctypes.CDLL(name)
        library.xc_version_string.restype = ctypes.c_char_p
        return Finding("libxc", f"{library.xc_version_string().decode()} ({name})")
    except (OSError, AttributeError) as problem:
        return Finding("libxc", f"cannot be loaded: {problem}", "install libxc again")


def check_kernels(comm: MPI.Comm) -> Finding:
    """Run a loop that numba compiles and find where its machine code is kept.  Not collective."""
    name = "compiled loops"
    try:
        numpy = importlib.import_module("numpy")
        kernels = importlib.import_module("mpiqmd.grid.kernels")
        total = kernels.linear_combination([2.0, 1.0], [numpy.arange(3.0), numpy.ones(3)])
        folder = importlib.import_module("mpiqmd.compiling").cache_folder(kernels.combine)
    except Exception as problem:
        return Finding(name, f"cannot be compiled: {problem}", SETUP)
    found = f"numba {importlib.import_module('numba').__version__}, kept in {folder or 'memory only'}"
    if total.tolist() != [1.0, 3.0, 5.0]:
        return Finding(name, f"{found}; a sum is {total.tolist()} instead of [1, 3, 5]", "install numba and llvmlite again")
    advice = "" if folder else "every run compiles them anew; set NUMBA_CACHE_DIR to a folder that only you can write to"
    return Finding(name, found, advice, required=False)


def check_hdf5(comm: MPI.Comm) -> Finding:
    """Write one HDF5 file from all ranks together and read it back.  Collective."""
    try:
        h5py = importlib.import_module("h5py")
        problem = "" if h5py.get_config().mpi else "h5py was built without MPI"
        found = f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"
    except ImportError as error:
        found, problem = f"cannot be imported: {error}", "h5py is missing"
    if any(comm.allgather(bool(problem))):
        advice = "install the parallel build of h5py (Debian: python3-h5py-mpi; conda: h5py=*=mpi_openmpi*)"
        return Finding("parallel HDF5", f"{found}; {problem or 'not usable on another rank'}", advice)
    problem = _write_together(comm, h5py)
    advice = "the file system of this folder or the HDF5 library does not support parallel writing" if problem else ""
    return Finding("parallel HDF5", f"{found}; {problem or f'{comm.size} rank(s) wrote one file'}", advice)


def _write_together(comm: MPI.Comm, h5py: Any) -> str:
    """Return what went wrong when every rank wrote its row of one dataset; empty if nothing did.  Collective."""
    try:
        handle, name = on_rank_zero(comm, lambda: tempfile.mkstemp(suffix=".h5", prefix=".mpiqmd-doctor-", dir="."))
    except OSError as error:
        return f"no file can be made in the current folder: {error}"
    problem = ""
    try:
        with h5py.File(name, "w", driver="mpio", comm=comm) as file:
            file.create_dataset("rank", (comm.size,), dtype="i8")[comm.rank] = comm.rank
        comm.Barrier()
        with h5py.File(name, "r", driver="mpio", comm=comm) as file:
            if list(file["rank"][:]) != list(range(comm.size)):
                problem = "what was read differs from what was written"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    comm.Barrier()
    if comm.rank == 0:
        os.close(handle)
        Path(name).unlink(missing_ok=True)
    return problem


def _library(module: str, name: str) -> Finding:
    """Find a Python library by importing it.  Not collective."""
    try:
        return Finding(name, importlib.import_module(module).__version__)
    except Exception as problem:
        return Finding(name, f"cannot be imported: {problem}", SETUP)


CHECKS = (
    check_python,
    check_mpi,
    check_ranks,
    check_threads,
    check_numpy,
    check_scipy,
    check_petsc,
    check_kernels,
    check_hdf5,
    check_libxc,
    check_matplotlib,
    check_ase,
)
