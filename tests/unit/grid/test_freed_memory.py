"""Large arrays that are freed go back to the system, whatever the libraries have told the C library."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.grid.petsc import LARGE, PETSc

MEBI = 2**20


def resident() -> float:
    """Memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@pytest.mark.serial
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux counts memory")
def test_what_is_freed_is_given_back_though_something_newer_lives():
    assert PETSc.Sys.getVersion()
    large = np.ones(4 * LARGE // 8)
    newer = [np.ones(1000) for _ in range(1000)]
    before = resident()
    del large
    assert resident() < before - 3.5 * LARGE / MEBI and newer
