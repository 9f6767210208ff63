"""The command line: help, results, error messages and exit statuses, on any number of ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from mpiqmd.cli import build_parser, parse_arguments
from mpiqmd.commands import COMMANDS
from mpiqmd.errors import ConfigError, ConvergenceError, DataFileError
from mpiqmd.parallel import comm as parallel_comm
from mpiqmd.pipeline import job
from mpiqmd.pipeline.circumstances import loaded_versions
from mpiqmd.pipeline.doctor import CHECKS
from mpiqmd.pipeline.results import plain, prepare_folder, read_result, write_result
from tests.helpers.workplace import READ_WATER as WATER
from tests.helpers.workplace import loaded_by, outside_environment


@pytest.fixture
def input_file(comm, shared_tmp_path):
    """An input file that every rank can name; only rank 0 reads it."""
    if comm.rank == 0:
        (shared_tmp_path / "water.toml").write_text(WATER)
    comm.Barrier()
    return shared_tmp_path / "water.toml"


@pytest.fixture
def command(monkeypatch):
    """Return a function that puts ``run`` in the place of the command ``scf``."""

    def replace(run):
        monkeypatch.setitem(sys.modules, "mpiqmd.pipeline.scf", types.SimpleNamespace(run=run))

    return replace


def run_scf(comm, input_file, *options):
    """Run ``scf`` on ``comm``; return its exit status, the same on every rank, and the output folder."""
    folder = input_file.parent / "out"
    arguments = parse_arguments(["scf", str(input_file), "--output", str(folder), *options])
    status = job.run_job(arguments, comm)
    assert comm.allgather(status) == [status] * comm.size
    return status, folder


def mpiqmd(*words, **environment):
    """Run the command line as a process of its own, outside this job."""
    return subprocess.run(
        [sys.executable, "-m", "mpiqmd", *words],
        capture_output=True,
        text=True,
        env=outside_environment() | environment,
        check=False,
    )


def test_the_result_holds_what_the_command_returned_and_where_it_came_from(comm, input_file, command):
    def run(arguments, comm, log):
        assert arguments.settings.grid.points == (64, 64, 64)
        assert arguments.folder.is_dir() and arguments.density
        return {
            "energy": np.float64(-17.0),
            "forces": np.eye(3),
            "converged": np.bool_(True),
            "ratio": np.nan,
        }

    command(run)
    status, folder = run_scf(comm, input_file, "--density", "--quiet")
    assert status == 0
    result = read_result(folder / "result.json")
    assert (result["energy"], result["forces"], result["converged"]) == (-17.0, np.eye(3).tolist(), True)
    assert result["ratio"] is None
    assert (result["command"], result["ranks"]) == ("scf", comm.size)
    assert result["input"]["grid"]["points"] == [64, 64, 64]
    assert {"mpiqmd", "python", "numpy", "mpi4py", "mpi"} <= set(result["versions"])
    assert result["wall_seconds"] > 0
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_an_error_of_all_ranks_is_one_message_and_status_1(comm, input_file, command, capfd):
    def run(arguments, comm, log):
        raise ConvergenceError("the ground state is not converged after 3 iterations")

    command(run)
    status, folder = run_scf(comm, input_file)
    captured = capfd.readouterr()
    assert status == 1
    assert not (folder / "result.json").exists()
    expected = "mpiqmd: error: the ground state is not converged after 3 iterations\n" if comm.rank == 0 else ""
    assert [line for line in captured.err.splitlines(True) if "mpiqmd" in line] == [expected] * bool(expected)


def test_a_bad_input_is_reported_once(comm, input_file, capfd):
    if comm.rank == 0:
        input_file.write_text(WATER + "[md]\nstep = 3\n")
    comm.Barrier()
    status, folder = run_scf(comm, input_file)
    assert status == 1
    assert ("did you mean 'steps'" in capfd.readouterr().err) == (comm.rank == 0)
    assert not folder.exists()


def test_files_named_on_the_command_line_must_exist(comm, input_file, capfd):
    arguments = parse_arguments(["md", str(input_file), "--model", str(input_file.parent / "none.h5")])
    assert job.run_job(arguments, comm) == 1
    assert ("none.h5" in capfd.readouterr().err) == (comm.rank == 0)


class AbortCalledError(Exception):
    """Stands for the end of the whole job."""


class AbortingCommunicator:
    """A communicator whose Abort is an exception; everything else is the real one's."""

    def __init__(self, comm):
        self.comm = comm

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Abort(self, status):
        raise AbortCalledError(status)


