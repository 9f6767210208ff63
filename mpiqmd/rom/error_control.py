"""A reduced surface that watches its own error and knows what to do about it.

Every few steps the residual estimates of ``estimate`` are computed on the grid, of the energy and of the forces as they are
handed out; a geometry outside a grid-free model's tables, or one where the reduced minimum is not found, is noticed at once.
What happens then is in ``reactions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiqmd.errors import AccuracyError, ConfigError, ConvergenceError, MpiqmdError
from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.body_surface import FORCES, BodyMemory, BodySurface
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.judgement import FORCE_ERROR
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import in_parts
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.learned.body_solver import OutsideTablesError
from mpiqmd.rom.otherwise import Otherwise
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.solved import ReducedAnswer
from mpiqmd.rom.watch import Watch
from mpiqmd.rom.watched import WatchedMemory, WatchedSurface

GREW = "growth_epochs"
"""Name of what a memory keeps of the models that took the place of each other: see :mod:`~mpiqmd.rom.learning`."""
UNKNOWN = (OutsideTablesError, ConvergenceError)
"""What a reduced surface answers where it has no energy: it may be solved in another way."""


class ErrorMemory(WatchedMemory):
    """What was seen of one owner's errors, beside what the reduced surface remembers.

    Attributes
    ----------
    inner
        The reduced surface's memory.
    force_errors_a
        Norm of the latest estimate of each atom's force error, shape (N,), Ha/bohr; None before the first.
    density_matrix_mm
        P over the modes when the reduced surface was last looked at: by an estimate, or, where large errors are solved in
        full, every time.
    """

    def __init__(self, inner: BodyMemory) -> None:
        super().__init__()
        self.inner, self.at_once = inner, inner.at_once
        self.force_errors_a: np.ndarray | None = None
        self.density_matrix_mm: np.ndarray | None = None

    def state(self) -> dict[str, np.ndarray]:
        """Return the inner memory, what was seen, and where full solves start from.  Collective.

        The last three are ``guard`` (numbers,), atomic units, ``guard_forces`` (N,), Ha/bohr, and ``guard_density_matrix``
        (r, r), without unit.
        """
        own = {"guard": self.watch.as_array()}
        if self.force_errors_a is not None:
            own["guard_forces"] = self.force_errors_a
        if self.density_matrix_mm is not None:
            own["guard_density_matrix"] = self.density_matrix_mm
        return self.inner.state() | own

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective.  Raises ConfigError if the model had grown by then."""
        if len(state.get(GREW, ())):
            raise ConfigError(
                "the model of this run has grown, and goes on with rom.on_large_error = 'learn' only. Set it so, or begin a "
                "run with --model and the last model-epoch-*.h5 in another --output."
            )
        self.watch = Watch.from_array(state["guard"])
        self.force_errors_a = state.get("guard_forces")
        self.density_matrix_mm = state.get("guard_density_matrix")
        own = ("guard", "guard_forces", "guard_density_matrix")
        self.inner.restore({name: array for name, array in state.items() if name not in own})

    def forget(self) -> None:
        """Be as new.  Not collective."""
        self.inner.forget()
        self.watch, self.force_errors_a, self.density_matrix_mm = Watch(), None, None


