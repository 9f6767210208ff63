"""Why a run ends before its last step: the wall clock, a signal, or a file called STOP.

Rank 0 asks after every step and broadcasts its decision with the next command, so that all ranks end at the same step.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from mpiqmd.launcher import CTRL_C_STATUS, launcher_rank
from mpiqmd.parallel.log import Log
from mpiqmd.regular import in_words
from mpiqmd.streams import complain

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
"""What batch systems send before they kill, Ctrl-C, and what a terminal sends that closes."""

STOP_FILE = "STOP"
RESUBMIT_STATUS = 75
"""Exit status of a run that had to end early and wants to be started again (EX_TEMPFAIL of sysexits.h)."""

SECONDS_BETWEEN_LOOKS = 0.5
"""The folder may be on a slow file system: it is not asked after every step."""

MARGIN_FRACTION, LONGEST_MARGIN = 0.05, 60.0
"""Share of the wall time, and at most seconds of it, kept for the end: checkpoint, result, leaving MPI."""


class Interruption:
    """Watches the clock, the signals and the folder of a run.  Not collective; every rank has one, rank 0 asks.

    Parameters
    ----------
    folder
        Where the file ``STOP`` may appear; None for nowhere.
    walltime
        Seconds that the command may take; None for any.
    started
        When the command was started, ``time.monotonic()``; now by default.
    """

    def __init__(self, folder: Path | None = None, walltime: float | None = None, started: float | None = None) -> None:
        self.stop_file = None if folder is None else folder / STOP_FILE
        self.walltime = walltime
        self.started = time.monotonic() if started is None else started
        self.signal: str | None = None
        self._reason: str | None = None
        self._asked_at = self._looked_at = time.monotonic() - SECONDS_BETWEEN_LOOKS
        self._longest = 0.0
        self._asked = False

    def reason(self) -> str | None:
        """Return the name of a signal, ``"walltime"``, ``"STOP"``, or None to go on; once a reason, always that one.

        The longest time between two questions (a step, perhaps with a checkpoint) is taken for what one more may need: the
        wall time counts as over when less than twice as much, and the margin for the end, is left.
        """
        now = time.monotonic()
        if self._asked:
            self._longest = max(self._longest, now - self._asked_at)
        self._asked, self._asked_at = True, now
        self._reason = self._reason or self._look(now)
        return self._reason

    def _look(self, now: float) -> str | None:
        if self.signal is not None:
            return self.signal
        if self.walltime is not None and now - self.started >= self.walltime - self._margin(self.walltime):
            return "walltime"
        if self.stop_file is not None and now - self._looked_at >= SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            return STOP_FILE if self.stop_file.exists() else None
        return None

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Note signals instead of dying of them while the body of a ``with`` block runs.

        Every rank of a job listens: batch systems and mpirun send signals to all of them.  Signals that are ignored, as
        ``nohup`` has SIGHUP ignored, stay so.  A second Ctrl-C ends the process at once, wherever it is.  Once one was noted,
        the others are not what ends the process while it saves, writes and leaves MPI: batch systems send theirs twice, to
        mpirun, which passes it on, and to every process.
        """
        with _handled_by(self._note):
            yield self
        # a signal was noted: this is the main thread
        for number in SIGNALS if self.signal is not None else ():
            if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _pass)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """End the process at once on a signal, with the status of a run that wants to be started again, while the body of a
        ``with`` block runs: nothing is to be saved there, and whatever is waited for may never come."""
        with _handled_by(_leave):
            if self.signal is not None:
                _leave(signal.Signals[self.signal], None)
            yield

    def clear(self) -> None:
        """Remove the file ``STOP``: it ends one run, not the next one too.  Where it cannot be removed, that is said."""
        try:
            if self.stop_file is not None:
                self.stop_file.unlink(missing_ok=True)
        except OSError as problem:
            complain(f"{self.stop_file} cannot be removed ({in_words(problem)}) and will end the next run too", "warning")

    def _margin(self, walltime: float) -> float:
        return 2.0 * self._longest + min(MARGIN_FRACTION * walltime, LONGEST_MARGIN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            if launcher_rank() == 0:
                # Not printed: the handler may have come in the middle of that.
                with suppress(OSError):
                    os.write(2, b"\nmpiqmd: ends as soon as what it has is saved; Ctrl-C again ends it at once\n")


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function handle the signals while the body of a ``with`` block runs."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


def _pass(number: int, frame: FrameType | None) -> None:
    """Do nothing, unlike ``SIG_IGN`` not in the programs that are started from here too."""


def _leave(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    complain(f"{name} before the first step; the same command starts again", "stopped")
    os._exit(exit_status(name))


def exit_status(stopped: str | None) -> int:
    """Return the status of a run that ended for ``stopped``: 75 where somebody else wanted its resources back.

    A file called STOP and Ctrl-C are the user's own decision and give 0 and 130, so that no batch script starts the run again.
    """
    if stopped == "SIGINT":
        return CTRL_C_STATUS
    return RESUBMIT_STATUS if stopped not in (None, STOP_FILE) else 0


def announce(stopped: str | None, step: int, log: Log) -> None:
    """Say why a run ended early and how to continue it, in place of the progress line."""
    if stopped is not None:
        log.progress(f"stopped at step {step} ({stopped}); the same command continues from there", last=True)
