"""Named wall-clock timers, one object per job part; no global state."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Timers:
    """Accumulates seconds and calls by name.  Not collective."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` block under ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started
            self.calls[name] += 1

    def table(self) -> str:
        """Return one line per timer, longest first."""
        rows = sorted(self.seconds.items(), key=lambda item: -item[1])
        return "\n".join(f"  {name:24s} {seconds:10.3f} s {self.calls[name]:8d} calls" for name, seconds in rows)
