"""The offline stage of one model: geometries solved, orbitals compressed, the model checked, and again until it is good enough.

What is on disk already, geometries or the whole model, is not made again.

``model.h5`` is there when the model has been checked, and says how good it is.  Checking solves geometries in full and may
be killed, and what was compressed and learned before shall not be lost with it: until then the model is ``model-draft.h5``,
complete but for its errors, from which the same command goes on.  Modes and arrays are written once: the draft gets its last
notes and its name.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiqmd.config.settings import Settings
from mpiqmd.errors import MpiqmdError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.interruption import exit_status
from mpiqmd.pipeline.build import build_online_stage
from mpiqmd.pipeline.checking import check_model, tolerance_of
from mpiqmd.pipeline.identity import recipe, snapshot_signature
from mpiqmd.pipeline.results import plain
from mpiqmd.pipeline.rounds import ROUNDS_FILE, Rounds, found_in, next_round, with_added
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.basis import ReducedBasis
from mpiqmd.rom.file_names import MODEL_FILE
from mpiqmd.rom.greedy import solve_greedily
from mpiqmd.rom.model import ReducedModel, complete_model
from mpiqmd.rom.model_summary import error_table
from mpiqmd.rom.offline import compress, make_reduced_model, projections
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.training import Outcome, TrainingSolver
from mpiqmd.rom.validation import Validation, errors_to_keep
from mpiqmd.rom.verdict import FULL_WARNINGS, full_warnings, stored_verdict, verdict, warning_on_full
from mpiqmd.sampling.plan import Plan
from mpiqmd.sampling.rules.rule import CandidateRule
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

SNAPSHOT_FILE = "snapshots.h5"
DRAFT_FILE = "model-draft.h5"


def make_good_model(settings: Settings, folder: Path, plan: Plan, solver: TrainingSolver) -> dict[str, Any]:
    """Make models until one is good enough or nothing more may be done; return what ``result.json`` holds.  Collective."""
    model, log = solver.model, solver.log
    store = SnapshotStore(folder / SNAPSHOT_FILE, snapshot_signature(settings, model), model.grid.comm)
    snapshots, rounds = SnapshotOrbitals(store, model.grid), Rounds(folder / ROUNDS_FILE, settings, model.grid.comm)
    log(model.describe())
    seconds: float | None = None
    while True:
        solved = solve_geometries(rounds, folder, plan, solver, snapshots)
        seconds = solved.seconds or seconds
        if solved.stopped is not None:
            announce(solved, store, log.afterwards)
            return progress(solved, store)
        now = rounds.settings_now
        path, reduced = draft_or_model(now, folder, plan, model, snapshots, log)
        stage = build_online_stage(now, model, reduced, log)
        checked = check_model(now, folder, plan, solver, stage, store, number=rounds.number)
        if checked.validation is None:
            announce(checked.outcome, checked.store, log.afterwards)
            return progress(checked.outcome, checked.store)
        judgement = verdict(checked.validation.errors, tolerance_of(settings))
        assert judgement is not None, "the errors are those of this very command"
        if judgement["good"] is not False or rounds.number >= settings.train.rounds:
            break
        print_errors(checked.validation, judgement, log)
        following = next_round(rounds, plan, stage, reduced, checked.validation, judgement, log=log)
        if following is None:
            break
        rounds.finish(following)
        # one model at a time is in memory, though it is in cycles
        del reduced, stage, checked
        gc.collect()
        log(f"round {rounds.number} of at most {settings.train.rounds}: {following.words}")
    kinds = sorted({*full_warnings(reduced.notes), *solver.watch.lasting})
    keep_model(path, folder / MODEL_FILE, reduced, checked.validation.errors, kinds, settings)
    last = found_in(reduced, now.rom.compilation_error, checked.validation, judgement)
    title = f"{model.molecule.formula}, {settings.xc.functional}"
    on_rank_zero(model.grid.comm, _plot, folder, reduced.basis, title)
    print_errors(checked.validation, judgement, log.afterwards)
    on_full = warning_on_full(kinds)
    if on_full is not None:
        log.afterwards(on_full)
    return describe_basis(reduced.basis, store) | {
        "seconds_per_geometry": seconds,
        "errors": checked.validation.errors,
        "unseen": checked.validation.geometries,
        "rounds": [each.found for each in rounds.over] + [last],
        "verdict": judgement,
        "warnings": list(solver.watch.said.values()),
    }


def draft_or_model(
    settings: Settings, folder: Path, plan: Plan, model: KohnShamModel, snapshots: SnapshotOrbitals, log: Log
) -> tuple[Path, ReducedModel]:
    """Return the model of the solved geometries, made now if it is not there, and its file.  Collective."""
    finished = finished_model(folder, settings, model, snapshots.store)
    if finished is not None:
        log(f"the model is made already, with {finished[1].rank} modes")
        return finished
    path = folder / DRAFT_FILE
    return path, make_draft(settings, path, plan, model, snapshots, log)


def print_errors(checked: Validation, judgement: dict[str, Any], log: Log) -> None:
    """Print the errors of a model and what they mean.  Not collective."""
    for line in error_table(checked.errors):
        log(line)
    log(judgement["words"])


def make_draft(
    settings: Settings, path: Path, plan: Plan, model: KohnShamModel, snapshots: SnapshotOrbitals, log: Log
) -> ReducedModel:
    """Make the reduced model of the solved geometries, and write it without its errors.  Collective."""
    basis = compress(snapshots.all(), plan.symmetries, settings.rom, log)
    orbitals_smn = projections(basis, snapshots)
    snapshots.release()
    reduced = make_reduced_model(model, plan.body, basis, snapshots.store, orbitals_smn, options=settings.rom, log=log)
    reduced = replace(reduced, notes={**reduced.notes, **plan.rule.notes(), "recipe": recipe(settings)})
    reduced.save(path)
    return reduced


def keep_model(
    path: Path, final: Path, reduced: ReducedModel, errors: dict[str, Any], kinds: list[str], settings: Settings
) -> None:
    """Let the file of a model, a draft or the final one, become the final one with its errors and their verdict.  Collective.

    A final one keeps the errors that it has if they are those of as many unseen geometries, or more.  ``kinds`` are those of
    the warnings of its full solutions.
    """
    comm, before = reduced.basis.modes.grid.comm, reduced.notes
    kept = errors_to_keep(before["errors"] if stored_verdict(before) else None, plain(errors))
    notes = {**before, "errors": kept, "verdict": plain(verdict(kept, tolerance_of(settings)))}
    if kinds:
        notes[FULL_WARNINGS] = kinds
    if path != final:
        on_rank_zero(comm, complete_model, path, final, notes)
    elif notes != reduced.notes:
        replace(reduced, notes=notes).save(final)


def solve_geometries(rounds: Rounds, folder: Path, plan: Plan, solver: TrainingSolver, snapshots: SnapshotOrbitals) -> Outcome:
    """Solve the plan's geometries, and those that rounds have added, that the store does not have.  Collective."""
    store, log, formula = snapshots.store, solver.log, plan.reference.formula
    samples = plan.samples
    if isinstance(plan.rule, CandidateRule):
        log(f"training on the worst of {len(plan.samples)} geometries ({plan.samples.name}) of {formula}")
        if not len(store) or not (rounds.over or finished_model(folder, rounds.settings, solver.model, store) is not None):
            return solve_greedily(solver, snapshots, plan, plan.rule)
        samples = Samples(store.positions_sav, store.labels, plan.samples.name)
    samples = with_added(samples, store, rounds)
    log(f"training on {len(samples)} geometries ({samples.name}) of {formula}")
    solver.open(store, samples)
    done = len(samples) - len(store.pending)
    if done:
        log(f"{done} geometries are solved already")
    return solver.solve(store, store.pending)