def test_an_unexpected_exception_ends_the_job_on_all_ranks(comm, input_file, command, capfd):
    def run(arguments, comm, log):
        raise ZeroDivisionError("a bug")

    command(run)
    arguments = parse_arguments(["scf", str(input_file), "--output", str(input_file.parent / "out")])
    if comm.size == 1:
        assert job.run_job(arguments, comm) == 1
    else:
        with pytest.raises(AbortCalledError):
            job.run_job(arguments, AbortingCommunicator(comm))
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err


def test_an_error_on_one_rank_only_does_not_leave_the_others_waiting(comm, input_file, command, capfd, monkeypatch):
    if comm.size == 1:
        pytest.skip("needs two ranks")
    monkeypatch.setattr(parallel_comm, "PATIENCE_SECONDS", 0.2)
    unlucky = comm.size - 1

    def run(arguments, comm, log):
        if comm.rank == unlucky:
            raise ConvergenceError("only here")
        comm.recv(source=unlucky, tag=7)
        return {}

    command(run)
    arguments = parse_arguments(["scf", str(input_file), "--output", str(input_file.parent / "out"), "--quiet"])
    if comm.rank == unlucky:
        with pytest.raises(AbortCalledError):
            job.run_job(arguments, AbortingCommunicator(comm))
        assert f"error on rank {unlucky}: only here" in capfd.readouterr().err
        for rank in range(comm.size - 1):
            comm.send(None, dest=rank, tag=7)
        comm.bcast(None, root=0)
        comm.bcast(None, root=0)
    else:
        assert job.run_job(arguments, comm) == 0


def test_doctor_passes_here(comm, capfd, shared_tmp_path, monkeypatch):
    monkeypatch.chdir(shared_tmp_path)
    if comm.size == 1 and os.environ.get("H5PY_ALWAYS_USE_MPI") != "1":
        pytest.skip("h5py was loaded without MPI; the command as a process is tested below")
    assert job.run_job(parse_arguments(["doctor"]), comm) == 0
    lines = capfd.readouterr().out.splitlines()
    if comm.rank == 0:
        assert sum(line.startswith(("ok ", "note ")) for line in lines) == len(CHECKS)
        assert lines[-1].startswith("all ")
    comm.Barrier()
    assert list(shared_tmp_path.iterdir()) == []


@pytest.mark.serial
def test_doctor_fails_when_something_required_does(comm, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert job.run_job(parse_arguments(["doctor"]), comm) == 1
    captured = capfd.readouterr()
    assert "problem  SciPy" in captured.out and "-> run run/setup" in captured.out
    assert "checks failed (" in captured.err and "SciPy" in captured.err


def test_a_library_that_does_not_load_is_an_error_in_words(comm, input_file, capfd, monkeypatch):
    """As numba of a distribution with a NumPy that pip has put in front of the distribution's."""
    monkeypatch.setitem(sys.modules, "mpiqmd.pipeline.scf", None)
    status, _ = run_scf(comm, input_file)
    assert status == 1
    if comm.rank == 0:
        told = capfd.readouterr().err
        assert "cannot be loaded: import of mpiqmd.pipeline.scf halted" in told and "Run run/setup" in told
        assert "Traceback" not in told


def test_a_command_that_fails_leaves_no_empty_folder(comm, input_file, command):
    def run(arguments, comm, log):
        raise ConfigError("no")

    command(run)
    status, folder = run_scf(comm, input_file)
    comm.Barrier()
    assert status == 1 and not folder.exists()
    comm.Barrier()
    if comm.rank == 0:
        folder.mkdir()
    comm.Barrier()
    assert run_scf(comm, input_file)[0] == 1 and folder.is_dir()


@pytest.mark.serial
def test_doctor_as_a_process(tmp_path):
    process = mpiqmd("doctor")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "parallel HDF5" in process.stdout and "1 rank(s) wrote one file" in process.stdout


@pytest.mark.serial
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([name, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "examples:" in text and "Writes" in text
    for example in COMMANDS[name].examples:
        words = example.split("mpiqmd ", 1)[1].split()
        assert parse_arguments(words).command == name


@pytest.mark.serial
def test_help_needs_neither_numpy_nor_mpi():
    statement = "from mpiqmd.cli import parse_arguments; parse_arguments(['scf', 'a.toml'])"
    assert loaded_by(statement, {"numpy", "mpi4py", "petsc4py"}) == set()


@pytest.mark.serial
@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["scf", "cases/water.toml"], "water-scf"),
        (["check", "forces", "water.toml"], "water-check-forces"),
        (["compare", "a.h5", "b.h5"], "compare"),
        (["plot", "out/model.h5"], "model-plot"),
        (["md", "water.toml", "--output", "x/y"], "x/y"),
    ],
)
def test_default_folders(words, folder):
    assert str(parse_arguments(words).output) == folder


