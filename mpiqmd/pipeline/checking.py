"""A reduced model is checked: unseen geometries of both kinds are chosen, solved in full, and compared with what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.pipeline.own_dynamics import own_frames
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.training import Outcome, TrainingSolver
from mpiqmd.rom.unseen import solve_unseen
from mpiqmd.rom.validation import SolvedGeometries, Validation, validate
from mpiqmd.rom.verdict import Tolerance
from mpiqmd.sampling.plan import Plan

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

UNSEEN_FILE = "validation.h5"
CANDIDATES, FRAMES = 100, 0.4
"""Geometries to choose from, and which share of them may be frames of the model's own dynamics."""
SEEDS = 1_000_003
"""Seeds between those of two sets of geometries."""


@dataclass(frozen=True, eq=False)
class Checked:
    """How solving the unseen geometries went, their store, and what was found; None if solving ended early."""

    outcome: Outcome
    store: SnapshotStore
    validation: Validation | None


def tolerance_of(settings: Settings) -> Tolerance:
    """Return what the input asks a model for.  Not collective."""
    return Tolerance(settings.train.energy_error, settings.train.force_error)


def check_model(
    settings: Settings,
    folder: Path,
    plan: Plan,
    solver: TrainingSolver,
    stage: OnlineStage,
    trained: SnapshotStore,
    *,
    number: int,
) -> Checked:
    """Compare a round's model with Hi-Fi at ``train.validation`` geometries that are new to it, and at those of its training.

    Collective.
    """
    positions_sav, kinds_s, _ = _drawn(plan, stage, settings.train.validation, 0.5, _seed(settings, number, 0), solver.log)
    path, signature = folder / UNSEEN_FILE, snapshot_signature(settings, solver.model)
    outcome, store, places = solve_unseen(solver, path, signature, positions_sav, trained)
    if outcome.stopped is not None:
        return Checked(outcome, store, None)
    at_training = SolvedGeometries.of(trained, stage.frame, range(len(trained)))
    unseen = SolvedGeometries.of(store, stage.frame, places)
    return Checked(outcome, store, validate(stage, at_training, unseen, kinds_s, solver.log))


def candidates(settings: Settings, plan: Plan, stage: OnlineStage, number: int, log: Log) -> np.ndarray:
    """Return geometries of which the next round's training may have some, shape (candidates, N, 3), bohr.  Collective.

    Frames of the model's own dynamics are among them where a step of it does not cost a solve on the grid, and where it left
    the model's tables.
    """
    share = 0.0 if stage.grid_free is None else FRAMES
    positions_sav, _, left_sav = _drawn(plan, stage, CANDIDATES, share, _seed(settings, number, 1), log)
    return np.concatenate([positions_sav, left_sav])


def _seed(settings: Settings, number: int, purpose: int) -> int:
    """Return the seed of a round's geometries: no round's are those of another, nor candidates those a model is checked on."""
    return settings.train.seed + SEEDS * (2 * (number - 1) + purpose)


def _drawn(
    plan: Plan, stage: OnlineStage, count: int, share: float, seed: int, log: Log
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return geometries in the body frame, shape (count, N, 3), bohr, a share of them frames, and the kind of each.

    With those at which the model's own dynamics left its tables (left, N, 3), bohr.  Collective.  Where it does so all the
    time, there are more random ones.
    """
    found = own_frames(stage, plan.reference, plan.temperature, int(share * count), seed, log)
    random_sav = plan.unseen(count - len(found.positions_sav), seed)
    kinds = ["random"] * len(random_sav) + ["dynamics"] * len(found.positions_sav)
    return np.concatenate([random_sav, found.positions_sav]), kinds, found.left_sav