def progress(solved: Outcome, store: SnapshotStore) -> dict[str, Any]:
    """Return how far solving has come, as plain data."""
    return {
        "finished": int(store.finished_s.sum()),
        "seconds_per_geometry": solved.seconds,
        "stopped": solved.stopped,
        "exit_status": exit_status(solved.stopped),
    }


def announce(solved: Outcome, store: SnapshotStore, log: Log) -> None:
    """Say how many geometries a file holds and, if solving ended early, that the same command continues."""
    done = f"{int(store.finished_s.sum())} of {len(store)} geometries are in {store.path}"
    log(done if solved.stopped is None else f"stopped ({solved.stopped}); {done}; the same command continues")


def finished_model(
    folder: Path, settings: Settings, model: KohnShamModel, store: SnapshotStore
) -> tuple[Path, ReducedModel] | None:
    """Return the model that an earlier run made of these very snapshots with this recipe, and its file.  Collective.

    That is ``model.h5``, or the draft of a run that was killed while it checked it; None if there is neither.
    """
    comm = model.grid.comm
    for path in (folder / MODEL_FILE, folder / DRAFT_FILE):
        if not on_rank_zero(comm, path.is_file):
            continue
        try:
            reduced = ReducedModel.load(path, comm, model.grid, model.signature())
        except MpiqmdError:
            continue
        if decide(comm, reduced.is_made_of(recipe(settings), store.positions_sav, store.energies_s)):
            return path, reduced
    return None


def describe_basis(basis: ReducedBasis, store: SnapshotStore) -> dict[str, Any]:
    """Return the basis as plain data.  Not collective."""
    return {
        "snapshots": basis.n_snapshots,
        "rank": basis.rank,
        "rank_sigma": basis.rank_sigma,
        "rank_sigma2": basis.rank_sigma2,
        "criterion": basis.criterion,
        "energy_fraction": basis.energy_fraction,
        "singular_values": basis.singular_values_k,
        "energies": store.energies_s,
    }


def _plot(folder: Path, basis: ReducedBasis, title: str) -> None:
    save_figure(figure_singular_values(basis.singular_values_k, basis.rank, title=title), folder / "singular_values")
