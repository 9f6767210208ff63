"""What has been seen of a reduced surface's errors so far: small, immutable, new at every step, kept with every checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COUNTS = ("evaluations", "checks", "exceeded", "unknown", "full")


class Watch(NamedTuple):
    """The latest estimate and a summary of all of them.

    Attributes
    ----------
    age, estimate
        Evaluations since the latest estimate, and the estimate, Ha.
    is_large, is_unknown
        Whether it was above the tolerance, and whether the latest geometry had no reduced energy.
    evaluations, checks, exceeded
        How many there were: geometries, estimates, and estimates above the tolerance.
    largest, largest_at
        The largest estimate, Ha, and its evaluation, counted from 0: the step of a trajectory.
    unknown, full
        Geometries without a reduced energy, and those solved in full.
    """

    age: int = 0
    estimate: float = 0.0
    is_large: bool = False
    is_unknown: bool = False
    evaluations: int = 0
    checks: int = 0
    exceeded: int = 0
    largest: float = 0.0
    largest_at: int = 0
    unknown: int = 0
    full: int = 0

    @classmethod
    def from_array(cls, values: np.ndarray) -> Watch:
        """Return what :meth:`as_array` wrote."""
        values = np.asarray(values, float).ravel().tolist()
        kinds = [type(default) for default in cls._field_defaults.values()]
        return cls(*(kind(value) for kind, value in zip(kinds, values, strict=True)))

    @classmethod
    def joined(cls, watches: Sequence[Watch]) -> Watch:
        """Return the summary of several owners' watches; what only the latest geometry tells is at its start."""
        worst = max(watches, key=lambda watch: watch.largest)
        counts = {name: sum(getattr(watch, name) for watch in watches) for name in COUNTS}
        return cls(largest=worst.largest, largest_at=worst.largest_at, **counts)

    def as_array(self) -> np.ndarray:
        """Return all numbers in the order of the fields, shape (numbers,), energies in Ha.  Not collective."""
        return np.array(self, float)

    def checked(self, estimate: float, tolerance: float) -> Watch:
        """Return the watch after an estimate at the present evaluation."""
        is_large, is_largest = estimate > tolerance, estimate > self.largest
        return self._replace(
            age=0,
            estimate=estimate,
            is_large=is_large,
            checks=self.checks + 1,
            exceeded=self.exceeded + is_large,
            largest=max(estimate, self.largest),
            largest_at=self.evaluations if is_largest else self.largest_at,
        )

    def evaluated(self, check_every: int, is_unknown: bool = False, full: bool = False) -> Watch:
        """Return the watch after an evaluation; an estimate that is due waits for a geometry with a reduced energy."""
        waits = not check_every or (is_unknown and self.age == 0)
        return self._replace(
            age=0 if waits else (self.age + 1) % check_every,
            is_unknown=is_unknown,
            evaluations=self.evaluations + 1,
            unknown=self.unknown + is_unknown,
            full=self.full + full,
        )

    def as_dict(self, tolerance: float) -> dict[str, float | int | None]:
        """Return the summary as plain data, for ``result.json``."""
        return {
            "tolerance": tolerance,
            "checks": self.checks,
            "exceeded": self.exceeded,
            "largest": self.largest if self.checks else None,
            "largest_at": self.largest_at if self.checks else None,
            "outside_tables": self.unknown,
            "solved_in_full": self.full,
        }

    def lines(self, tolerance: float, counted: str = "step") -> list[str]:
        """Return the summary in words; nothing where nothing is known.  ``counted`` is what an evaluation is called."""
        lines = []
        if self.exceeded:
            lines.append(
                f"warning: {self.exceeded} of {self.checks} checks found an estimated energy error above "
                f"rom.error_tolerance = {tolerance:.1e} Ha, up to {self.largest:.1e} Ha at {counted} {self.largest_at}: train "
                "on more geometries or keep more modes before results of this model are used"
            )
        elif self.checks:
            largest = f"largest estimated energy error {self.largest:.1e} Ha"
            lines.append(f"{self.checks} checks, {largest} (tolerance {tolerance:.1e} Ha)")
        if self.full:
            solved = f"{self.full} of {self.evaluations} geometries solved in full"
            lines.append(f"{solved}, {self.unknown} of them outside the tables")
        return lines
