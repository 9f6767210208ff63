"""A reduced surface that watches its own error and knows what to do about it.

Every few steps the residual estimate of ``estimate`` is computed on the grid; a geometry outside a compiled model's tables,
or one where the reduced minimum is not found, is noticed at once.  What happens then is in ``reactions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiqmd.errors import AccuracyError, ConvergenceError, MpiqmdError
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.body_surface import FORCES, BodyMemory, BodySurface
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory, in_parts
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log
from mpiqmd.rom.compiled.body_solver import OutsideTablesError
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.full import FullSolution
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.solved import ReducedAnswer
from mpiqmd.rom.watch import Watch

UNKNOWN = (OutsideTablesError, ConvergenceError)
"""What a reduced surface answers where it has no energy: it may be solved in full."""


class ErrorMemory(Memory):
    """What was seen of one owner's errors, beside what the reduced surface remembers.

    Attributes
    ----------
    inner
        The reduced surface's memory.
    watch
        What has been seen so far; after an error, what was seen before it.
    density_matrix_mm
        P over the modes when the reduced surface was last looked at: by an estimate, or, where large errors are solved in
        full, every time.
    """

    def __init__(self, inner: BodyMemory) -> None:
        self.inner, self.at_once = inner, inner.at_once
        self.watch = Watch()
        self.density_matrix_mm: np.ndarray | None = None

    def state(self) -> dict[str, np.ndarray]:
        """Return the inner memory, what was seen, and where full solves start from.  Collective.

        The last two are ``guard`` (numbers,), energies in Ha, and ``guard_density_matrix`` (r, r), without unit.
        """
        own = {"guard": self.watch.as_array()}
        if self.density_matrix_mm is not None:
            own["guard_density_matrix"] = self.density_matrix_mm
        return self.inner.state() | own

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective."""
        self.watch = Watch.from_array(state["guard"])
        self.density_matrix_mm = state.get("guard_density_matrix")
        own = ("guard", "guard_density_matrix")
        self.inner.restore({name: array for name, array in state.items() if name not in own})

    def forget(self) -> None:
        """Be as new.  Not collective."""
        self.inner.forget()
        self.watch, self.density_matrix_mm = Watch(), None


