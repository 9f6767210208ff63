"""What the launcher's variables say of a job, and the environment in which MPI starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mpiqmd import launcher
from tests.helpers.workplace import outside_environment

pytestmark = pytest.mark.serial

STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NPROCS": "2", "SLURM_STEP_NUM_TASKS": "2"}
"""What every task of ``srun --ntasks=2`` sees, beside its ``SLURM_PROCID``."""


@pytest.fixture
def environment():
    """A function that replaces the whole environment until the test ends."""

    def replace(**variables: str) -> None:
        os.environ.clear()
        os.environ.update(variables)

    before = dict(os.environ)
    yield replace
    replace(**before)


@pytest.mark.parametrize(
    ("variables", "launched"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, 2),
        ({"PMI_SIZE": "3", "PMI_RANK": "2"}, 3),
        ({"MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "0"}, 2),
        (STEP | {"SLURM_PROCID": "0"}, 2),
        (STEP | {"SLURM_PROCID": "1"}, 2),
        (STEP | {"SLURM_PROCID": "0", "PMIX_RANK": "0", "PMIX_NAMESPACE": "slurm.pmix.7.0"}, 2),
        ({"PMIX_RANK": "3"}, 4),
        ({"PALS_RANKID": "1", "PALS_LOCAL_RANKID": "1"}, 2),
        ({"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "0"}, 2),
    ],
)
def test_several_processes_are_noticed(environment, variables, launched):
    environment(**variables)
    assert launcher.launched_processes() == launched
    message = launcher.singletons_message(world_size=1)
    assert message is None if launched == 1 else message.startswith(f"{launched} processes were started, but each of them")
    assert launcher.singletons_message(world_size=2) is None


@pytest.mark.parametrize(
    "variables",
    [
        # the shell of a batch job of 16 tasks
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16", "SLURM_NPROCS": "16", "SLURM_PROCID": "0", "SLURM_TASK_PID": "99"},
        # started by mpirun on the fourth host of a job, where the daemons are tasks of a step
        STEP | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        # the same with the launcher of MPICH
        STEP | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "PMI_SIZE": "1", "PMI_RANK": "0"},
        # a command in the shell of `srun --ntasks=2 --pty bash`
        STEP | {"SLURM_PROCID": "0", "SLURM_PTY_PORT": "40001", "SLURM_PTY_WIN_COL": "80"},
        # one process of its own
        STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        # no numbers of processes
        {"PMI_SIZE": "two", "FLUX_JOB_SIZE": "-2", "OMPI_COMM_WORLD_SIZE": "\u00b2", "PMIX_RANK": "9" * 5000},
    ],
)
def test_one_process_is_left_alone(environment, variables):
    environment(**variables)
    assert launcher.launched_processes() == 1 and launcher.singletons_message(world_size=1) is None


def test_tasks_of_srun_that_do_not_see_each_other_all_say_so_and_write_nothing(tmp_path):
    (tmp_path / "h2.toml").write_text('[system]\nsymbols = ["H"]\npositions = [[0.0, 0.0, 0.0]]\n')
    words = [sys.executable, "-m", "mpiqmd", "md", "h2.toml", "--output", "out"]
    for task in ("0", "1"):
        variables = outside_environment() | STEP | {"SLURM_PROCID": task}
        process = subprocess.run(words, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert process.returncode == 1
        assert process.stderr.startswith("mpiqmd: error: 2 processes were started, but each of them is alone")
    assert not (tmp_path / "out").exists()


def test_the_calculator_refuses_them_unless_each_shall_compute_on_its_own():
    script = (
        "from mpi4py import MPI; from mpiqmd.ase import MPIQMD; from mpiqmd.errors import ConfigError\n"
        "for comm in (None, MPI.COMM_WORLD, MPI.COMM_SELF):\n"
        "    try: MPIQMD('missing.toml', comm=comm)\n"
        "    except ConfigError as error: print(str(error))"
    )
    variables = outside_environment() | STEP | {"SLURM_PROCID": "0"}
    process = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    alone, world, own = process.stdout.splitlines()
    assert alone.startswith("2 processes were started") and world == alone
    assert "missing.toml" in own


def test_one_thread_per_rank_unless_the_user_says_otherwise(environment):
    environment(OMP_NUM_THREADS="3")
    launcher.prepare_environment()
    assert os.environ["OMP_NUM_THREADS"] == "3" and os.environ["OPENBLAS_NUM_THREADS"] == "1"


@pytest.mark.parametrize("variables", [{}, {"HOME": ""}, {"HOME": "here", "XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "here"}])
def test_no_place_of_the_user_depends_on_the_current_folder(environment, variables):
    environment(**variables)
    launcher.prepare_environment()
    assert os.path.isabs(os.environ["HOME"]) and os.environ["PATH"] == os.defpath
    assert "XDG_CACHE_HOME" not in os.environ


def test_loops_are_compiled_whatever_is_set_for_other_programs(environment):
    environment(NUMBA_DISABLE_JIT="1", NUMBA_NUM_THREADS="0")
    launcher.prepare_environment()
    assert not [name for name in os.environ if name.startswith("NUMBA_")]


def test_what_is_set_stays(environment, tmp_path):
    (tmp_path / "ssh").write_text("#!/bin/sh\n")
    (tmp_path / "ssh").chmod(0o755)
    chosen = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/cache", "PATH": str(tmp_path), "H5PY_ALWAYS_USE_MPI": "0"}
    environment(**chosen)
    launcher.prepare_environment()
    assert {name: os.environ[name] for name in chosen} == chosen and "OMPI_MCA_plm" not in os.environ


@pytest.mark.parametrize("folder", ["options of PETSc", "a pipe for options", "gone"])
def test_nothing_in_the_current_folder_decides_how_petsc_works(folder, tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    if folder == "gone":
        script = f"import os; os.rmdir({str(place)!r}); "
    else:
        script = ""
        os.mkfifo(place / ".petscrc") if "pipe" in folder else (place / ".petscrc").write_text("-eps_max_it 1\n")
    script += "from mpiqmd.grid.petsc import PETSc; print(sorted(PETSc.Options().getAll()))"
    command = [sys.executable, "-c", script]
    how = {"capture_output": True, "text": True, "timeout": 100, "check": True}
    process = subprocess.run(command, env=outside_environment(), cwd=place, **how)
    assert process.stdout == "['no_signal_handler', 'skip_petscrc']\n"


@pytest.mark.parametrize("variables", [{}, {"PATH": "/nonexistent", "HOME": ""}], ids=["nothing", "no ssh"])
def test_mpi_starts_in_an_empty_environment(variables, tmp_path):
    command = [sys.executable, "-m", "mpiqmd", "doctor"]
    process = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, ""), process.stdout + process.stderr
    assert "checks passed on 1 rank" in process.stdout


LOADING = """
import os, signal, sys
from mpiqmd.launcher import leaving_at_once
with leaving_at_once():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        print("a library has caught it")
print("going on")
"""


def test_ctrl_c_while_libraries_are_loaded_is_not_lost():
    command = [sys.executable, "-c", LOADING]
    process = subprocess.run(command, env=outside_environment(), capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (130, "") and "Traceback" not in process.stderr
