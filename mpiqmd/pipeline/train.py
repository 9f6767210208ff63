"""``mpiqmd train``: choose geometries, solve them, compress the orbitals, and check the reduced model.

The offline stage in the order it happens: ``choose_samples``, ``solve_samples``, ``compress``, and the checks of
``pipeline.validation``.  What is on disk already, geometries or the whole model, is not made again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError, MpiqmdError
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.bent import internal_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Mirror, grid_mirrors
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.pipeline.build import build_model, build_molecule, build_solver, same_molecule
from mpiqmd.pipeline.reduced import ReducedSurface, build_reduced_model
from mpiqmd.pipeline.results import plain
from mpiqmd.pipeline.structures import read_structures
from mpiqmd.pipeline.validation import print_errors, reproduction, summary, validate
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.compiled.compile import require_compilable
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.lattice import water_lattice
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

MODEL_FILE = "model.h5"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Train a reduced model, write ``model.h5``, and return what ``result.json`` holds.  Collective."""
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    if settings.rom.online == "compiled":
        require_compilable(model)
    frame = make_frame(molecule)
    reference = molecule.with_positions(frame.align(molecule.positions_av).body_positions_av)
    samples = choose_samples(settings, comm, reference, frame)
    log(f"training on {len(samples)} geometries ({samples.name}) of {''.join(molecule.symbols)}")
    log(model.describe())
    store = SnapshotStore(folder / "snapshots.h5", model.signature(), comm)
    seconds = solve_samples(settings, model, samples, store, log)
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
    on_rank_zero(comm, _plot, folder, reduced.basis)
    print_errors(errors, log)
    log(f"model written to {folder / MODEL_FILE}")
    return describe_basis(reduced.basis, store) | {"seconds_per_geometry": seconds} | errors


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


def choose_samples(settings: Settings, comm: MPI.Comm, reference: Molecule, frame: BodyFrame) -> Samples:
    """Return the training geometries in the body frame.  Collective.  Raises ConfigError where sampling does not fit."""
    train = settings.train
    if train.sampling == "structures":
        symbols, positions_sav = on_rank_zero(comm, read_structures, train.structures)
        same_molecule(symbols, reference, train.structures)
        body_sav = np.array([frame.align(positions_av).body_positions_av for positions_av in positions_sav])
        return Samples(body_sav, name="structures")
    vertex = require_bent(frame, reference)
    inner = water_lattice(train.bond_length, train.bond_scales, train.angle, train.angle_offsets, vertex)
    if not (train.outer_bond_scales and train.outer_angle_offsets):
        return inner
    outer = water_lattice(train.bond_length, train.outer_bond_scales, train.angle, train.outer_angle_offsets, vertex)
    return inner.joined(outer, "nested lattice")


def require_bent(frame: BodyFrame, molecule: Molecule) -> int:
    """Return the central atom of a bent XY2 molecule.  Raises ConfigError for any other.  Not collective."""
    if not isinstance(frame, BisectorFrame):
        raise ConfigError(
            f"train.sampling = 'lattice' with {'-'.join(molecule.symbols)}: the lattice of bond lengths and angles is for "
            "bent XY2 molecules such as water. Use train.sampling = 'structures' with a file of geometries."
        )
    return frame.vertex


def solve_samples(
    settings: Settings, model: KohnShamModel, samples: Samples, store: SnapshotStore, log: Log
) -> float | None:
    """Solve the geometries that are not in the store yet; return the mean seconds of those solved now.  Collective."""
    solver = build_solver(settings, model, energy_tolerance=settings.train.energy_tolerance)
    n_orbitals = model.n_occupied + settings.scf.empty_orbitals
    store.prepare(model.grid, samples.positions_sav, samples.labels, n_orbitals)
    if len(store.pending) < len(samples):
        log(f"{len(samples) - len(store.pending)} geometries are solved already")
    pending, started = store.pending, time.perf_counter()
    for count, index in enumerate(pending, start=1):
        state: GroundState = solver.solve(model.place(samples.positions_sav[index]))
        store.add(index, state.orbitals, state.free_energy, state.forces_av, state.eigenvalues_n)
        each = (time.perf_counter() - started) / count
        log.progress(
            f"  geometry {index + 1}/{len(samples)}: {state.free_energy:.8f} Ha, {state.iterations} iterations, "
            f"{each:.2f} s each, {each * (len(pending) - count):.0f} s left",
            last=count == len(pending),
        )
    return (time.perf_counter() - started) / len(pending) if pending else None


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
