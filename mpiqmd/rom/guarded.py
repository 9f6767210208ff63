"""A reduced surface that watches its own error and knows what to do about it.

Every few steps the residual estimate of ``estimate`` is computed on the grid; a geometry outside a compiled model's tables
is noticed at once.  What happens then is ``rom.on_large_error``:

    warn    say so once, go on inside the tables
    stop    end the run
    hifi    solve that geometry in full, in the body frame, from the reduced orbitals
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Protocol

import numpy as np

from mpiqmd.errors import AccuracyError, ConfigError, GeometryError, MpiqmdError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log
from mpiqmd.rom.compiled.provider import OutsideTablesError
from mpiqmd.rom.domain import SampledBox
from mpiqmd.rom.estimate import ErrorEstimator

REACTIONS = ("warn", "stop", "hifi")


class ReducedProvider(Protocol):
    """A reduced surface that shows the density matrix of its latest evaluation and the region it was trained on."""

    box: SampledBox | None

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
    estimator, model
        Error estimator of its modes, and the physics.
    hifi_solver
        A full-space solver, needed for ``"hifi"``.
    frame
        The body frame of the modes.
    check_every
        Evaluations between estimates; 0 for none.
    tolerance
        Estimated energy error that is large, Ha.
    on_large_error
        ``"warn"``, ``"stop"`` or ``"hifi"``.
    log
        Where warnings go.

    Attributes
    ----------
    density_matrix_mm
        P over the modes when the reduced surface was last looked at: by an estimate, or, with ``"hifi"``, every time.

    Raises
    ------
    ConfigError
        For an unknown reaction, or ``"hifi"`` without a solver.
    """

    def __init__(
        self,
        inner: ReducedProvider,
        estimator: ErrorEstimator,
        model: KohnShamModel,
        hifi_solver: ElectronicSolver | None,
        frame: BodyFrame,
        check_every: int,
        tolerance: float,
        on_large_error: str,
        log: Log,
    ) -> None:
        if on_large_error not in REACTIONS or (on_large_error == "hifi" and hifi_solver is None):
            raise ConfigError(
                f"rom.on_large_error = {on_large_error!r}: allowed are {', '.join(map(repr, REACTIONS))}, the last with a "
                "full solver at hand. Use 'warn'."
            )
        self.inner, self.estimator, self.model, self.hifi_solver, self.frame = inner, estimator, model, hifi_solver, frame
        self.cell_v = model.grid.cell_v if model.grid.is_periodic else None
        self.check_every, self.tolerance, self.on_large_error, self.log = check_every, tolerance, on_large_error, log
        self.age, self.estimate, self.is_large = 0, 0.0, False
        self.density_matrix_mm: np.ndarray | None = None
        self.last_full: GroundState | None = None

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces with the extras ``error_estimate`` (Ha, the latest), ``error_age`` (evaluations since)
        and ``hifi`` (1 where solved in full; with ``on_large_error = "hifi"``).  Collective.

        Raises
        ------
        AccuracyError
            If the estimate is above the tolerance and the reaction is ``"stop"``.
        GeometryError
            Outside the tables, unless the reaction is ``"hifi"``.
        """
        positions_av = whole(positions_av, self.cell_v)
        try:
            evaluation = self.inner.evaluate(positions_av)
        except OutsideTablesError as error:
            return self._outside(positions_av, error)
        return self._watched(positions_av, evaluation, lambda: self.inner.density_matrix_mm)

    @property
    def batches(self) -> bool:
        """Whether the reduced surface evaluates several geometries at once, as the compiled one does."""
        return hasattr(self.inner, "evaluate_batch")

    def fork(self) -> GuardedProvider:
        """Return the same surface with estimates of its own, to come.  Not collective."""
        other = copy(self)
        other.age, other.estimate, other.is_large = 0, 0.0, False
        other.density_matrix_mm = other.last_full = None
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
                if isinstance(result, OutsideTablesError):
                    results[b] = member._outside(positions_av, result)
                elif isinstance(result, Evaluation):
                    results[b] = member._watched(positions_av, result, partial(self.inner.density_matrix, b))
            except MpiqmdError as error:
                results[b] = error
        return results

    def state(self) -> dict[str, np.ndarray]:
        """Return the inner surface's state, the latest estimate, and where full solves start from.  Collective."""
        own = {"guard": np.array([self.age, self.estimate, self.is_large], float)}
        if self.density_matrix_mm is not None:
            own["guard_density_matrix"] = self.density_matrix_mm
        return self.inner.state() | own

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective."""
        age, self.estimate, is_large = np.asarray(state.get("guard", np.zeros(3)), float).tolist()
        self.age, self.is_large = int(age), bool(is_large)
        self.density_matrix_mm = state.get("guard_density_matrix")
        own = ("guard", "guard_density_matrix")
        self.inner.restore({name: array for name, array in state.items() if name not in own})

    def _watched(
        self, positions_av: np.ndarray, evaluation: Evaluation, density_matrix: Callable[[], np.ndarray]
    ) -> Evaluation:
        """Return the evaluation with its error estimate, which may have to be made, or the full one.  Collective."""
        suspicious = self.on_large_error == "hifi" and self.is_large
        is_due = self.check_every > 0 and (self.age == 0 or suspicious)
        if is_due or self.on_large_error == "hifi":
            self.density_matrix_mm = density_matrix()
        if is_due:
            alignment = self.frame.align(positions_av)
            if self._check(alignment) and self.on_large_error == "hifi":
                return self._full(alignment)
        return self._with_extras(evaluation)

    def _check(self, alignment: Alignment) -> bool:
        """Estimate the error at this geometry, react, and return whether it is large.  Collective."""
        problem = self.model.place(alignment.body_positions_av)
        self.estimate = self.estimator.estimate(problem, self.density_matrix_mm)
        self.age = 0
        is_large = decide(self.model.grid.comm, self.estimate > self.tolerance)
        if is_large and self.on_large_error == "stop":
            raise AccuracyError(
                f"the reduced model's estimated energy error is {self.estimate:.1e} Ha at this geometry; at most "
                f"rom.error_tolerance = {self.tolerance:.1e} Ha is allowed. Train on a wider range or keep more modes "
                "(rom.rank), or set rom.on_large_error = 'hifi'."
            )
        if is_large and not self.is_large:
            then = "solving in full" if self.on_large_error == "hifi" else "going on"
            self.log(
                f"warning: estimated energy error {self.estimate:.1e} Ha, rom.error_tolerance = {self.tolerance:.1e} Ha; {then}"
            )
        self.is_large = is_large
        return is_large

    def _outside(self, positions_av: np.ndarray, error: GeometryError) -> Evaluation:
        """React to a geometry outside the tables.  Collective."""
        if self.on_large_error != "hifi":
            raise error
        if not self.is_large:
            self.log("warning: outside the compiled model's tables; solving in full")
        self.is_large = True
        return self._full(self.frame.align(positions_av))

    def _full(self, alignment: Alignment) -> Evaluation:
        """Solve the full problem in the body frame, from the reduced orbitals where there are any.  Collective."""
        problem = self.model.place(alignment.body_positions_av)
        state = self.last_full = self.hifi_solver.solve(problem, self._guess())
        forces_av = alignment.gradient_forces(state.gradient_av)
        extras = self._dipole(alignment, problem, state)
        if self.inner.box is not None:
            extras["outside"] = self.inner.box.excess(alignment.body_positions_av)
        evaluation = Evaluation(state.free_energy, forces_av, extras)
        return self._with_extras(evaluation, full=True)

    def _guess(self) -> Orbitals | None:
        """Return the reduced orbitals of the latest evaluation, if they are as many as the full solver works with."""
        density_matrix = self.density_matrix_mm
        if density_matrix is None:
            return None
        orbitals = self.estimator.electrons(density_matrix).orbitals
        return orbitals if len(orbitals) == getattr(self.hifi_solver, "n_orbitals", len(orbitals)) else None

    def _dipole(self, alignment: Alignment, problem: Problem, state: GroundState) -> dict[str, float]:
        """Return the dipole moment of a full ground state in the laboratory, atomic units.  Collective."""
        if state.density is None:
            return {}
        laboratory_v = alignment.laboratory_vector(problem.dipole(state.density))
        return dict(zip(DIPOLE, laboratory_v.tolist(), strict=True))

    def _with_extras(self, evaluation: Evaluation, full: bool = False) -> Evaluation:
        extras = dict(evaluation.extras)
        if self.check_every > 0:
            extras |= {"error_estimate": self.estimate, "error_age": float(self.age)}
            self.age = (self.age + 1) % self.check_every
        if self.on_large_error == "hifi":
            extras["hifi"] = float(full)
        return Evaluation(evaluation.energy, evaluation.forces_av, extras)
