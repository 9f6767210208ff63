"""A reduced surface that grows where it is not good enough: what dynamics had to solve in full joins its training.

Large errors are found and such geometries solved in full as :mod:`~mpiqmd.rom.error_control` does it.  Those that differ enough
are gathered; as soon as there are enough of them the model grows by them and by as many further out
(:mod:`~mpiqmd.rom.beyond`), and takes the place of the one before for all owners of the surface.  Which model a run is at, and
what it has gathered, is kept with its memory: a resumed run meets the same geometries, and grows the same model, or takes the
one that is on the disk if that was made of the very same.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiqmd.errors import ConvergenceError, DataFileError, GeometryError, MpiqmdError
from mpiqmd.findings import Finding
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.molecule.body_surface import BodyMemory
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.symmetry import with_images
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log
from mpiqmd.rom import epochs as exchanges
from mpiqmd.rom.beyond import beyond
from mpiqmd.rom.epochs import Epoch
from mpiqmd.rom.error_control import GREW, ErrorControl, ErrorMemory
from mpiqmd.rom.full_solutions import FullSolution, OverheardSolver
from mpiqmd.rom.gathering import Gathering
from mpiqmd.rom.grown_models import Filed, GrownModels
from mpiqmd.rom.growth import require_as_many_orbitals
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.training_distance import TrainingDistance
from mpiqmd.rom.verdict import finding_on_model
from mpiqmd.rom.watched import WatchedSurface

EPOCHS, GATHERED, DIGEST = GREW, "growth_gathered", "growth_model"
"""Names of what a checkpoint keeps: the exchanges, the geometries that wait, and the hash of the model in use."""


@dataclass(frozen=True, eq=False)
class Means:
    """What a model grows with.

    Attributes
    ----------
    models
        The models of the run.
    make_stage
        Makes the online stage of a reduced model, with its full-space solver.  Collective.
    make_solver
        Makes the full-space solver.  Not collective.
    signature
        Physics of full solutions, and how they are solved.
    enough
        How many geometries a model grows by.
    """

    models: GrownModels
    make_stage: Callable[[ReducedModel, Callable[[], ElectronicSolver]], OnlineStage]
    make_solver: Callable[[], ElectronicSolver]
    signature: Mapping[str, object]
    enough: int


class LearningMemory(ErrorMemory):
    """What was seen of one owner's errors, and which model its electrons belong to."""

    def __init__(self, inner: BodyMemory, surface: LearningSurface) -> None:
        super().__init__(inner)
        self.surface, self.digest = surface, surface.filed.digest

    def state(self) -> dict[str, np.ndarray]:
        """Return the same with the exchanges, the geometries that wait and the model's hash.  Collective.

        ``growth_epochs`` (epochs, fields), atomic units, ``growth_gathered`` (S, N, 3), bohr, ``growth_model`` (bytes,).
        """
        self.follow()
        return super().state() | self.surface.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, the model that was in use before all.  Collective.

        Where another owner has been further, it is that one's model that is in use, and what was kept of an older one is let
        go.
        """
        self.surface.recall(state)
        own = {name: state.pop(name) for name in (EPOCHS, GATHERED, DIGEST) if name in state}
        if own:
            self.digest = digest_in(own)
        super().restore(state)
        self.follow()

    def follow(self) -> None:
        """Let go of what belongs to a model that is not in use any more: the next error is estimated.  Not collective."""
        if self.digest != self.surface.filed.digest:
            self.digest = self.surface.filed.digest
            self.inner.electrons.forget()
            self.density_matrix_mm = None
            self.watch = self.watch._replace(age=0, is_large=False, is_unknown=False, good_to=0.0)


class LearningSurface(WatchedSurface):
    """The surface of a model that grows.  Construction is collective.

    Parameters
    ----------
    means
        What it grows with.
    first
        The model that it begins with.
    log
        Where growth is told of.

    Attributes
    ----------
    control
        The surface of the model in use, its errors controlled.
    epochs
        The exchanges so far.
    number
        Of the model in use; the first is 1.
    """

    def __init__(self, means: Means, first: Filed, log: Log) -> None:
        self.means, self.models, self.log = means, means.models, log
        self.epochs: list[Epoch] = []
        self.gathering = Gathering(self.models.model.grid, means.signature, means.enough)
        self.solver = OverheardSolver(means.make_solver, self._hear)
        self.filed, self.stage = first, self._stage(first)
        super().__init__(self.control.limits)
        reduced = first.reduced
        require_as_many_orbitals(reduced, getattr(self.solver, "n_orbitals", reduced.training_orbitals_smn.shape[2]))

    @property
    def control(self) -> ErrorControl:
        """The surface of the model in use, its errors controlled."""
        return self.stage.surface

    @property
    def number(self) -> int:
        """Number of the model in use."""
        return 1 + len(self.epochs)

    def fresh(self, company: int = 1) -> LearningMemory:
        """Return the memory of a new owner, one of ``company``.  Not collective."""
        return LearningMemory(self.control.surface.fresh(company), self)

    def evaluate(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[LearningMemory]
    ) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces as the model in use has them, and grow if there is enough to grow by.  Collective.

        The extras are those of error control and ``epoch``, the number of the model.  What keeps it from growing is in the
        place of every evaluation.
        """
        for memory in memories:
            memory.follow()
        step = max(memory.evaluations for memory in memories)
        gathered, watches = list(self.gathering.solutions), [memory.watch for memory in memories]
        answers = self.control.evaluate(positions_bav, memories)
        for answer in answers:
            if isinstance(answer, Evaluation):
                answer.extras["epoch"] = float(self.number)
        if len(self.gathering) < self.means.enough:
            return answers
        try:
            self.grow(step)
        except MpiqmdError as error:
            # as before this evaluation, from where a run goes on
            self.gathering.solutions = gathered
            for memory, watch in zip(memories, watches, strict=True):
                memory.watch = watch
            # each owner says of its own what it means for it
            return [copy.copy(error) for _ in answers]
        return answers

    def grow(self, step: int) -> None:
        """Grow by all that is gathered, after an evaluation, counted from 0.  Collective."""
        started, stage, before, number = time.perf_counter(), self.stage, self.reduced, self.number + 1
        met = self.gathering.solutions
        self.log(f"step {step}: the model grows by {len(met)} geometries that were solved in full, and as many further out")
        centre_av = with_images(before.training_positions_sav, before.symmetries).mean(axis=0)
        solved = [*met, *beyond(self.models.model, self.solver.solver, stage.frame, met, centre_av, self.log)]
        grown = self.models.grow(self.filed, solved, number, step)
        following, last = self._stage(grown), met[-1]
        counts = len(before.training_positions_sav), len(grown.reduced.training_positions_sav), before.rank, grown.reduced.rank
        energies = _energy(stage, last.positions_av), _energy(following, last.positions_av), last.energy
        seconds = decide(self.models.comm, time.perf_counter() - started)
        epoch = Epoch(number, step, *counts, *energies, seconds)
        # nothing has changed before all of it is there
        self.filed, self.stage, self.gathering.solutions = grown, following, []
        self.epochs.append(epoch)
        self.log(epoch.line)

    def state(self) -> dict[str, np.ndarray]:
        """Return what a resumed run needs to go on with the same model; see :class:`LearningMemory`.  Not collective.

        Exchanges (epochs, fields), atomic units, geometries that wait (S, N, 3), bohr, and the model's hash (bytes,).
        """
        shape = (len(self.gathering), *self.reduced.reference_av.shape)
        return {
            EPOCHS: exchanges.as_array(self.epochs),
            GATHERED: self.gathering.positions_sav.reshape(shape),
            DIGEST: np.frombuffer(self.filed.digest.encode(), np.uint8),
        }

    def recall(self, state: Mapping[str, np.ndarray]) -> None:
        """Take back what the state of an owner has of :meth:`state`, unless more is known already.  Collective.

        The states of all owners are of one history: the latest is that of all.  Raises DataFileError if a file of the run is
        gone or another; nothing has changed then.
        """
        if EPOCHS not in state:
            return
        known, epochs, digest = (len(self.epochs), len(self.gathering)), exchanges.from_array(state[EPOCHS]), digest_in(state)
        if any(known) and (len(epochs), len(state[GATHERED])) <= known:
            if len(epochs) == len(self.epochs) and digest != self.filed.digest:
                raise self._another(self.number)
            return
        number, filed, stage = 1 + len(epochs), self.filed, self.stage
        if digest != filed.digest:
            filed = self.models.load(number)
            if filed.digest != digest:
                raise self._another(number)
            stage = self._stage(filed)
        waiting = self.gathering.read(state[GATHERED], self.models.gathered_path(number + 1))
        self.epochs, self.filed, self.stage, self.gathering.solutions = epochs, filed, stage, waiting

    def _another(self, number: int) -> DataFileError:
        """Return the error that the file of a model is not the one of a checkpoint."""
        return DataFileError(
            f"{self.models.path(number)}: it is not the model that the checkpoint goes on with. Both files of one run are "
            "needed: restore it from a copy, or start afresh with --overwrite."
        )

    def standing(self) -> Finding:
        """Return how good the model in use is.  Not collective."""
        return finding_on_model(self.reduced.notes, self.models.options.online)

    def growth_findings(self) -> list[Finding]:
        """Return what the exchanges mean for the energies of a run.  Not collective."""
        return exchanges.findings(self.epochs, self.limits.tolerance.energy)

    def grown(self) -> dict[str, Any]:
        """Return ``epochs``, and ``gathered``, how many geometries wait for the next, for ``result.json``.  Not collective."""
        return {"epochs": [epoch.as_dict() for epoch in self.epochs], "gathered": len(self.gathering)}

    def growth_lines(self, name: Callable[[int], str]) -> list[str]:
        """Return the exchanges and what waits in words; ``name`` says what an evaluation is called.  Not collective."""
        waiting = len(self.gathering)
        where = self.models.gathered_path(self.number + 1).name
        rest = [f"{waiting} of {self.means.enough} geometries are gathered for the model to grow by, in {where}"]
        return exchanges.lines(self.epochs, name) + (rest if waiting else [])

    @property
    def reduced(self) -> ReducedModel:
        """The model in use."""
        return self.filed.reduced

    @property
    def region(self) -> TrainingDistance:
        """The geometries of the training of the model in use."""
        return self.stage.region

    def _stage(self, filed: Filed) -> OnlineStage:
        """Return a model ready for use.  Collective."""
        return self.means.make_stage(filed.reduced, lambda: self.solver)

    def _hear(self, solution: FullSolution) -> None:
        """Gather what was solved in full, if it differs enough.  Collective."""
        if self.gathering.wants(solution.positions_av, self.region):
            self.gathering.add(solution, self.models.gathered_path(self.number + 1))


def digest_in(state: Mapping[str, np.ndarray]) -> str:
    """Return the hash of the model in use that a state of a :class:`LearningMemory` has.  Not collective."""
    return bytes(state[DIGEST].astype(np.uint8)).decode(errors="replace")


def _energy(stage: OnlineStage, positions_av: np.ndarray) -> float:
    """Return the reduced energy at body-frame positions, Ha, on the grid where there is no other; NaN without.  Collective."""
    with suppress(GeometryError, ConvergenceError):
        return stage.answer(positions_av).evaluation.energy
    with suppress(ConvergenceError):
        return stage.ground_state(positions_av).free_energy
    return float("nan")
