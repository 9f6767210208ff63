"""What has been seen of a reduced surface's errors so far: small, immutable, new at every step, kept with every checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpiqmd.findings import Finding
from mpiqmd.rom.reactions import Tolerance

COUNTS = ("evaluations", "checks", "exceeded", "unknown", "on_grid", "full")


def numbered(word: str) -> Callable[[int], str]:
    """Return what calls evaluations by a word and their number, counted from 0."""
    return lambda evaluation: f"{word} {evaluation}"


class Watch(NamedTuple):
    """The latest estimate and a summary of all of them.

    Attributes
    ----------
    age, energy, force
        Evaluations since the latest estimate; its errors of the energy, Ha, and the largest of the forces, Ha/bohr.
    is_large, is_unknown
        Whether it was above the tolerance, and whether the latest geometry had no energy of the surface itself.
    evaluations, checks, exceeded
        How many there were: geometries, estimates, and estimates above the tolerance.
    largest, largest_at
        The largest estimate of an energy error, Ha, and its evaluation, counted from 0: the step of a trajectory.
    largest_force, largest_force_at
        The same of a force, Ha/bohr.
    unknown, on_grid, full
        Geometries without an energy of the surface itself; those where the reduced energy was minimised on the grid instead,
        and those solved in full.
    farthest, farthest_at
        The largest distance to the geometries of the training, and its evaluation.
    good_to
        The largest such distance where an estimate was within the tolerance.
    """

    age: int = 0
    energy: float = 0.0
    force: float = 0.0
    is_large: bool = False
    is_unknown: bool = False
    evaluations: int = 0
    checks: int = 0
    exceeded: int = 0
    largest: float = 0.0
    largest_at: int = 0
    largest_force: float = 0.0
    largest_force_at: int = 0
    unknown: int = 0
    on_grid: int = 0
    full: int = 0
    farthest: float = 0.0
    farthest_at: int = 0
    good_to: float = 0.0

    @classmethod
    def from_array(cls, values: np.ndarray) -> Watch:
        """Return what :meth:`as_array` wrote."""
        values = np.asarray(values, float).ravel().tolist()
        kinds = [type(default) for default in cls._field_defaults.values()]
        return cls(*(kind(value) for kind, value in zip(kinds, values, strict=True)))

    @classmethod
    def joined(cls, watches: Sequence[Watch]) -> Watch:
        """Return the summary of several owners' watches; what only the latest geometry tells is at its start.

        Evaluations are counted through, one owner after the other.
        """
        joined = cls()
        for watch in watches:
            before = joined.evaluations
            counts = {name: getattr(joined, name) + getattr(watch, name) for name in COUNTS}
            joined = joined._replace(**counts)
            for name in ("largest", "largest_force", "farthest"):
                if getattr(watch, name) > getattr(joined, name):
                    at = {f"{name}_at": before + getattr(watch, f"{name}_at")}
                    joined = joined._replace(**{name: getattr(watch, name)}, **at)
        return joined

    @classmethod
    def of_frames(cls, extras: Mapping[str, np.ndarray], done: Sequence[int], count: int, tolerance: Tolerance) -> Watch:
        """Return the summary of evaluations with an estimate each, by their frames' numbers.

        Parameters
        ----------
        extras
            What :class:`mpiqmd.rom.error_control.ErrorControl` said of each, shape (frames,), atomic units, NaN where nothing.
        done, count
            The frames that were evaluated, and how many there are.
        tolerance
            Estimates above it are large.
        """
        watch, nothing = cls(), np.full(count, np.nan)
        for frame in done:
            names = ("error_estimate", "force_error_estimate", "training_distance", "on_grid", "hifi")
            energy, force, distance, on_grid, full = (float(extras.get(name, nothing)[frame]) for name in names)
            watch, is_known = watch._replace(evaluations=frame), np.isfinite(energy)
            if is_known:
                watch = watch.checked(energy, force, tolerance)
            is_full, is_on_grid = full == 1.0, on_grid == 1.0
            is_unknown = is_on_grid or (is_full and not is_known)
            watch = watch.evaluated(1, distance, is_unknown=is_unknown, on_grid=is_on_grid, full=is_full)
        return watch._replace(evaluations=len(done))

    def as_array(self) -> np.ndarray:
        """Return all numbers in the order of the fields, shape (numbers,), atomic units.  Not collective."""
        return np.array(self, float)

    def checked(self, energy: float, force: float, tolerance: Tolerance) -> Watch:
        """Return the watch after an estimate (Ha, Ha/bohr) at the present evaluation."""
        is_large, here = tolerance.excess(energy, force) > 1.0, self.evaluations
        return self._replace(
            age=0,
            energy=energy,
            force=force,
            is_large=is_large,
            checks=self.checks + 1,
            exceeded=self.exceeded + is_large,
            largest=max(energy, self.largest),
            largest_at=here if energy > self.largest else self.largest_at,
            largest_force=max(force, self.largest_force),
            largest_force_at=here if force > self.largest_force else self.largest_force_at,
        )

    def found_good(self, distance: float) -> Watch:
        """Return the watch after an estimate at this distance to the training geometries, if it was within the tolerance."""
        return self if self.is_large else self._replace(good_to=max(distance, self.good_to))

    def evaluated(
        self, check_every: int, distance: float = 0.0, *, is_unknown: bool = False, on_grid: bool = False, full: bool = False
    ) -> Watch:
        """Return the watch after an evaluation at this distance to the training geometries.

        An estimate that is due waits for a geometry with a reduced energy.
        """
        is_farthest = distance > self.farthest
        waits = not check_every or (is_unknown and full and self.age == 0)
        return self._replace(
            age=0 if waits else (self.age + 1) % check_every,
            is_unknown=is_unknown,
            evaluations=self.evaluations + 1,
            unknown=self.unknown + is_unknown,
            on_grid=self.on_grid + on_grid,
            full=self.full + full,
            farthest=distance if is_farthest else self.farthest,
            farthest_at=self.evaluations if is_farthest else self.farthest_at,
        )

    def as_dict(self, tolerance: Tolerance) -> dict[str, float | int | None]:
        """Return the summary as plain data, for ``result.json``."""
        known = self.checks > 0
        return {
            "tolerance": tolerance.energy,
            "force_tolerance": tolerance.force,
            "checks": self.checks,
            "exceeded": self.exceeded,
            "largest": self.largest if known else None,
            "largest_at": self.largest_at if known else None,
            "largest_force": self.largest_force if known else None,
            "largest_force_at": self.largest_force_at if known else None,
            "outside_tables": self.unknown,
            "solved_on_grid": self.on_grid,
            "solved_in_full": self.full,
            "largest_training_distance": self.farthest if self.evaluations else None,
            "largest_training_distance_at": self.farthest_at if self.evaluations else None,
        }

    def findings(self, tolerance: Tolerance, solves_large: bool) -> list[Finding]:
        """Return whether estimates and the model's region speak for what was computed, large ones solved in full or not."""
        found = []
        if not self.checks:
            found.append(Finding(None, "no error was estimated (rom.check_every)"))
        else:
            times = tolerance.excess(self.largest, self.largest_force)
            exceeded = (
                f"{self.exceeded} of {self.checks} estimates of the error exceed the tolerance, by up to {times:.2g} times"
            )
            within = f"all {self.checks} estimates of the error are within the tolerance, at most {times:.2g} of it"
            in_full = ", which was solved in full" if solves_large else ""
            found.append(Finding(solves_large, exceeded + in_full) if self.exceeded else Finding(True, within))
        if self.unknown:
            outside = f"{self.unknown} of {self.evaluations} geometries were outside the model's tables"
            found.append(Finding(None if self.on_grid else True, outside + ("" if self.on_grid else ", and solved in full")))
        return found

    def lines(self, tolerance: Tolerance, name: Callable[[int], str]) -> list[str]:
        """Return the summary in words; nothing where nothing is known.  ``name`` says what an evaluation is called."""
        lines = []
        if self.checks:
            worst = (
                f"energies by up to {self.largest:.1e} Ha at {name(self.largest_at)}, {self.largest / tolerance.energy:.2g} "
                f"times rom.error_tolerance; forces by up to {self.largest_force:.1e} Ha/bohr at "
                f"{name(self.largest_force_at)}, {self.largest_force / tolerance.force:.2g} times rom.force_tolerance"
            )
            lines.append(
                f"warning: {self.exceeded} of {self.checks} checks found estimated errors above the tolerance: {worst}: train "
                "on more geometries or keep more modes before results of this model are used"
                if self.exceeded
                else f"{self.checks} checks, estimated errors within the tolerance: {worst}"
            )
        if self.farthest:
            lines.append(
                f"largest training distance {self.farthest:.2f} at {name(self.farthest_at)}; 1 is as far as the training "
                "geometries are apart"
            )
        if self.unknown:
            lines.append(
                f"warning: {self.unknown} of {self.evaluations} geometries were outside the model's tables or without a "
                f"grid-free minimum: {self.on_grid} solved on the grid in the reduced basis, {self.unknown - self.on_grid} in "
                "full"
            )
        if self.full:
            lines.append(f"{self.full} of {self.evaluations} geometries solved in full")
        return lines
