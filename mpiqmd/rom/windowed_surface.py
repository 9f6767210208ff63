r"""One surface from the models of several windows: energies blended by a smooth partition of unity.

With weights :math:`p_w(\varphi)` that sum to 1 and the energy :math:`E_w` of each window's model,

.. math:: E = \sum_w p_w E_w, \qquad F = \sum_w \big( p_w F_w - E_w\, p_w'(\varphi)\, \nabla\varphi \big).

E has as many derivatives as weights and models have: a trajectory conserves it through every border.  A window that is the
image of another asks that one's model about the image of the geometry, and the forces are brought back.  In most of a window
only one weight is not zero, and only one model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.judgement import FORCE_ERROR
from mpiqmd.molecule.relabelling import Relabelling
from mpiqmd.molecule.surface import Memory, Surface, in_parts, one_by_one
from mpiqmd.parallel.comm import decide
from mpiqmd.rom.learned.body_solver import CompanyMemory
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.watch import Watch
from mpiqmd.rom.watched import WatchedMemory, WatchedSurface
from mpiqmd.sampling.windows import Place, Share, Windows

if TYPE_CHECKING:
    from mpi4py import MPI

AnySurface = TypeVar("AnySurface", bound=Surface)
ENERGY_ERROR, FORCE_ERROR_SIZE = "error_estimate", "force_error_estimate"
"""Estimates of errors of what is blended: blended, too."""
COUNTED, AGE = "evaluations", "error_age"
WINDOW, COORDINATE = "window", "window_coordinate"
"""Names among the extras: the window with the largest weight, and the value of the coordinate that windows are laid along."""


class WindowsMemory(WatchedMemory):
    """What one owner left in every window that it has been to.

    Parameters
    ----------
    fresh
        Makes the memory of a window.
    company
        The owner is one of so many.

    Attributes
    ----------
    checked
        The owner's evaluation, counted from 0, at which errors were last estimated in a window, by its number.
    """

    def __init__(self, fresh: Callable[[int, int], Memory], company: int) -> None:
        super().__init__()
        self.company, self.at_once = company, CompanyMemory(company).at_once
        self._fresh = fresh
        self._of: dict[int, Memory] = {}
        self.checked: dict[int, int] = {}

    def of(self, window: int) -> Memory:
        """Return the memory of a window.  Collective where it is the first time that any owner is there."""
        if window not in self._of:
            self._of[window] = found = self._fresh(window, self.company)
            if isinstance(found, WatchedMemory):
                found.whole = self
        return self._of[window]

    def state(self) -> dict[str, np.ndarray]:
        """Return the memories of all windows, each name after ``window_K_``, and what was seen.  Collective.

        That is ``guard`` (numbers,), atomic units, and ``checked`` (windows, 2), numbers of windows and of evaluations.
        """
        inner = [(window, memory.state()) for window, memory in sorted(self._of.items())]
        checked = np.array(sorted(self.checked.items()), float).reshape(-1, 2)
        return {"guard": self.watch.as_array(), "checked": checked} | {
            f"window_{window}_{name}": array for window, state in inner for name, array in state.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective."""
        self.watch = Watch.from_array(state["guard"])
        self._of.clear()
        self.checked = {int(window): int(evaluation) for window, evaluation in state["checked"]}
        for window, own in by_window(state).items():
            self.of(window).restore(own)

    def forget(self) -> None:
        """Be as new.  Not collective."""
        self._of.clear()
        self.watch, self.checked = Watch(), {}


