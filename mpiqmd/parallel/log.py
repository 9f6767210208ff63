"""What the user sees while a job runs: lines from rank 0, progress that stays plain when not on a terminal."""

from __future__ import annotations

import os
import sys
import time
from copy import copy
from typing import TextIO

from mpi4py import MPI

from mpiqmd.printable import printable
from mpiqmd.streams import has_terminal, patient

PATIENCE = 5.0
"""Seconds between progress lines where they cannot replace each other."""


class Log:
    """Prints on rank 0 only.  Not collective: every method may be called by any subset of ranks.

    No method raises: where nobody reads any more, nothing is printed.  What is printed is one line, whatever it is made of.

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
        self.stream = patient(stream or sys.stdout)
        self.active = comm.rank == 0 and not quiet
        # mpirun may put a terminal of its own between the job and a file: of a batch job nobody has one; TERM=dumb says so, too
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and has_terminal()
        self.prefix, self.shows_progress = "", True
        self._last_progress = -PATIENCE
        self._waiting: list[str] = []
        self._waits = False

    def named(self, name: str, shows_progress: bool) -> Log:
        """Return the same log for one of several things that happen at once: lines begin with its name."""
        other = copy(self)
        other.prefix, other.shows_progress = f"{name}: ", shows_progress
        return other

    @property
    def afterwards(self) -> Log:
        """The same log for what is said of results: its lines are printed by :meth:`release`, when the results are on disk."""
        other = copy(self)
        other._waits = True
        return other

    def release(self) -> None:
        """Print the lines that waited, once."""
        for text in self._waiting:
            self._print(text)
        self._waiting.clear()

    def __call__(self, text: str = "") -> None:
        """Print one line."""
        if self.active and self._waits:
            self._waiting.append(self.prefix + text)
        elif self.active:
            self._print(self.prefix + text)

    def progress(self, text: str, last: bool = False) -> None:
        """Print a line that the next one replaces on a terminal; elsewhere ordinary lines, a few seconds apart."""
        if not (self.active and self.shows_progress):
            return
        if self.is_terminal:
            self._print(self.prefix + text, end="\n" if last else "")
        elif last or time.monotonic() - self._last_progress >= PATIENCE:
            self._print(self.prefix + text)
            self._last_progress = time.monotonic()

    def _print(self, text: str, end: str = "\n") -> None:
        if self.is_terminal:
            # in place of a progress line that nothing has ended
            self.stream.restart_line()
        print(printable(text), end=end, file=self.stream, flush=True)


def silent(comm: MPI.Comm) -> Log:
    """Return a log that prints nothing."""
    return Log(comm, quiet=True)
