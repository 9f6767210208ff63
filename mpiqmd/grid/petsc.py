"""PETSc and SLEPc, initialised once, without the program's own command line and without files of options.

A ``.petscrc`` in the current folder, perhaps a stranger's, could change solvers and start programs.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

import petsc4py
import slepc4py

OPTIONS = ["mpiqmd", "-no_signal_handler", "-skip_petscrc"]
LARGE = 2**25
"""Bytes from which on an array goes back to the system when it is freed; the C library allows no more."""

petsc4py.init(OPTIONS)
slepc4py.init(OPTIONS)


def _give_back_what_is_freed() -> None:
    """Let the C library return large arrays to the system when they are freed, where it is GNU's.

    Libraries that start with PETSc forbid it: what was free stayed in a heap with holes, and a process as large as it ever was.
    """
    mmap_max, mmap_threshold, trim_threshold = -4, -3, -1  # of malloc.h
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 65536)
        # temporary functions of a step stay in the heap, blocks of them do not
        mallopt(mmap_threshold, LARGE)
        mallopt(trim_threshold, 4 * LARGE)


_give_back_what_is_freed()

from petsc4py import PETSc  # noqa: E402  (the libraries must be initialised first)
from slepc4py import SLEPc  # noqa: E402

__all__ = ["PETSc", "SLEPc", "versions"]


def versions() -> dict[str, str]:
    """Return the versions of PETSc and SLEPc and the types of their scalars and integers.  Not collective."""
    return {
        "petsc": ".".join(map(str, PETSc.Sys.getVersion())),
        "slepc": ".".join(map(str, SLEPc.Sys.getVersion())),
        "scalar": PETSc.ScalarType().dtype.name,
        "int": PETSc.IntType().dtype.name,
    }