class ErrorControl:
    """Adds ``error_estimate`` and ``error_age`` to a reduced surface's extras and reacts to large errors.

    Parameters
    ----------
    surface
        The reduced surface, whose solver's answers are each a :class:`~mpiqmd.rom.solved.ReducedAnswer`.
    estimator
        Error estimator of its modes.
    full
        Solves a geometry in full, where the reaction may ask for it.
    limits
        When errors are estimated, which are large, and what follows.
    log
        Where warnings go.
    """

    def __init__(
        self,
        surface: BodySurface[Any, ReducedAnswer],
        estimator: ErrorEstimator,
        full: FullSolution,
        limits: Limits,
        log: Log,
    ) -> None:
        self.surface, self.estimator, self.full, self.limits, self.log = surface, estimator, full, limits, log

    def fresh(self, company: int = 1) -> ErrorMemory:
        """Return the memory of a new owner, one of ``company``; nothing has been estimated for it yet.  Not collective."""
        return ErrorMemory(self.surface.fresh(company))

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[ErrorMemory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces with the extras ``error_estimate`` (Ha, the latest) and ``error_age`` (evaluations
        since), both of the reduced energy, and ``hifi`` (1 where solved in full; unless the reaction is to stop).  Collective.

        In the place of an evaluation there is an AccuracyError if the estimate is beyond what the reaction bears, a
        GeometryError or ConvergenceError if there is no reduced energy and the reaction is to stop, or the full one is not
        found either.  Estimates and full solves are made one by one.
        """
        return in_parts(self._evaluated, positions_bav, memories)

    def summary(self, watch: Watch) -> dict[str, float | int | None]:
        """Return how many checks there were and what they found, for ``result.json``.  Not collective."""
        return watch.as_dict(self.limits.tolerance)

    def summary_lines(self, watch: Watch, counted: str = "step") -> list[str]:
        """Return the same in words; ``counted`` is what an evaluation is called.  Not collective."""
        return watch.lines(self.limits.tolerance, counted)

    def _evaluated(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[ErrorMemory]
    ) -> list[Evaluation | MpiqmdError]:
        alignments, answers = self.surface.solve(positions_bav, [memory.inner for memory in memories])
        return [self._judged(*each) for each in zip(alignments, answers, memories, strict=True)]

    def _judged(
        self, alignment: Alignment | MpiqmdError, answer: ReducedAnswer | MpiqmdError, memory: ErrorMemory
    ) -> Evaluation | MpiqmdError:
        """Return what a geometry's answer comes to; an error leaves no trace in what was seen.  Collective."""
        before = memory.watch, memory.density_matrix_mm
        try:
            if isinstance(answer, MpiqmdError):
                return self._unknown(alignment, answer, memory)
            assert not isinstance(alignment, MpiqmdError)
            return self._watched(alignment, answer, memory)
        except MpiqmdError as error:
            memory.watch, memory.density_matrix_mm = before
            return error

    def _watched(self, alignment: Alignment, answer: ReducedAnswer, memory: ErrorMemory) -> Evaluation:
        """Return the evaluation with its error estimate, which may have to be made, or the full one.  Collective."""
        solves_large, watch = self.limits.reaction.solves_large, memory.watch
        is_suspicious = solves_large and (watch.is_large or watch.is_unknown)
        is_due = self.limits.check_every > 0 and (watch.age == 0 or is_suspicious)
        if is_due or solves_large:
            memory.density_matrix_mm = answer.density_matrix_mm
        if is_due:
            problem = answer.problem or self._placed(alignment)
            if self._check(problem, memory) and solves_large:
                return self._in_full(alignment, problem, memory)
        evaluation = self.surface.carried_back(alignment, answer)
        self._note(evaluation, memory)
        return evaluation

    def _placed(self, alignment: Alignment) -> Problem:
        """Return the Kohn-Sham problem at an aligned geometry.  Collective."""
        return self.estimator.model.place(alignment.body_positions_av)

    def _check(self, problem: Problem, memory: ErrorMemory) -> bool:
        """Estimate the error at this geometry, react, and return whether it is large.  Collective."""
        estimate = self.estimator.estimate(problem, memory.density_matrix_mm)
        was_large, tolerance = memory.watch.is_large, self.limits.tolerance
        watch = memory.watch = decide(self.estimator.model.grid.comm, memory.watch.checked(estimate, tolerance))
        if watch.estimate > self.limits.reaction.stops_beyond * tolerance:
            raise self._too_large(watch.estimate)
        if watch.is_large and not was_large:
            then = "solving in full" if self.limits.reaction.solves_large else "going on"
            found = f"estimated energy error {watch.estimate:.1e} Ha"
            self.log(f"warning: {found}, rom.error_tolerance = {tolerance:.1e} Ha; {then}")
        return watch.is_large

    def _too_large(self, estimate: float) -> AccuracyError:
        times, tolerance = self.limits.reaction.stops_beyond, self.limits.tolerance
        bound = "at most" if times == 1.0 else f"with rom.on_large_error = 'warn' at most {times:g} times"
        return AccuracyError(
            f"the reduced model's estimated energy error is {estimate:.1e} Ha at this geometry; {bound} "
            f"rom.error_tolerance = {tolerance:.1e} Ha is allowed. Train on more geometries of this kind or keep more modes "
            "(rom.max_rank, rom.rank), or set rom.on_large_error = 'hifi'."
        )

    def _unknown(self, alignment: Alignment | MpiqmdError, error: MpiqmdError, memory: ErrorMemory) -> Evaluation:
        """React to a geometry without a reduced energy.  Collective."""
        if not (isinstance(error, UNKNOWN) and self.limits.reaction.solves_unknown):
            raise error
        assert not isinstance(alignment, MpiqmdError)
        if not memory.watch.is_unknown:
            is_outside = isinstance(error, OutsideTablesError)
            where = "outside the compiled model's tables" if is_outside else "no reduced ground state"
            self.log(f"warning: {where} ({str(error).partition('. ')[0]}); solving in full")
        return self._in_full(alignment, self._placed(alignment), memory, is_unknown=True)

    def _in_full(self, alignment: Alignment, problem: Problem, memory: ErrorMemory, is_unknown: bool = False) -> Evaluation:
        """Return the evaluation of the full ground state, by the exact derivative of its energy.  Collective."""
        solved = self.full.solve(problem, memory.density_matrix_mm)
        evaluation = self.surface.carried_back(alignment, solved, FORCES["gradient"])
        self._note(evaluation, memory, full=True, is_unknown=is_unknown)
        return evaluation

    def _note(self, evaluation: Evaluation, memory: ErrorMemory, full: bool = False, is_unknown: bool = False) -> None:
        """Add what the watch says to an evaluation of our own making, and count it."""
        if self.limits.check_every > 0 and not is_unknown:
            evaluation.extras.update(error_estimate=memory.watch.estimate, error_age=float(memory.watch.age))
        if self.limits.reaction.solves_unknown:
            evaluation.extras["hifi"] = float(full)
        memory.watch = memory.watch.evaluated(self.limits.check_every, is_unknown, full)
