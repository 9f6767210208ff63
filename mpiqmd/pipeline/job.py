"""One command from parsed arguments to exit status: input, output folder, the command itself, ``result.json``.

Every command module has ``run(arguments, comm, log) -> dict``; the dictionary becomes ``result.json``.  What a command says
of its results it says to ``log.afterwards``, which prints when that file is written.
An error that all ranks agree on gives one message; anything else ends the whole job, so that no rank waits for
another that has gone.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mpiqmd.claims import Claim
from mpiqmd.config import load_input
from mpiqmd.errors import ConfigError, MpiqmdError, cannot_be_loaded
from mpiqmd.launcher import CTRL_C_STATUS, leaving_at_once
from mpiqmd.parallel.comm import everyone_arrives, on_rank_zero
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.apart import require_apart
from mpiqmd.pipeline.circumstances import loaded_versions
from mpiqmd.pipeline.results import RESULT_FILE, prepare_folder, write_result
from mpiqmd.regular import in_words, require_regular
from mpiqmd.statics.interruptible import EndedEarly
from mpiqmd.streams import complain

if TYPE_CHECKING:
    from mpi4py import MPI


def run_job(arguments: argparse.Namespace, comm: MPI.Comm) -> int:
    """Run one command on all ranks of ``comm`` and return its exit status.

    Collective.  An MpiqmdError is printed once, by rank 0, and gives status 1.  An error that the other ranks do
    not share within ten seconds, and any unexpected exception, aborts the job on all ranks.  A command that ends well
    but unfinished says so by an ``exit_status`` in its result, and one that shares its folder with other jobs names its
    result by a ``result_file``.
    """
    failures = comm.Dup()
    try:
        return _run(arguments, comm)
    except MpiqmdError as error:
        return _report(error, comm, failures)
    except KeyboardInterrupt:
        return _interrupted(comm)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(1)
        return 1


def _run(arguments: argparse.Namespace, comm: MPI.Comm) -> int:
    """Run a command, and then print what it says of its results: they are on the disk by then, or lost but for these lines."""
    log = Log(comm, quiet=arguments.quiet)
    try:
        return _run_logged(arguments, comm, log)
    finally:
        log.release()


def _run_logged(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> int:
    """Read the input, prepare the folder, run the command's module, write what it returns and return the status."""
    started = time.perf_counter()
    on_rank_zero(comm, _require_files, [getattr(arguments, name, None) for name in arguments.files])
    if hasattr(arguments, "input"):
        arguments.settings = on_rank_zero(comm, load_input, arguments.input)
    with _claimed(arguments, comm):
        try:
            with leaving_at_once():
                command = _command(arguments.module)
            result = command.run(arguments, comm, log)
        except EndedEarly as early:
            log(str(early))
            result = early.result()
        if arguments.output is not None:
            whole = _header(arguments, comm, time.perf_counter() - started) | result
            name = whole.pop("result_file", RESULT_FILE)
            on_rank_zero(comm, arguments.claim.verify)
            on_rank_zero(comm, write_result, arguments.folder / name, whole)
    return int(result.get("exit_status", 0))


def _command(module: str) -> ModuleType:
    """Return the module of a command.  Not collective.  Raises ConfigError if a library that it imports cannot be loaded."""
    try:
        return importlib.import_module(f"mpiqmd.pipeline.{module}")
    except ImportError as problem:
        raise ConfigError(cannot_be_loaded(problem)) from problem


@contextmanager
def _claimed(arguments: argparse.Namespace, comm: MPI.Comm) -> Iterator[None]:
    """Keep other runs out of the output folder while a command works there, if it has one.  Collective.

    One that was made for a command which then wrote nothing is taken away again, unless other parts may be about to use it.
    """
    if arguments.output is None:
        yield
        return
    part = getattr(arguments, "part", None)
    arguments.claim = Claim(arguments.output, arguments.words, part)
    was_there = part is not None or on_rank_zero(comm, arguments.output.exists)
    on_rank_zero(comm, arguments.claim.take)
    try:
        on_rank_zero(comm, require_apart, arguments)
        # A part removes nothing: the unfinished files are perhaps those of the others.
        folder = (arguments.output, arguments.overwrite, arguments.patterns if part is None else ())
        named = (getattr(arguments, name, None) for name in arguments.files)
        kept = tuple(path.resolve() for path in named if path is not None)
        arguments.folder = on_rank_zero(comm, prepare_folder, *folder, kept)
        yield
    finally:
        arguments.claim.release()
        if comm.rank == 0 and not was_there:
            # one with anything in it stays
            with suppress(OSError):
                arguments.output.rmdir()


def _header(arguments: argparse.Namespace, comm: MPI.Comm, seconds: float) -> dict[str, Any]:
    """Return what every result says: command, input, versions, ranks, wall-clock seconds.  Not collective."""
    header = {
        "command": arguments.command,
        "arguments": [str(word) for word in arguments.words],
        "versions": loaded_versions(),
        "ranks": comm.size,
        "wall_seconds": seconds,
    }
    if hasattr(arguments, "settings"):
        header["input"] = arguments.settings.as_dict()
    return header


def _require_files(paths: list[Path | None]) -> None:
    """Raise ConfigError unless every file named on the command line is a regular file."""
    for path in paths:
        try:
            if path is not None:
                require_regular(path)
        except OSError as problem:
            raise ConfigError(
                f"cannot read {path}: {in_words(problem)}. The files named on the command line must exist. "
                f"Correct the path (the current folder is {Path.cwd()})."
            ) from None


def _report(error: MpiqmdError, comm: MPI.Comm, failures: MPI.Comm) -> int:
    """Print an error once if every rank has one, otherwise end the job from the rank that has it."""
    if comm.rank == 0:
        complain(error)
    if everyone_arrives(failures):
        return 1
    if comm.rank != 0:
        complain(error, f"error on rank {comm.rank}")
    comm.Abort(1)
    return 1


def _interrupted(comm: MPI.Comm) -> int:
    """End the job on Ctrl-C with the status shells expect; what has been written stays and can be resumed."""
    print("mpiqmd: interrupted; run the same command again to resume", file=sys.stderr, flush=True)
    if comm.size > 1:
        comm.Abort(CTRL_C_STATUS)
    return CTRL_C_STATUS
