"""How good a reduced model is: its errors at the training geometries and at unseen ones, all of them known in full.

The form of the model that is used counts, grid-free if it has such a form.  A handful of the worst geometries is solved
reduced on the grid, too: what is left of the error there is that of the modes, the rest that of the compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import ConvergenceError, GeometryError
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.error_statistics import Errors, statistics
from mpiqmd.rom.online import Answer, OnlineStage
from mpiqmd.rom.snapshots import SnapshotStore

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

HANDFUL = 2
"""Geometries that are solved reduced on the grid beside a grid-free model: with hundreds of modes each takes seconds."""
KINDS = ("random", "dynamics")
"""Of unseen geometries: drawn as the sampling has them, and frames of the model's own dynamics."""


@dataclass(frozen=True, eq=False)
class SolvedGeometries:
    """Geometries in the body frame (bohr), Hi-Fi energies (Ha), and forces of the exact gradient (Ha/bohr).

    Not collective; replicated.
    """

    positions_sav: np.ndarray
    energies_s: np.ndarray
    forces_sav: np.ndarray

    @classmethod
    def of(cls, store: SnapshotStore, frame: BodyFrame, indices: Sequence[int]) -> SolvedGeometries:
        """Return some finished geometries of a store.  Not collective."""
        chosen = list(indices)
        positions_sav = store.positions_sav[chosen]
        return cls(positions_sav, store.energies_s[chosen], exact_forces(frame, positions_sav, store.forces_sav[chosen]))

    def __len__(self) -> int:
        return len(self.energies_s)

    def chosen(self, indices: Sequence[int]) -> SolvedGeometries:
        """Return some of them, in this order."""
        chosen = list(indices)
        return SolvedGeometries(self.positions_sav[chosen], self.energies_s[chosen], self.forces_sav[chosen])


def exact_forces(frame: BodyFrame, positions_sav: np.ndarray, forces_sav: np.ndarray) -> np.ndarray:
    """Return the forces of the exact gradient through the body frame, shape (S, N, 3), Ha/bohr.  Not collective.

    ``positions`` (bohr) and ``forces`` (Ha/bohr), at fixed frame, are those of geometries in the body frame, (S, N, 3).
    """
    pairs = zip(positions_sav, forces_sav, strict=True)
    forces = [frame.align(x_av).gradient_forces(-f_av) for x_av, f_av in pairs]
    return np.array(forces).reshape(positions_sav.shape)


@dataclass(frozen=True, eq=False)
class Validation:
    """What checking a model found.

    Attributes
    ----------
    errors
        Statistics, small enough for the model file: ``online`` (the form), ``offset`` (mean energy error at the training
        geometries, Ha), :func:`~mpiqmd.rom.error_statistics.statistics` of ``training``, ``random``, ``dynamics`` and of all
        ``unseen``; and, both None where the form is the grid, ``worst``: of ``training`` and ``unseen`` the errors ``in_use``
        and ``on_grid`` at a handful of geometries, and ``grid_offset``: the mean error on the grid at those of the training.
    geometries
        The unseen ones, a dictionary each.
    """

    errors: dict[str, Any]
    geometries: list[dict[str, Any]]


def validate(
    stage: OnlineStage, trained: SolvedGeometries, unseen: SolvedGeometries, kinds_s: Sequence[str], log: Log
) -> Validation:
    """Compare a model with Hi-Fi at its training geometries and at unseen ones, each of a kind.  Collective."""
    at_training = errors_of(stage, stage.answer, trained)
    at_unseen = errors_of(stage, stage.answer, unseen, Countdown(log, len(unseen), "checked"))
    offset, kinds = at_training.offset, np.array(kinds_s, str)
    sets = {"training": at_training} | {kind: at_unseen.chosen(kinds == kind) for kind in KINDS} | {"unseen": at_unseen}
    errors: dict[str, Any] = {"online": stage.online, "offset": offset}
    errors |= {name: statistics(each, offset) for name, each in sets.items()} | {"worst": None, "grid_offset": None}
    rows = [
        {"kind": kinds_s[s], "positions": unseen.positions_sav[s], "energy": unseen.energies_s[s]} | _row(at_unseen, s)
        for s in range(len(unseen))
    ]
    if stage.grid_free is not None:
        errors |= _at_the_worst(stage, {"training": (trained, at_training), "unseen": (unseen, at_unseen)}, offset)
    return Validation(errors, rows)


def errors_of(
    stage: OnlineStage,
    answer: Callable[[np.ndarray], Answer],
    solved: SolvedGeometries,
    countdown: Countdown | None = None,
) -> Errors:
    """Return the errors of answers at solved geometries, with their estimates where a countdown tells of them.  Collective."""
    energies_s, estimates_s = np.full((2, len(solved)), np.nan)
    forces_sav = np.full(solved.positions_sav.shape, np.nan)
    for s, positions_av in enumerate(solved.positions_sav):
        try:
            evaluation, density_matrix_mm = answer(positions_av)
        except (GeometryError, ConvergenceError) as problem:
            said = str(problem).partition(":")[0]
        else:
            energies_s[s] = evaluation.energy - solved.energies_s[s]
            forces_sav[s] = evaluation.forces_av - solved.forces_sav[s]
            said = f"energy error {energies_s[s]:.1e} Ha, force error {np.abs(forces_sav[s]).max():.1e} Ha/bohr"
            if countdown is not None:
                estimates_s[s] = stage.error_estimate(positions_av, density_matrix_mm)
        if countdown is not None:
            countdown.advance(said)
    return Errors(*decide(stage.model.grid.comm, (energies_s, forces_sav, estimates_s)))


def _at_the_worst(stage: OnlineStage, sets: dict[str, tuple[SolvedGeometries, Errors]], offset: float) -> dict[str, Any]:
    """Return the errors where the form in use has its largest, of that form and of the grid, each without its own offset.

    Collective.
    """
    chosen = {name: errors.worst(HANDFUL) for name, (_, errors) in sets.items()}
    on_grid = {name: errors_of(stage, stage.answer_on_grid, solved.chosen(chosen[name])) for name, (solved, _) in sets.items()}
    grid_offset = on_grid["training"].offset
    worst = {
        name: {
            "in_use": statistics(errors.chosen(chosen[name]), offset),
            "on_grid": statistics(on_grid[name], grid_offset),
        }
        for name, (_, errors) in sets.items()
    }
    return {"worst": worst, "grid_offset": grid_offset}


def _row(errors: Errors, s: int) -> dict[str, Any]:
    """Return the errors at one geometry as plain data."""
    return {
        "energy_error": errors.energies_s[s],
        "force_error": errors.largest_s[s],
        "force_rms": float(np.sqrt(np.mean(errors.forces_sav[s] ** 2))),
        "error_estimate": errors.estimates_s[s],
    }


def errors_to_keep(before: dict[str, Any] | None, found: dict[str, Any]) -> dict[str, Any]:
    """Return which errors a model file keeps: those it has, unless they are of another form or of fewer unseen geometries.

    ``before`` is None where the file has none.  Not collective.
    """
    if before is None or before["online"] != found["online"] or _count(before) < _count(found):
        return found
    return before


def _count(errors: dict[str, Any]) -> int:
    return int(errors["unseen"]["count"]) if errors["unseen"] else 0
