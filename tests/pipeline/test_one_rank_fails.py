"""An exception on one rank of a real job, in the middle of dynamics, ends all of it with the message and a status."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.helpers.workplace import WATER, outside_environment

PROGRAM = """
import sys
from mpi4py import MPI
from mpiqmd.cli import main
from mpiqmd.errors import ConvergenceError
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.parallel import comm
comm.PATIENCE_SECONDS = 1.0
solved, calls = HifiBodySolver._solved, []
def failing(self, alignment, memory):
    calls.append(1)
    if len(calls) == 3 and MPI.COMM_WORLD.rank == {rank}:
        raise {error}("boom")
    return solved(self, alignment, memory)
HifiBodySolver._solved = failing
sys.exit(main(["md", {path!r}, "--output", {folder!r}]))
"""
CROWDED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
HANGING = 120
"""Seconds after which a job that should have ended counts as one that never does."""


@pytest.mark.serial
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")
@pytest.mark.parametrize(
    ("rank", "error"),
    [
        (1, "ConvergenceError"),
        (0, "ZeroDivisionError"),
        pytest.param(0, "ConvergenceError", marks=pytest.mark.slow),
        pytest.param(1, "ZeroDivisionError", marks=pytest.mark.slow),
    ],
)
def test_the_job_ends_with_the_message(tmp_path, rank, error):
    (tmp_path / "water.toml").write_text(WATER)
    program = PROGRAM.format(rank=rank, error=error, path=str(tmp_path / "water.toml"), folder=str(tmp_path / "out"))
    job = subprocess.run(
        ["mpirun", "-n", "2", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=HANGING,
        env=outside_environment() | CROWDED,
        check=False,
    )
    assert job.returncode != 0
    assert "boom" in job.stderr and ("MD step 2" in job.stderr) == (error == "ConvergenceError")
    assert ("Traceback" in job.stderr) == (error == "ZeroDivisionError")
    assert not (tmp_path / "out" / "result.json").exists()