class ErrorControl(WatchedSurface):
    """Adds estimates of its errors to what a reduced surface says of a geometry, and reacts to large ones.

    Parameters
    ----------
    surface
        The reduced surface, whose solver's answers are each a :class:`~mpiqmd.rom.solved.ReducedAnswer`.
    estimator
        Error estimator of its modes.
    otherwise
        Solves a geometry on the grid or in full, where the reaction may ask for it.
    limits
        When errors are estimated, which are large, and what follows.
    log
        Where warnings go.
    """

    def __init__(
        self,
        surface: BodySurface[Any, ReducedAnswer],
        estimator: ErrorEstimator,
        otherwise: Otherwise,
        limits: Limits,
        log: Log,
    ) -> None:
        super().__init__(limits)
        self.surface, self.estimator, self.otherwise, self.log = surface, estimator, otherwise, log

    def fresh(self, company: int = 1) -> ErrorMemory:
        """Return the memory of a new owner, one of ``company``; nothing has been estimated for it yet.  Not collective."""
        return ErrorMemory(self.surface.fresh(company))

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[ErrorMemory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces with what is known of their errors.  Collective.

        The extras have ``error_estimate`` (Ha) and ``force_error_estimate`` (Ha/bohr, the largest of the atoms), the latest of
        each, ``error_age`` (evaluations since), all three of the reduced energy, and, unless the reaction is to stop, ``hifi``
        and ``on_grid`` (1 where solved in full, or on the grid for want of a grid-free energy).  ``force_error`` (Ha/bohr) is a
        number of every atom.

        In the place of an evaluation there is an AccuracyError if the estimate is beyond what the reaction bears, a
        GeometryError or ConvergenceError if there is no reduced energy and the reaction is to stop, or none is found on the
        grid and in full either.  Estimates and such solves are made one by one.
        """
        return in_parts(self._evaluated, positions_bav, memories)

    def _evaluated(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[ErrorMemory]
    ) -> list[Evaluation | MpiqmdError]:
        alignments, answers = self.surface.solve(positions_bav, [memory.inner for memory in memories])
        return [self._judged(*each) for each in zip(alignments, answers, memories, strict=True)]

    def _judged(
        self, alignment: Alignment | MpiqmdError, answer: ReducedAnswer | MpiqmdError, memory: ErrorMemory
    ) -> Evaluation | MpiqmdError:
        """Return what a geometry's answer comes to; an error leaves no trace in what was seen.  Collective."""
        before = memory.watch, memory.force_errors_a, memory.density_matrix_mm
        try:
            if isinstance(answer, MpiqmdError):
                return self._unknown(alignment, answer, memory)
            assert not isinstance(alignment, MpiqmdError)
            return self._watched(alignment, answer, memory)
        except MpiqmdError as error:
            memory.watch, memory.force_errors_a, memory.density_matrix_mm = before
            return error

    def _watched(self, alignment: Alignment, answer: ReducedAnswer, memory: ErrorMemory) -> Evaluation:
        """Return the evaluation with its error estimate, which may have to be made, or the full one.  Collective."""
        solves_large, watch = self.limits.reaction.solves_large, memory.watch
        is_suspicious = solves_large and (watch.is_large or watch.is_unknown)
        evaluation = self.surface.carried_back(alignment, answer)
        distance = evaluation.extras.get("training_distance", 0.0)
        is_suspicious = is_suspicious or self.limits.reaction.is_far(distance, watch.good_to)
        is_due = self.limits.check_every > 0 and (watch.age == 0 or is_suspicious)
        if is_due or solves_large:
            memory.density_matrix_mm = answer.density_matrix_mm
        if is_due:
            problem = answer.problem or self._placed(alignment)
            if self._check(problem, alignment, answer, evaluation, memory) and solves_large:
                return self._in_full(alignment, problem, memory)
            memory.watch = memory.watch.found_good(distance)
        return self._noted(evaluation, memory)

    def _placed(self, alignment: Alignment) -> Problem:
        """Return the Kohn-Sham problem at an aligned geometry.  Collective."""
        return self.estimator.model.place(alignment.body_positions_av)

    def _check(
        self, problem: Problem, alignment: Alignment, answer: ReducedAnswer, evaluation: Evaluation, memory: ErrorMemory
    ) -> bool:
        """Estimate the errors at this geometry, react, and return whether they are large.  Collective."""
        correction = self.estimator.correction(problem, answer.density_matrix_mm)
        gradient_av = self.estimator.full_gradient(problem, correction, answer.gradient_av)
        # of the forces as they are handed out, which may not be the derivative of the energy
        errors_av = evaluation.forces_av - FORCES["gradient"](alignment, gradient_av)
        errors_a = np.linalg.norm(errors_av, axis=1)
        was_large, tolerance = memory.watch.is_large, self.limits.tolerance
        checked = memory.watch.checked(correction.energy, float(errors_a.max()), tolerance)
        watch, memory.force_errors_a = decide(self.estimator.model.grid.comm, (checked, errors_a))
        memory.watch = watch
        if tolerance.excess(watch.energy, watch.force) > self.limits.reaction.stops_beyond:
            raise self._too_large(watch)
        if watch.is_large and not was_large:
            self.log(f"warning: {self._found(watch)}; {self.limits.reaction.then}")
        return watch.is_large

    def _found(self, watch: Watch) -> str:
        """Return the latest estimate beside what is tolerated, in words."""
        tolerance = self.limits.tolerance
        return (
            f"estimated errors of {watch.energy:.1e} Ha and {watch.force:.1e} Ha/bohr at this geometry, rom.error_tolerance = "
            f"{tolerance.energy:.1e} Ha, rom.force_tolerance = {tolerance.force:.1e} Ha/bohr"
        )

    def _too_large(self, watch: Watch) -> AccuracyError:
        reaction = self.limits.reaction
        bound = "no more" if reaction.stops_beyond == 1.0 else f"at most {reaction.stops_beyond:g} times as much"
        return AccuracyError(
            f"the reduced model has {self._found(watch)}; {bound} is allowed with rom.on_large_error = {reaction.name!r}. "
            "Train on more geometries of this kind or keep more modes (rom.energy_fraction, rom.rank), or set "
            "rom.on_large_error to 'hifi' to solve such geometries in full, to 'learn' to let the model grow by them in "
            "dynamics, or to 'warn' to go on."
        )

    def _unknown(self, alignment: Alignment | MpiqmdError, error: MpiqmdError, memory: ErrorMemory) -> Evaluation:
        """React to a geometry without an energy of the surface itself.  Collective."""
        reaction = self.limits.reaction
        if not (isinstance(error, UNKNOWN) and reaction.goes_on_unknown):
            raise error
        assert not isinstance(alignment, MpiqmdError)
        is_new = not memory.watch.is_unknown
        if not reaction.solves_large:
            try:
                return self._on_grid(alignment, error, memory, is_new)
            except ConvergenceError as failure:
                error = failure
        if is_new:
            self.log(f"warning: {_where(error)}; solving in full")
        return self._in_full(alignment, self._placed(alignment), memory, is_unknown=True)

    def _on_grid(self, alignment: Alignment, error: MpiqmdError, memory: ErrorMemory, is_new: bool) -> Evaluation:
        """Return the evaluation of the reduced energy on the grid, with estimates of its errors.  Collective."""
        answer = self.otherwise.on_grid(alignment)
        if is_new:
            self.log(f"warning: {_where(error)}; solving on the grid in the reduced basis")
        memory.density_matrix_mm = answer.density_matrix_mm
        evaluation = self.surface.carried_back(alignment, answer)
        if self.limits.check_every > 0:
            self._check(answer.problem, alignment, answer, evaluation, memory)
        return self._noted(evaluation, memory, on_grid=True, is_unknown=True)

    def _in_full(self, alignment: Alignment, problem: Problem, memory: ErrorMemory, is_unknown: bool = False) -> Evaluation:
        """Return the evaluation of the full ground state, by the exact derivative of its energy.  Collective."""
        solved = self.otherwise.in_full(problem, memory.density_matrix_mm)
        evaluation = self.surface.carried_back(alignment, solved, FORCES["gradient"])
        return self._noted(evaluation, memory, full=True, is_unknown=is_unknown)

    def _noted(
        self,
        evaluation: Evaluation,
        memory: ErrorMemory,
        *,
        on_grid: bool = False,
        full: bool = False,
        is_unknown: bool = False,
    ) -> Evaluation:
        """Return an evaluation of our own making with what the watch says added, and count it."""
        limits, watch, extras = self.limits, memory.watch, evaluation.extras
        if limits.check_every > 0 and not (full and is_unknown):
            extras.update(error_estimate=watch.energy, force_error_estimate=watch.force, error_age=float(watch.age))
            assert memory.force_errors_a is not None
            evaluation.per_atom[FORCE_ERROR] = memory.force_errors_a
        if limits.reaction.goes_on_unknown:
            extras.update(hifi=float(full), on_grid=float(on_grid))
        distance = extras.get("training_distance", 0.0)
        memory.watch = watch.evaluated(limits.check_every, distance, is_unknown=is_unknown, on_grid=on_grid, full=full)
        return evaluation


def _where(error: MpiqmdError) -> str:
    """Return why there is no energy of the surface itself, in words."""
    where = "outside the model's tables" if isinstance(error, OutsideTablesError) else "no reduced ground state"
    return f"{where} ({str(error).partition('. ')[0]})"
