"""A reduced model is checked: unseen geometries of both kinds are chosen, solved in full, and compared with what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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

UNSEEN_FILE = "validation.h5"


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
    settings: Settings, folder: Path, plan: Plan, solver: TrainingSolver, stage: OnlineStage, trained: SnapshotStore
) -> Checked:
    """Compare a model with Hi-Fi at ``train.validation`` unseen geometries and at those of its training.  Collective."""
    positions_sav, kinds_s = unseen_geometries(settings, plan, solver, stage)
    path, signature = folder / UNSEEN_FILE, snapshot_signature(settings, solver.model)
    outcome, store, places = solve_unseen(solver, path, signature, positions_sav)
    if outcome.stopped is not None:
        return Checked(outcome, store, None)
    at_training = SolvedGeometries.of(trained, stage.frame, range(len(trained)))
    unseen = SolvedGeometries.of(store, stage.frame, places)
    return Checked(outcome, store, validate(stage, at_training, unseen, kinds_s, solver.log))


def unseen_geometries(
    settings: Settings, plan: Plan, solver: TrainingSolver, stage: OnlineStage
) -> tuple[np.ndarray, list[str]]:
    """Return unseen geometries (samples, N, 3), bohr, in the body frame, and the kind of each.  Collective.

    Where the model's own dynamics leads out of it, there are more random ones.
    """
    count, seed = settings.train.validation, settings.train.seed
    found = own_frames(stage, plan.reference, plan.temperature, count // 2, seed, solver.log)
    random_sav = plan.unseen(count - len(found.positions_sav), seed)
    kinds = ["random"] * len(random_sav) + ["dynamics"] * len(found.positions_sav)
    return np.concatenate([random_sav, found.positions_sav]), kinds
