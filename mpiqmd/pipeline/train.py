"""``mpiqmd train``: choose geometries, solve them, compress the orbitals, and check the reduced model.

The offline stage in the order it happens: ``pipeline.sampling``, ``pipeline.solving``, ``compress``, and the checks of
``pipeline.validation``.  What is on disk already, geometries or the whole model, is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError, MpiqmdError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.symmetry import Mirror
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.interruption import Interruption, exit_status
from mpiqmd.pipeline.build import build_model, build_molecule, periodic_cell
from mpiqmd.pipeline.greedy import solve_greedily
from mpiqmd.pipeline.identity import recipe, snapshot_signature
from mpiqmd.pipeline.reduced import ReducedSurface, build_reduced_model
from mpiqmd.pipeline.results import RESULT_FILE, plain
from mpiqmd.pipeline.sampling import choose_geometries
from mpiqmd.pipeline.solving import Solved, TrainingSolver
from mpiqmd.pipeline.structure import Structure
from mpiqmd.pipeline.structures import write_geometries
from mpiqmd.pipeline.validation import print_errors, reproduction, summary, validate
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.compiled.compile import require_compilable
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.parts import blocks, part_path
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.verdict import verdict
from mpiqmd.sampling.plan import Plan
from mpiqmd.sampling.rules.rule import CandidateRule

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

SNAPSHOT_FILE, MODEL_FILE, SAMPLES_FILE = "snapshots.h5", "model.h5", "geometries.extxyz"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Train a reduced model, write ``model.h5``, and return what ``result.json`` holds.  Collective.

    With ``arguments.samples_only`` the geometries are chosen and written, with ``arguments.part`` a part of them is solved
    into a file of its own, and nothing more.
    """
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    molecule = molecule.with_positions(whole(molecule.positions_av, periodic_cell(settings)))
    model = build_model(settings, comm, molecule)
    if settings.rom.online == "compiled":
        require_compilable(model)
    interruption = Interruption(walltime=arguments.walltime, started=arguments.started)
    solver = TrainingSolver(settings, model, log, arguments.groups, interruption)
    plan = choose_geometries(solver, molecule, folder, may_compute=arguments.part is None)
    if arguments.samples_only:
        return write_samples(settings, folder, plan, comm, log)
    if arguments.part is not None:
        return solve_part(arguments, plan, solver)
    return train(folder, plan, solver)


