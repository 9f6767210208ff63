"""How far a stage of known length has come, and how long the rest of it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

REMEMBERED = 20
"""Pieces whose times tell how long the next ones take."""
LINES = 10
"""Lines of a whole stage where they cannot replace each other."""


class Countdown:
    """Prints ``name done/total: text, 2 min 10 s left`` as the pieces of a stage are done.  Not collective.

    Parameters
    ----------
    log
        Where to print.
    total
        Number of pieces.
    name
        What they are.
    clock
        Returns seconds; another one for tests.
    """

    def __init__(self, log: Log, total: int, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.log, self.total, self.name, self.clock = log, total, name, clock
        self.done, self._told = 0, -1
        self._started = self._last = clock()
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def advance(self, text: str = "", count: int = 1) -> None:
        """Take note of ``count`` more pieces, and tell of them if it is time to."""
        now = self.clock()
        self._seconds.extend([(now - self._last) / count] * min(count, REMEMBERED))
        self.done, self._last = self.done + count, now
        part = LINES * self.done // self.total
        if not self.log.is_terminal and part == self._told:
            return
        self._told = part
        said = f": {text}" if text else ""
        self.log.progress(f"  {self.name} {self.done}/{self.total}{said}, {self._rest()}", last=self.done >= self.total)

    def seconds_left(self) -> float:
        """Return the time the rest takes, from the last pieces that took any: what is at hand from before takes none."""
        longest = max(self._seconds, default=0.0)
        real = [seconds for seconds in self._seconds if seconds >= 0.1 * longest]
        return (self.total - self.done) * sum(real) / max(len(real), 1)

    def _rest(self) -> str:
        if self.done >= self.total:
            return f"took {duration(self.clock() - self._started)}"
        return f"{duration(self.seconds_left())} left"


def duration(seconds: float) -> str:
    """Return a time span the way people say it: ``3.2 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
