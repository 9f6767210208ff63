"""Commands as processes whose output nobody reads, or nobody can: the files are written, the status says what was computed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.datafiles import seal, unseal
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.results import read_result
from tests.helpers.workplace import H2, outside_environment, with_keys

pytestmark = pytest.mark.serial

HYDROGEN = with_keys(
    H2,
    grid={"points": 16, "order": 8},
    md={"steps": 6, "timestep": "0.25 fs", "temperature": "100 K", "checkpoint_every": 2},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an input and the trajectory of a short run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "h2.toml").write_text(HYDROGEN)
    process = mpiqmd(folder, "md", "h2.toml", "--output", "first")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "place"))


def mpiqmd(folder, *words, closed=(), stdout=subprocess.PIPE, **environment):
    """Run a command in a folder; ``closed`` are descriptors that it is started without."""
    command = [sys.executable, "-m", "mpiqmd", *words]
    shell = " ".join(["exec", '"$@"', *(f"{descriptor}>&-" for descriptor in closed)])
    return subprocess.run(
        ["sh", "-c", shell, "sh", *command],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=outside_environment() | environment,
        check=False,
        timeout=120,
    )


def unread_pipe(stack):
    """The writing end of a pipe whose reader has gone, as that of ``| head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    stack.callback(os.close, writer)
    return writer


def full_disk(stack):
    """A file on a disk without room."""
    return stack.enter_context(open("/dev/full", "w"))


WAYS = {"pipe": unread_pipe, "disk": full_disk}


@pytest.mark.parametrize("way", [*WAYS, "closed"])
def test_a_run_goes_on_without_a_reader(place, way):
    with ExitStack() as stack:
        options = {"closed": (1,)} if way == "closed" else {"stdout": WAYS[way](stack)}
        process = mpiqmd(place, "md", "h2.toml", "--output", "second", **options)
    assert process.returncode == 0
    assert process.stderr.count("standard output cannot be written to") == 1 and "Traceback" not in process.stderr
    assert read_result(place / "second" / "result.json")["steps"] == 6
    first, second = (Trajectory.open(place / name / "trajectory.h5") for name in ("first", "second"))
    assert np.array_equal(first.positions_tav, second.positions_tav)


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("info first/trajectory.h5", "pipe"),
        ("info first/trajectory.h5", "disk"),
        ("info first/trajectory.h5", "closed"),
        ("plot first/trajectory.h5 --output drawn", "pipe"),
        ("compare first/trajectory.h5 first/trajectory.h5 --output compared", "disk"),
        ("doctor", "pipe"),
        *((words, way) for words in ("--help", "--version", "help-input", "completion zsh") for way in (*WAYS, "closed")),
    ],
)
def test_what_is_only_printed_is_lost_in_silence(place, words, way):
    with ExitStack() as stack:
        options = {"closed": (1,)} if way == "closed" else {"stdout": WAYS[way](stack)}
        process = mpiqmd(place, *words.split(), **options)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("closed", [(0, 1, 2), (2,)])
def test_a_service_without_any_descriptor(place, closed):
    """What a library prints must not end up in the next file that is opened."""
    process = mpiqmd(place, "md", "h2.toml", "--output", "second", closed=closed)
    assert process.returncode == 0
    assert len(Trajectory.open(place / "second" / "trajectory.h5")) == 7


def test_an_error_still_has_its_status(place):
    with ExitStack() as stack:
        process = mpiqmd(place, "scf", "nothing.toml", closed=(2,), stdout=full_disk(stack))
    assert process.returncode == 1
    assert mpiqmd(place, "scf", "--nonsense", closed=(1, 2)).returncode == 2


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict"])
def test_a_terminal_without_our_characters(place, encoding):
    folder = "\u6c34\u2013relaxed"
    process = mpiqmd(place, "relax", "h2.toml", "--output", folder, PYTHONIOENCODING=encoding)
    assert process.returncode == 0 and "\\u6c34\\u2013relaxed" in process.stdout
    assert read_result(place / folder / "result.json")["converged"]


def test_what_a_file_says_does_not_steer_the_terminal(place):
    import h5py

    path = place / "first" / "trajectory.h5"
    unseal(path)
    with h5py.File(path, "r+") as file:
        file.attrs["seed"] = "\x1b]0;PWNED\x07"
        file.attrs["a\x1b[2J\nb"] = "\u202eabc"
        file["x\x9b31m"] = np.arange(3.0)
    seal(path)
    process = mpiqmd(place, "info", "first/trajectory.h5")
    assert process.returncode == 0
    assert all(line.isprintable() for line in process.stdout.split("\n"))
    assert "\\x1b]0;PWNED\\x07" in process.stdout and "a\\x1b[2J\\nb" in process.stdout
    (place / "bad.toml").write_bytes(HYDROGEN.replace('"H"]', '"\\u001b[2J"]').encode())
    process = mpiqmd(place, "scf", "bad.toml")
    assert process.returncode == 1 and all(line.isprintable() for line in process.stderr.split("\n"))


def test_results_are_on_the_disk_before_they_are_printed(place, monkeypatch, capfd):
    """Whatever a command says of its results; a kill between the two must not leave the words without the file."""
    from mpi4py import MPI

    from mpiqmd.cli import parse_arguments
    from mpiqmd.parallel.log import Log
    from mpiqmd.pipeline import job

    monkeypatch.chdir(place)
    said = []
    release = Log.release

    def watched(self):
        said.append((list(self._waiting), (place / "out" / "result.json").exists()))
        release(self)

    monkeypatch.setattr(Log, "release", watched)
    for words, about in [
        (("scf", "h2.toml"), "total energy"),
        (("relax", "h2.toml"), "relaxed in"),
        (("frequencies", "h2.toml"), "zero-point energy"),
        (("md", "h2.toml"), "mean temperature"),
        (("evaluate", "h2.toml", "--structures", "out/relaxed.xyz"), "geometries written"),
        (("check", "forces", "h2.toml"), "largest difference"),
        (("compare", "first/trajectory.h5", "first/trajectory.h5"), "largest"),
        (("plot", "first/trajectory.h5"), "figure-observables.png"),
    ]:
        (place / "out" / "result.json").unlink(missing_ok=True)
        assert job.run_job(parse_arguments([*words, "--output", "out"]), MPI.COMM_SELF) == 0
        lines, is_there = said.pop()
        assert is_there and any(about in line for line in lines), words
        capfd.readouterr()
