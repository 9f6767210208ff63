"""The line that tells the user how a run is going, and the time per step."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.parallel.countdown import duration
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

if TYPE_CHECKING:
    from mpiqmd.md.dynamics import Dynamics
    from mpiqmd.parallel.log import Log

TERMINAL_INTERVAL = 1.0
PLAIN_INTERVAL = 10.0
"""Seconds between two lines: on a terminal they replace each other, in a file they pile up."""

REMEMBERED_STEPS = 20_000


class RunningSlope:
    """Least-squares slope of numbers that come one by one (the updating formulas of Welford, Technometrics 4, 419 (1962))."""

    def __init__(self) -> None:
        self.count, self.mean_t, self.mean_y = 0, 0.0, 0.0
        self.spread, self.common = 0.0, 0.0

    def add(self, t: float, y: float) -> None:
        """Take one more point."""
        self.count += 1
        before = t - self.mean_t
        self.mean_t += before / self.count
        self.mean_y += (y - self.mean_y) / self.count
        self.spread += before * (t - self.mean_t)
        self.common += before * (y - self.mean_y)

    @property
    def slope(self) -> float:
        """The slope; 0 with fewer than two points."""
        return self.common / self.spread if self.spread else 0.0


class Progress:
    """Times the steps of this session and prints now and then.  Rank 0 only.

    Parameters
    ----------
    log
        Where to print.
    steps
        The step at which the run ends.
    """

    def __init__(self, log: Log, steps: int) -> None:
        self.log = log
        self.steps = steps
        self.seconds: deque[float] = deque(maxlen=REMEMBERED_STEPS)
        self.interval = TERMINAL_INTERVAL if log.is_terminal else PLAIN_INTERVAL
        self._last_step_at: float | None = None
        self._last_line_at = 0.0
        self._energies = RunningSlope()

    def update(self, dynamics: Dynamics) -> None:
        """Take note of a finished step; print if the last line is old enough or the run is over."""
        now = time.perf_counter()
        if self._last_step_at is not None:
            self.seconds.append(now - self._last_step_at)
        self._last_step_at = now
        if not (self.log.active and self.log.shows_progress):
            return
        self._energies.add(dynamics.time * ATOMIC_TIME_IN_FS * 1e-3, dynamics.conserved_energy)
        last = dynamics.step >= self.steps
        if not (last or now - self._last_line_at >= self.interval):
            return
        self._last_line_at = now
        self.log.progress(self._line(dynamics), last=last)

    def seconds_per_step(self) -> float | None:
        """Return the median wall time of a step after the warm-up (a tenth of them), or None before any."""
        seconds = list(self.seconds)[len(self.seconds) // 10 :]
        return float(np.median(seconds)) if seconds else None

    def _line(self, dynamics: Dynamics) -> str:
        """Compose step, time, temperature, energy, its drift in this session, seconds per step and time left."""
        observables = dynamics.observables()
        drift = self._energies.slope / len(dynamics.nuclei.symbols)
        line = (
            f"step {dynamics.step}/{self.steps}  {dynamics.time * ATOMIC_TIME_IN_FS:.2f} fs  "
            f"T {observables['temperature'] / KELVIN_IN_HARTREE:.1f} K  "
            f"E {observables['total_energy']:.6f} Ha  "
            f"drift {drift:+.1e} Ha/atom/ps"
        )
        pace = self.seconds_per_step()
        if pace is None:
            return line
        return f"{line}  {pace:.3g} s/step  {duration(pace * (self.steps - dynamics.step))} left"
