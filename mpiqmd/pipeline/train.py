"""``mpiqmd train``: choose geometries, solve them, compress the orbitals, and check the reduced model.

The offline stage in the order it happens: ``pipeline.sampling``, ``pipeline.solving``, ``compress``, and the checks of
``pipeline.validation``.  What is on disk already, geometries or the whole model, is not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import MpiqmdError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.interruption import Interruption, exit_status
from mpiqmd.molecule.bent import internal_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Mirror, grid_mirrors
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.reduced import ReducedSurface, build_reduced_model
from mpiqmd.pipeline.results import RESULT_FILE, plain
from mpiqmd.pipeline.sampling import choose_samples
from mpiqmd.pipeline.solving import Solved, TrainingSolver
from mpiqmd.pipeline.validation import print_errors, reproduction, summary, validate
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.compiled.compile import require_compilable
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.parts import blocks, part_path
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

SNAPSHOT_FILE, MODEL_FILE = "snapshots.h5", "model.h5"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Train a reduced model, write ``model.h5``, and return what ``result.json`` holds.  Collective.

    With ``arguments.part`` only that part of the geometries is solved, into a file of its own.
    """
    settings = arguments.settings
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    if settings.rom.online == "compiled":
        require_compilable(model)
    frame = make_frame(molecule)
    reference = molecule.with_positions(frame.align(molecule.positions_av).body_positions_av)
    samples = choose_samples(settings, comm, reference, frame)
    interruption = Interruption(walltime=arguments.walltime, started=arguments.started)
    solver = TrainingSolver(settings, model, log, arguments.groups, interruption)
    if arguments.part is not None:
        return solve_part(arguments, samples, solver, log)
    return train(arguments, reference, frame, samples, solver, log)


def solve_part(
    arguments: argparse.Namespace, samples: Samples, solver: TrainingSolver, log: Log
) -> dict[str, Any]:
    """Solve one part of the geometries into a snapshot file of its own and return that part's result.  Collective."""
    part, parts = arguments.part
    own = blocks(range(len(samples)), parts)[part - 1]
    if not own:
        log(f"part {part} of {parts}: nothing to do, there are {len(samples)} geometries")
        return {"part": [part, parts], "geometries": [], "result_file": part_path(Path(RESULT_FILE), f"part-{part}").name}
    name = f"{own[0]:04d}-{own[-1]:04d}"
    log(f"part {part} of {parts}: geometries {own[0] + 1} to {own[-1] + 1} of {len(samples)} ({samples.name})")
    signature, comm = solver.model.signature(), solver.model.grid.comm
    whole = SnapshotStore(arguments.folder / SNAPSHOT_FILE, signature, comm)
    store = SnapshotStore(part_path(whole.path, name), signature, comm)
    solver.open(store, samples.chosen(own))
    solved = solver.solve(store, [index for index in store.pending if not whole.has(store.positions_sav[index])])
    _announce(solved, store, log)
    return {
        "part": [part, parts],
        "geometries": own,
        "finished": int(store.finished_s.sum()),
        "energies": store.energies_s,
        "seconds_per_geometry": solved.seconds,
        "stopped": solved.stopped,
        "exit_status": exit_status(solved.stopped),
        "result_file": part_path(Path(RESULT_FILE), name).name,
    }


def train(
    arguments: argparse.Namespace,
    reference: Molecule,
    frame: BodyFrame,
    samples: Samples,
    solver: TrainingSolver,
    log: Log,
) -> dict[str, Any]:
    """Solve what is missing, compress, compile and check; return what ``result.json`` holds.  Collective."""
    settings, folder, model = arguments.settings, arguments.folder, solver.model
    log(f"training on {len(samples)} geometries ({samples.name}) of {''.join(reference.symbols)}")
    log(model.grid.describe())
    store = SnapshotStore(folder / SNAPSHOT_FILE, model.signature(), model.grid.comm)
    solver.open(store, samples)
    if len(store.pending) < len(samples):
        log(f"{len(samples) - len(store.pending)} geometries are solved already")
    solved = solver.solve(store, store.pending)
    if solved.stopped is not None:
        _announce(solved, store, log)
        return {
            "finished": int(store.finished_s.sum()),
            "seconds_per_geometry": solved.seconds,
            "stopped": solved.stopped,
            "exit_status": exit_status(solved.stopped),
        }
    reduced = finished_model(folder / MODEL_FILE, settings, model, store)
    if reduced is None:
        mirrors = grid_mirrors(symmetric_shape(reference, frame)) if settings.train.symmetrize else []
        basis = compress(settings, model, store, mirrors, log)
        reduced = build_reduced_model(settings, model, frame, reference, basis, store, mirrors, log)
        reduced = replace(reduced, notes={**reduced.notes, "recipe": recipe(settings)})
        reduced.save(folder / MODEL_FILE)
    else:
        log(f"{MODEL_FILE} is made already, with {reduced.rank} modes")
    surface = ReducedSurface(settings, model, reduced, log)
    errors = {
        "reproduction": reproduction(surface, store, frame),
        "validation": validate(settings, model, surface, samples, frame, log),
    }
    if "errors" not in reduced.notes:
        replace(reduced, notes={**reduced.notes, "errors": summary(errors)}).save(folder / MODEL_FILE)
    on_rank_zero(model.grid.comm, _plot, folder, reduced.basis)
    print_errors(errors, log)
    log(f"model written to {folder / MODEL_FILE}")
    return describe_basis(reduced.basis, store) | {"seconds_per_geometry": solved.seconds} | errors


def _announce(solved: Solved, store: SnapshotStore, log: Log) -> None:
    """Say how many geometries a file holds and, if solving ended early, that the same command continues."""
    done = f"{int(store.finished_s.sum())} of {len(store)} geometries are in {store.path}"
    log(done if solved.stopped is None else f"stopped ({solved.stopped}); {done}; the same command continues")


def recipe(settings: Settings) -> dict[str, Any]:
    """Return the part of the input, besides the physics, on which a model depends, as plain data.  Not collective."""
    sections = settings.as_dict()
    train = {name: value for name, value in sections["train"].items() if name not in ("validation", "seed")}
    return {"train": train} | {name: sections["rom"][name] for name in ("energy_fraction", "criterion", "rank", "online")}


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


def compress(
    settings: Settings, model: KohnShamModel, store: SnapshotStore, mirrors: list[Mirror], log: Log
) -> ReducedBasis:
    """Return the reduced basis of the stored snapshots.  Collective."""
    rom = settings.rom
    snapshots = store.read_all(model.grid)
    signs = [tuple(mirror_signs) for mirror_signs, _ in mirrors]
    basis = build_basis(snapshots, rom.energy_fraction, rom.criterion, rom.rank, signs)
    log(
        f"{len(snapshots)} snapshots, {basis.rank} modes kept; fraction {rom.energy_fraction} asks for "
        f"{basis.rank_sigma} by sigma, {basis.rank_sigma2} by sigma2"
    )
    return basis


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


def symmetric_shape(reference: Molecule, frame: BodyFrame) -> Molecule:
    """Return the reference, with equal bonds where it is bent XY2: the shape whose mirrors close the snapshots."""
    if not isinstance(frame, BisectorFrame):
        return reference
    first, second, angle = internal_coordinates(reference.positions_av, frame.vertex)
    mean = 0.5 * (first + second)
    return reference.with_positions(water_positions(mean, mean, angle, frame.vertex))


def _plot(folder: Path, basis: ReducedBasis) -> None:
    save_figure(figure_singular_values(basis.singular_values_k, basis.rank), folder / "singular_values")
