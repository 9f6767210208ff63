"""A reduced surface that watches its own error and knows what to do about it.

Every few steps the residual estimate of ``estimate`` is computed on the grid; a geometry outside a compiled model's tables,
or one where the reduced minimum is not found, is noticed at once.  What happens then is in ``reactions``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Protocol

import numpy as np

from mpiqmd.errors import AccuracyError, ConvergenceError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log
from mpiqmd.rom.compiled.provider import OutsideTablesError
from mpiqmd.rom.domain import SampledBox
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.full import FullSolution
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.watch import Watch

UNKNOWN = (OutsideTablesError, ConvergenceError)
"""What a reduced surface raises where it has no energy: it may be solved in full."""


class ReducedProvider(Protocol):
    """A reduced surface that shows the density matrix of its latest evaluation and the region it was trained on."""

    box: SampledBox | None
    frame: BodyFrame

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces in the laboratory.  Collective."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return what a restart needs.  Collective."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take it back.  Collective."""
        ...

    @property
    def density_matrix_mm(self) -> np.ndarray | None:
        """P over the modes at the latest evaluation; None before the first."""
        ...


class GuardedProvider:
    """Adds ``error_estimate`` and ``error_age`` to a reduced surface's extras and reacts to large errors.

    Parameters
    ----------
    inner
        The reduced surface.
    estimator
        Error estimator of its modes.
    full
        Solves a geometry in full, where the reaction may ask for it.
    limits
        When errors are estimated, which are large, and what follows.
    log
        Where warnings go.

    Attributes
    ----------
    watch
        What has been seen so far; after an error, what was seen before it.
    density_matrix_mm
        P over the modes when the reduced surface was last looked at: by an estimate, or, where large errors are solved in
        full, every time.
    """

    def __init__(
        self, inner: ReducedProvider, estimator: ErrorEstimator, full: FullSolution, limits: Limits, log: Log
    ) -> None:
        self.inner, self.estimator, self.full, self.limits, self.log = inner, estimator, full, limits, log
        grid = estimator.model.grid
        self.cell_v = grid.periodic_cell_v
        self.watch = Watch()
        self.density_matrix_mm: np.ndarray | None = None

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces with the extras ``error_estimate`` (Ha, the latest) and ``error_age`` (evaluations since),
        both of the reduced energy, and ``hifi`` (1 where solved in full; unless the reaction is to stop).  Collective.

        Raises
        ------
        AccuracyError
            If the estimate is beyond what the reaction bears.
        GeometryError, ConvergenceError
            There is no reduced energy and the reaction is to stop, or the full one is not found either.
        """
        positions_av = whole(positions_av, self.cell_v)
        try:
            result = self.inner.evaluate(positions_av)
        except UNKNOWN as error:
            result = error
        return self._judged(positions_av, result, lambda: self.inner.density_matrix_mm)

    @property
    def batches(self) -> bool:
        """Whether the reduced surface evaluates several geometries at once, as the compiled one does."""
        return hasattr(self.inner, "evaluate_batch")

    def fork(self) -> GuardedProvider:
        """Return the same surface with estimates of its own, to come.  Not collective."""
        other = copy(self)
        other.watch, other.density_matrix_mm = Watch(), None
        return other

    def evaluate_together(
        self, members: Sequence[GuardedProvider], positions_bav: np.ndarray
    ) -> list[Evaluation | MpiqmdError]:
        """Return what each of ``members``, which share the reduced surface, says at its geometry, or its error.

        Collective.  Evaluations and errors are those of :meth:`evaluate`; estimates and full solves are made one by one.
        """
        positions_bav = [whole(positions_av, self.cell_v) for positions_av in positions_bav]
        results = self.inner.evaluate_batch(positions_bav)
        for b, (member, positions_av, result) in enumerate(zip(members, positions_bav, results, strict=True)):
            try:
                results[b] = member._judged(positions_av, result, partial(self.inner.density_matrix, b))
            except MpiqmdError as error:
                results[b] = error
        return results

    def state(self) -> dict[str, np.ndarray]:
        """Return the inner surface's state, what was seen, and where full solves start from.  Collective."""
        own = {"guard": self.watch.as_array()}
        if self.density_matrix_mm is not None:
            own["guard_density_matrix"] = self.density_matrix_mm
        return self.inner.state() | own

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective."""
        self.watch = Watch.from_array(state.get("guard", ()))
        self.density_matrix_mm = state.get("guard_density_matrix")
        own = ("guard", "guard_density_matrix")
        self.inner.restore({name: array for name, array in state.items() if name not in own})

    def summary(self) -> dict[str, float | int | None]:
        """Return how many checks there were and what they found, for ``result.json``.  Not collective."""
        return self.watch.as_dict(self.limits.tolerance)

    def summary_lines(self, counted: str = "step") -> list[str]:
        """Return the same in words; ``counted`` is what an evaluation is called.  Not collective."""
        return self.watch.lines(self.limits.tolerance, counted)

    def _judged(
        self, positions_av: np.ndarray, result: Evaluation | MpiqmdError, density_matrix: Callable[[], np.ndarray]
    ) -> Evaluation:
        """Return what a geometry's result comes to; an error leaves no trace in what was seen.  Collective."""
        before = self.watch, self.density_matrix_mm
        try:
            if isinstance(result, Evaluation):
                return self._watched(positions_av, result, density_matrix)
            return self._unknown(positions_av, result)
        except MpiqmdError:
            self.watch, self.density_matrix_mm = before
            raise

    def _watched(
        self, positions_av: np.ndarray, evaluation: Evaluation, density_matrix: Callable[[], np.ndarray]
    ) -> Evaluation:
        """Return the evaluation with its error estimate, which may have to be made, or the full one.  Collective."""
        solves_large, watch = self.limits.reaction.solves_large, self.watch
        is_suspicious = solves_large and (watch.is_large or watch.is_unknown)
        is_due = self.limits.check_every > 0 and (watch.age == 0 or is_suspicious)
        if is_due or solves_large:
            self.density_matrix_mm = density_matrix()
        if is_due:
            alignment = self.inner.frame.align(positions_av)
            if self._check(alignment) and solves_large:
                return self._with_extras(self.full.evaluate(alignment, self.density_matrix_mm), full=True)
        return self._with_extras(evaluation)

    def _check(self, alignment: Alignment) -> bool:
        """Estimate the error at this geometry, react, and return whether it is large.  Collective."""
        problem = self.estimator.model.place(alignment.body_positions_av)
        estimate = self.estimator.estimate(problem, self.density_matrix_mm)
        was_large, tolerance = self.watch.is_large, self.limits.tolerance
        self.watch = decide(self.estimator.model.grid.comm, self.watch.checked(estimate, tolerance))
        if self.watch.estimate > self.limits.reaction.stops_beyond * tolerance:
            raise self._too_large()
        if self.watch.is_large and not was_large:
            then = "solving in full" if self.limits.reaction.solves_large else "going on"
            found = f"estimated energy error {self.watch.estimate:.1e} Ha"
            self.log(f"warning: {found}, rom.error_tolerance = {tolerance:.1e} Ha; {then}")
        return self.watch.is_large

    def _too_large(self) -> AccuracyError:
        times, tolerance = self.limits.reaction.stops_beyond, self.limits.tolerance
        bound = "at most" if times == 1.0 else f"with rom.on_large_error = 'warn' at most {times:g} times"
        return AccuracyError(
            f"the reduced model's estimated energy error is {self.watch.estimate:.1e} Ha at this geometry; {bound} "
            f"rom.error_tolerance = {tolerance:.1e} Ha is allowed. Train on more geometries of this kind or keep more modes "
            "(rom.max_rank, rom.rank), or set rom.on_large_error = 'hifi'."
        )

    def _unknown(self, positions_av: np.ndarray, error: MpiqmdError) -> Evaluation:
        """React to a geometry without a reduced energy.  Collective."""
        if not (isinstance(error, UNKNOWN) and self.limits.reaction.solves_unknown):
            raise error
        if not self.watch.is_unknown:
            is_outside = isinstance(error, OutsideTablesError)
            where = "outside the compiled model's tables" if is_outside else "no reduced ground state"
            self.log(f"warning: {where} ({str(error).partition('. ')[0]}); solving in full")
        alignment = self.inner.frame.align(positions_av)
        evaluation = self.full.evaluate(alignment, self.density_matrix_mm)
        return self._with_extras(evaluation, full=True, is_unknown=True)

    def _with_extras(self, evaluation: Evaluation, full: bool = False, is_unknown: bool = False) -> Evaluation:
        """Return the evaluation with what the watch says, and count it."""
        extras = dict(evaluation.extras)
        if self.limits.check_every > 0 and not is_unknown:
            extras |= {"error_estimate": self.watch.estimate, "error_age": float(self.watch.age)}
        if self.limits.reaction.solves_unknown:
            extras["hifi"] = float(full)
        self.watch = self.watch.evaluated(self.limits.check_every, is_unknown, full)
        return Evaluation(evaluation.energy, evaluation.forces_av, extras)
