"""What the user sees while a job runs: lines from rank 0, progress that stays plain when not on a terminal."""

from __future__ import annotations

import os
import sys
import time
from copy import copy
from typing import TextIO

from mpi4py import MPI

PATIENCE = 5.0
"""Seconds between progress lines where they cannot replace each other."""


class Log:
    """Prints on rank 0 only.  Not collective: every method may be called by any subset of ranks.

    Parameters
    ----------
    comm
        The job's communicator; only its rank 0 prints.
    stream
        Where to print; standard output by default.
    quiet
        Print nothing at all.
    """

    def __init__(self, comm: MPI.Comm, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.stream = stream or sys.stdout
        self.active = comm.rank == 0 and not quiet
        # mpirun may put a terminal of its own between the job and a file; run/water then says TERM=dumb.
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.prefix, self.shows_progress = "", True
        self._last_progress = -PATIENCE

    def named(self, name: str, shows_progress: bool) -> Log:
        """Return the same log for one of several things that happen at once: lines begin with its name."""
        other = copy(self)
        other.prefix, other.shows_progress = f"{name}: ", shows_progress
        return other

    def __call__(self, text: str = "") -> None:
        """Print one line."""
        if self.active:
            print(self.prefix + text, file=self.stream, flush=True)

    def progress(self, text: str, last: bool = False) -> None:
        """Print a line that the next one replaces on a terminal; elsewhere ordinary lines, a few seconds apart."""
        if not (self.active and self.shows_progress):
            return
        text = self.prefix + text
        if self.is_terminal:
            print("\r\x1b[K" + text, end="\n" if last else "", file=self.stream, flush=True)
        elif last or time.monotonic() - self._last_progress >= PATIENCE:
            print(text, file=self.stream, flush=True)
            self._last_progress = time.monotonic()


def silent(comm: MPI.Comm) -> Log:
    """Return a log that prints nothing."""
    return Log(comm, quiet=True)