@pytest.mark.serial
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("04:00:00", 14400), ("1:02:03", 3723), ("2-00:00:01", 172801), ("00:00:30", 30)],
)
def test_wall_times(text, seconds):
    assert parse_arguments(["md", "water.toml", "--walltime", text]).walltime == seconds


@pytest.mark.serial
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["relaxed", "water.toml"],
        ["scf"],
        ["evaluate", "water.toml"],
        ["md", "water.toml", "--steps", "-1"],
        ["md", "water.toml", "--steps", "1e3"],
        ["md", "water.toml", "--replicas", "0"],
        ["md", "water.toml", "--walltime", "0"],
        ["md", "water.toml", "--walltime", "10:00"],
        ["md", "water.toml", "--walltime", "1:60:00"],
        ["md", "water.toml", "--walltime", "00:00:99"],
        ["md", "water.toml", "--walltime", "4h"],
        ["check", "water.toml"],
        ["compare", "a.h5"],
    ],
)
def test_wrong_command_lines_end_with_status_2_and_a_usage_line(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: mpiqmd")


@pytest.mark.serial
def test_help_input_lists_the_keys_and_survives_a_closed_pipe():
    assert "electronic_temperature" in mpiqmd("help-input").stdout
    pipe = f"set -o pipefail; {sys.executable} -m mpiqmd help-input | head -1"
    process = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.serial
def test_overwrite_removes_only_what_the_command_writes(tmp_path):
    for name in ("result.json", "model.h5", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert prepare_folder(tmp_path, False, ("model.h5",)) == tmp_path.resolve()
    assert (tmp_path / "model.h5").exists()
    prepare_folder(tmp_path, True, ("model.h5",))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.serial
def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--output"):
        prepare_folder(tmp_path / "file", False, ())
    with pytest.raises(ConfigError, match="--output"):
        prepare_folder(tmp_path / "file" / "below", False, ())


@pytest.mark.serial
def test_what_a_killed_run_left_unfinished_goes(tmp_path):
    for name in ("model.h5.part", "other.part", "model.h5"):
        (tmp_path / name).write_text("x")
    prepare_folder(tmp_path, False, ("model.h5",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.h5", "other.part"]


@pytest.mark.serial
def test_results_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_result(path, {"energy": 1.0})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataFileError, match="No space left on device"):
        write_result(path, {"energy": 2.0})
    assert read_result(path) == {"energy": 1.0}
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.serial
@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000])
def test_damaged_results_are_refused(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(DataFileError, match=r"result\.json"):
        read_result(tmp_path / "result.json")


@pytest.mark.serial
def test_plain_values_are_json():
    values = {"a": (1, np.int64(2)), 3: np.array([[1.0, np.inf]]), "b": None, "c": "x", "d": tuple}
    assert json.loads(json.dumps(plain(values), allow_nan=False)) == {
        "a": [1, 2],
        "3": [[1.0, None]],
        "b": None,
        "c": "x",
        "d": "<class 'tuple'>",
    }
    assert loaded_versions()["numpy"] == np.__version__