def write_samples(settings: Settings, folder: Path, plan: Plan, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Write the geometries for the eye and for other programs, and return the result.  Collective."""
    samples, path = plan.samples, folder / SAMPLES_FILE
    structure = Structure.of_input(settings, plan.reference)
    on_rank_zero(comm, write_geometries, path, structure, samples.positions_sav)
    log.afterwards(f"{len(samples)} geometries ({samples.name}) written to {path}")
    return {"samples": len(samples), "positions": samples.positions_sav, "labels": samples.labels}


def solve_part(arguments: argparse.Namespace, plan: Plan, solver: TrainingSolver) -> dict[str, Any]:
    """Solve one part of the geometries into a snapshot file of its own and return that part's result.  Collective.

    Raises ConfigError for sampling that chooses one geometry after the other.
    """
    (part, parts), log, samples = arguments.part, solver.log, plan.samples
    if isinstance(plan.rule, CandidateRule):
        raise ConfigError(
            f"--part {part}/{parts} with train.sampling = {plan.rule.name!r}: which geometry comes next depends on all before "
            "it; parts are for the other samplings. Leave --part out."
        )
    own = blocks(range(len(samples)), parts)[part - 1]
    if not own:
        log(f"part {part} of {parts}: nothing to do, there are {len(samples)} geometries")
        return {"part": [part, parts], "geometries": [], "result_file": part_path(Path(RESULT_FILE), f"part-{part}").name}
    name = f"{own[0]:04d}-{own[-1]:04d}"
    log(f"part {part} of {parts}: geometries {own[0] + 1} to {own[-1] + 1} of {len(samples)} ({samples.name})")
    signature, comm = snapshot_signature(solver.settings, solver.model), solver.model.grid.comm
    whole = SnapshotStore(arguments.folder / SNAPSHOT_FILE, signature, comm)
    store = SnapshotStore(part_path(whole.path, name), signature, comm)
    solver.open(store, samples.chosen(own))
    solved = solver.solve(store, [index for index in store.pending if not whole.has(store.positions_sav[index])])
    _announce(solved, store, log.afterwards)
    return _progress(solved, store) | {
        "part": [part, parts],
        "geometries": own,
        "energies": store.energies_s,
        "result_file": part_path(Path(RESULT_FILE), name).name,
    }


def train(folder: Path, plan: Plan, solver: TrainingSolver) -> dict[str, Any]:
    """Solve what is missing, compress, compile and check; return what ``result.json`` holds.  Collective."""
    settings, model, log = solver.settings, solver.model, solver.log
    store = SnapshotStore(folder / SNAPSHOT_FILE, snapshot_signature(settings, model), model.grid.comm)
    log(model.describe())
    solved = solve_geometries(folder, plan, solver, store)
    if solved.stopped is not None:
        _announce(solved, store, log.afterwards)
        return _progress(solved, store)
    reduced = finished_model(folder / MODEL_FILE, settings, model, store)
    if reduced is None:
        basis = compress(settings, model, store, plan.mirrors, log)
        reduced = build_reduced_model(settings, model, plan.frame, plan.reference, basis, store, plan.mirrors, log)
        reduced = replace(reduced, notes={**reduced.notes, "recipe": recipe(settings)})
        reduced.save(folder / MODEL_FILE)
    else:
        log(f"{MODEL_FILE} is made already, with {reduced.rank} modes")
    surface = ReducedSurface(settings, model, reduced, log)
    unseen_sav = plan.unseen(settings.train.validation, settings.train.seed)
    errors = {
        "reproduction": reproduction(surface, store, plan.frame),
        "validation": validate(settings, model, surface, unseen_sav, plan.frame, log),
    }
    keep_errors(folder / MODEL_FILE, reduced, summary(errors), settings)
    title = f"{model.molecule.formula}, {settings.xc.functional}"
    on_rank_zero(model.grid.comm, _plot, folder, reduced.basis, title)
    print_errors(errors, log.afterwards)
    log.afterwards(f"model written to {folder / MODEL_FILE}")
    judgement = verdict(summary(errors), settings.rom.error_tolerance, settings.rom.online)
    assert judgement is not None, "the errors are those of this very command"
    log.afterwards(judgement["words"])
    found = {"seconds_per_geometry": solved.seconds, "verdict": judgement, "warnings": list(solver.watch.said.values())}
    return describe_basis(reduced.basis, store) | found | errors


def keep_errors(path: Path, reduced: ReducedModel, errors: dict[str, Any], settings: Settings) -> None:
    """Write errors and their verdict into the model file, unless it has those of as many unseen geometries.  Collective."""
    rom = settings.rom
    kept: Any = reduced.notes.get("errors", {})
    if verdict(kept, rom.error_tolerance, rom.online) is None or _unseen(kept) < _unseen(errors):
        kept = errors
    judgement = verdict(kept, rom.error_tolerance, rom.online)
    notes = {**reduced.notes, "errors": kept, "verdict": plain(judgement)}
    if notes != reduced.notes:
        replace(reduced, notes=notes).save(path)


def _unseen(errors: Mapping[str, Any]) -> int:
    return int(errors["validation"].get("count", 0))


def solve_geometries(folder: Path, plan: Plan, solver: TrainingSolver, store: SnapshotStore) -> Solved:
    """Solve the plan's geometries that the store does not have.  Collective."""
    settings, log, formula = solver.settings, solver.log, plan.reference.formula
    if isinstance(plan.rule, CandidateRule):
        log(f"training on the worst of {len(plan.samples)} geometries ({plan.samples.name}) of {formula}")
        if len(store) and finished_model(folder / MODEL_FILE, settings, solver.model, store) is not None:
            return Solved(None)
        return solve_greedily(solver, store, plan, plan.rule)
    log(f"training on {len(plan.samples)} geometries ({plan.samples.name}) of {formula}")
    solver.open(store, plan.samples)
    done = len(plan.samples) - len(store.pending)
    if done:
        log(f"{done} geometries are solved already")
    return solver.solve(store, store.pending)


def _progress(solved: Solved, store: SnapshotStore) -> dict[str, Any]:
    """Return how far solving has come, as plain data."""
    return {
        "finished": int(store.finished_s.sum()),
        "seconds_per_geometry": solved.seconds,
        "stopped": solved.stopped,
        "exit_status": exit_status(solved.stopped),
    }


def _announce(solved: Solved, store: SnapshotStore, log: Log) -> None:
    """Say how many geometries a file holds and, if solving ended early, that the same command continues."""
    done = f"{int(store.finished_s.sum())} of {len(store)} geometries are in {store.path}"
    log(done if solved.stopped is None else f"stopped ({solved.stopped}); {done}; the same command continues")


def finished_model(path: Path, settings: Settings, model: KohnShamModel, store: SnapshotStore) -> ReducedModel | None:
    """Return the model an earlier run made of these very snapshots with this recipe, or None.  Collective."""
    comm = model.grid.comm
    if not on_rank_zero(comm, path.is_file):
        return None
    try:
        reduced = ReducedModel.load(path, comm, model.grid, model.signature())
    except MpiqmdError:
        return None
    same = reduced.notes.get("recipe") == plain(recipe(settings))
    same = same and np.array_equal(reduced.training_positions_sav, store.positions_sav)
    same = same and np.array_equal(reduced.training_energies_s, store.energies_s)
    return reduced if decide(comm, same) else None


def compress(settings: Settings, model: KohnShamModel, store: SnapshotStore, mirrors: list[Mirror], log: Log) -> ReducedBasis:
    """Return the reduced basis of the stored snapshots.  Collective."""
    rom = settings.rom
    snapshots = store.read_all(model.grid)
    signs = [tuple(mirror_signs) for mirror_signs, _ in mirrors]
    basis = build_basis(snapshots, rom.energy_fraction, rom.criterion, rom.rank, signs)
    capped = rom.rank is None and rom.online == "compiled" and basis.rank > rom.max_rank
    if capped:
        basis = basis.truncated(rom.max_rank)
    log(
        f"{describe_snapshots(basis)}: {basis.rank} of {len(basis.singular_values_k)} independent modes kept"
        f"{' (rom.max_rank)' if capped else ''}; rom.energy_fraction = {rom.energy_fraction} asks for {basis.rank_sigma} by "
        f"sigma, {basis.rank_sigma2} by sigma2"
    )
    return basis


def describe_snapshots(basis: ReducedBasis) -> str:
    """Return how many orbitals a basis was made of, with their images under its mirrors.  Not collective."""
    images = basis.n_snapshots * (1 + len(basis.mirrors_gv))
    return f"{basis.n_snapshots} orbitals" + (f" ({images} with their mirror images)" if len(basis.mirrors_gv) else "")


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