def by_window(state: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """Return what a state of :class:`WindowsMemory` has of each window, in their order.  Not collective."""
    of: dict[int, dict[str, np.ndarray]] = {}
    for name, array in state.items():
        if name.startswith("window_"):
            window, own = name.removeprefix("window_").split("_", 1)
            of.setdefault(int(window), {})[own] = array
    return dict(sorted(of.items()))


class _Question(NamedTuple):
    """What a geometry asks one window."""

    geometry: int
    share: Share
    operation: Relabelling
    image_av: np.ndarray
    memory: Memory


class WindowedSurface(WatchedSurface, Generic[AnySurface]):
    """The blended surface.

    Parameters
    ----------
    windows
        Where the windows are, and which are images of others.
    make_surface
        Makes the surface of the model of a distinct window when it is first needed.  Collective.
    limits
        When errors are estimated, which are large, and what follows.
    comm
        Communicator of the surfaces.
    cell_v
        Edges (3,) of a periodic cell, bohr: a molecule spread over its images is put together first.

    Attributes
    ----------
    surfaces
        The surfaces that there are so far, by their distinct windows.
    """

    def __init__(
        self,
        windows: Windows,
        make_surface: Callable[[int], AnySurface],
        limits: Limits,
        comm: MPI.Comm,
        cell_v: np.ndarray | None = None,
    ) -> None:
        super().__init__(limits)
        self.windows, self.comm, self.cell_v = windows, comm, cell_v
        self.surfaces: dict[int, AnySurface] = {}
        self._make_surface = make_surface

    def fresh(self, company: int = 1) -> WindowsMemory:
        """Return the memory of a new owner, one of ``company``; it has been to no window.  Not collective."""
        models_w = self.windows.models_w
        return WindowsMemory(lambda window, company: self._surface(models_w[window]).fresh(company), company)

    def evaluate(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[WindowsMemory]
    ) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces with what is known of their errors, or errors in their places.  Collective.

        The extras are those of :class:`~mpiqmd.rom.error_control.ErrorControl`, and ``window`` and ``window_coordinate``.
        Where the windows' coordinate has no value, there is a GeometryError.
        """
        return in_parts(self._evaluated, positions_bav, memories)

    def _surface(self, model: int) -> AnySurface:
        """Return the surface of the model of a distinct window.  Collective where it is the first time."""
        if model not in self.surfaces:
            self.surfaces[model] = self._make_surface(model)
        return self.surfaces[model]

    def _evaluated(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[WindowsMemory]
    ) -> list[Evaluation | MpiqmdError]:
        if self.cell_v is not None:
            positions_bav = [whole(positions_av, self.cell_v) for positions_av in positions_bav]
        places = decide(self.comm, one_by_one(lambda each_av, _: self.windows.place(each_av), positions_bav, memories))
        asked = self._questions(positions_bav, memories, places)
        answers = self._answers(asked)
        results: list[Evaluation | MpiqmdError] = []
        for b, each in enumerate(places):
            if isinstance(each, MpiqmdError):
                results.append(each)
                continue
            own = [(question, answer) for question, answer in zip(asked, answers, strict=True) if question.geometry == b]
            failure = next((answer for _, answer in own if isinstance(answer, MpiqmdError)), None)
            if failure is not None:
                results.append(failure)
                continue
            found = self._blended(positions_bav[b], each.value, own)
            self._note(memories[b], own, found)
            results.append(found)
        return results

    def _questions(
        self,
        positions_bav: Sequence[np.ndarray],
        memories: Sequence[WindowsMemory],
        places: Sequence[Place | MpiqmdError],
    ) -> list[_Question]:
        """Return what all geometries ask, in the order of the models that are asked."""
        asked = []
        for b, each in enumerate(places):
            for share in [] if isinstance(each, MpiqmdError) else each.shares:
                operation = self.windows.operations_w[share.window]
                image_av, memory = operation.image(np.asarray(positions_bav[b])), memories[b].of(share.window)
                asked.append(_Question(b, share, operation, image_av, memory))
        return sorted(asked, key=lambda question: self.windows.models_w[question.share.window])

    def _answers(self, asked: Sequence[_Question]) -> list[Evaluation | MpiqmdError]:
        """Return what the models say, each asked once for all geometries that are in its windows.  Collective."""
        answers: list[Evaluation | MpiqmdError] = []
        for model in sorted({self.windows.models_w[question.share.window] for question in asked}):
            own = [question for question in asked if self.windows.models_w[question.share.window] == model]
            images, memories = [question.image_av for question in own], [question.memory for question in own]
            answers += self._surface(model).evaluate(images, memories)
        return answers

    def _blended(self, positions_av: np.ndarray, value: float, own: Sequence[tuple[_Question, Any]]) -> Evaluation:
        """Return the energy and the forces of the module, and extras of all windows together."""
        # where one window has all the weight there is no slope either
        slope_av = self.windows.coordinate.gradient(positions_av) if len(own) > 1 else 0.0
        energy, forces_av = 0.0, np.zeros_like(positions_av)
        # energies are differences from the first: slopes sum to zero, and large numbers would leave their last digits
        origin = own[0][1].energy
        for question, answer in own:
            weight, slope = question.share.weight, question.share.slope
            energy += weight * (answer.energy - origin)
            forces_av += weight * question.operation.back(answer.forces_av) - slope * (answer.energy - origin) * slope_av
        extras, per_atom = _extras_of(own), {}
        errors_a = _force_errors(own, slope_av)
        if errors_a is not None:
            per_atom[FORCE_ERROR] = errors_a
            extras[FORCE_ERROR_SIZE] = float(errors_a.max())
        extras[WINDOW] = float(max(own, key=lambda pair: pair[0].share.weight)[0].share.window)
        extras[COORDINATE] = value
        return Evaluation(origin + energy, forces_av, extras, per_atom)

    def _note(self, memory: WindowsMemory, own: Sequence[tuple[_Question, Any]], found: Evaluation) -> None:
        """Let the owner's watch know of an evaluation, each window's estimates by themselves, and say how old they are."""
        self._note_estimates(memory, {question.share.window: answer.extras for question, answer in own})
        known = [question.share.window for question, answer in own if AGE in answer.extras]
        if known:
            found.extras[AGE] = float(memory.watch.evaluations - min(memory.checked[window] for window in known))
        full, on_grid = (found.extras.get(name, 0.0) > 0.0 for name in ("hifi", "on_grid"))
        lost = any(answer.extras.get("hifi", 0.0) > 0.0 and AGE not in answer.extras for _, answer in own)
        distance, check_every = found.extras.get("training_distance", 0.0), self.limits.check_every
        is_unknown = on_grid or (lost and check_every > 0)
        memory.watch = memory.watch.evaluated(check_every, distance, is_unknown=is_unknown, on_grid=on_grid, full=full)

    def _note_estimates(self, memory: WindowsMemory, extras_of: dict[int, dict[str, float]]) -> None:
        """Let the owner's watch know of the estimates that windows have made at this evaluation, the largest of them."""
        fresh = {window: extras for window, extras in extras_of.items() if extras.get(AGE) == 0.0}
        if not fresh:
            return
        memory.checked |= dict.fromkeys(fresh, memory.watch.evaluations)
        energy, force = (max(extras[name] for extras in fresh.values()) for name in (ENERGY_ERROR, FORCE_ERROR_SIZE))
        memory.watch = memory.watch.checked(energy, force, self.limits.tolerance)


def _extras_of(own: Sequence[tuple[_Question, Evaluation]]) -> dict[str, float]:
    """Return the extras of a blended evaluation: estimates and dipole moments blended, evaluations summed, the largest else.

    What not all windows have is of those that have it.
    """
    extras: dict[str, float] = {}
    for name in dict.fromkeys(name for _, answer in own for name in answer.extras):
        there = [(question.share.weight, answer.extras[name]) for question, answer in own if name in answer.extras]
        values = [each for _, each in there]
        if name == ENERGY_ERROR:
            extras[name] = float(np.average(values, weights=[weight for weight, _ in there]))
        else:
            extras[name] = float(sum(values) if name == COUNTED else max(values))
    if all(name in answer.extras for _, answer in own for name in DIPOLE):
        dipoles = [
            question.share.weight * question.operation.vector_back(np.array([answer.extras[name] for name in DIPOLE]))
            for question, answer in own
        ]
        extras |= zip(DIPOLE, np.sum(dipoles, axis=0).tolist(), strict=True)
    return extras


def _force_errors(own: Sequence[tuple[_Question, Evaluation]], slope_av: np.ndarray | float) -> np.ndarray | None:
    """Return the estimated size of each atom's force error, shape (N,), Ha/bohr; None where no window has one.

    Those of the windows are blended.  What their energies are estimated to be wrong by differs, and where weights have slopes
    the forces that follow from these are wrong by the difference, too.
    """
    there = [(question, answer) for question, answer in own if FORCE_ERROR in answer.per_atom]
    if not there:
        return None
    errors = [answer.per_atom[FORCE_ERROR][list(question.operation.permutation)] for question, answer in there]
    errors_a: np.ndarray = np.average(errors, axis=0, weights=[question.share.weight for question, _ in there])
    pull = sum(question.share.slope * answer.extras.get(ENERGY_ERROR, 0.0) for question, answer in there)
    return errors_a + abs(pull) * np.linalg.norm(np.broadcast_to(slope_av, (len(errors_a), 3)), axis=1)
