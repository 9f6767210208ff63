"""PETSc and SLEPc, initialised once, without the program's own command line and without files of options.

A ``.petscrc`` in the current folder, perhaps a stranger's, could change solvers and start programs.
"""

from __future__ import annotations

import petsc4py
import slepc4py

OPTIONS = ["mpiqmd", "-no_signal_handler", "-skip_petscrc"]

petsc4py.init(OPTIONS)
slepc4py.init(OPTIONS)

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
