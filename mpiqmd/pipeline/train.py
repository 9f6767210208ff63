"""``mpiqmd train``: choose geometries, solve them, compress the orbitals, and check the reduced model.

The offline stage in the order it happens: ``choose_samples``, ``solve_samples``, ``compress``, ``validate``.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.bent import internal_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Mirror, grid_mirrors
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_model, build_molecule, build_solver, same_molecule
from mpiqmd.pipeline.reduced import ReducedSurface, build_reduced_model
from mpiqmd.pipeline.structures import read_structures
from mpiqmd.plots.singular_values import figure_singular_values
from mpiqmd.plots.style import save_figure
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.box import random_in_box
from mpiqmd.sampling.lattice import bent_samples, water_lattice
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Train a reduced model, write ``model.h5``, and return what ``result.json`` holds.  Collective."""
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    frame = make_frame(molecule)
    reference = molecule.with_positions(frame.align(molecule.positions_av).body_positions_av)
    samples = choose_samples(settings, comm, reference, frame)
    log(f"training on {len(samples)} geometries ({samples.name}) of {''.join(molecule.symbols)}")
    log(model.grid.describe())
    store = SnapshotStore(folder / "snapshots.h5", model.signature(), comm)
    seconds = solve_samples(settings, model, samples, store, log)
    mirrors = grid_mirrors(_symmetric_shape(reference, frame)) if settings.train.symmetrize else []
    basis = compress(settings, model, store, mirrors, log)
    reduced = build_reduced_model(settings, model, frame, reference, basis, store, mirrors, log)
    reduced.save(folder / "model.h5")
    result = describe_basis(basis, store) | {"seconds_per_geometry": seconds}
    surface = ReducedSurface(settings, model, reduced, log)
    result["reproduction"] = _reproduction(surface, store)
    result["validation"] = validate(settings, model, surface, samples, frame, log)
    on_rank_zero(comm, _plot, folder, basis)
    log(f"model written to {folder / 'model.h5'}")
    return result


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


def solve_samples(settings: Settings, model: KohnShamModel, samples: Samples, store: SnapshotStore, log: Log) -> float:
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
            f"geometry {index + 1}/{len(samples)}: {state.free_energy:.8f} Ha, {state.iterations} iterations, "
            f"{each:.2f} s each, {each * (len(pending) - count):.0f} s left",
            last=count == len(pending),
        )
    return (time.perf_counter() - started) / max(len(pending), 1)


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


def _symmetric_shape(reference: Molecule, frame: BodyFrame) -> Molecule:
    """Return the reference, with equal bonds where it is bent XY2: the shape whose mirrors close the snapshots."""
    if not isinstance(frame, BisectorFrame):
        return reference
    first, second, angle = internal_coordinates(reference.positions_av, frame.vertex)
    mean = 0.5 * (first + second)
    return reference.with_positions(water_positions(mean, mean, angle, frame.vertex))


def _reproduction(surface: ReducedSurface, store: SnapshotStore) -> dict[str, float]:
    """Return the largest errors on the training geometries themselves.  Collective."""
    energies, forces = [], []
    for positions_av, energy, forces_av in zip(store.positions_sav, store.energies_s, store.forces_sav, strict=True):
        state = surface.ground_state(positions_av)
        energies.append(state.free_energy - energy)
        forces.append(float(np.abs(state.forces_av - forces_av).max()))
    return {"energy": float(np.max(np.abs(energies))), "lowest": float(np.min(energies)), "force": max(forces)}


def validate(
    settings: Settings, model: KohnShamModel, surface: ReducedSurface, samples: Samples, frame: BodyFrame, log: Log
) -> dict[str, Any]:
    """Compare with Hi-Fi on random unseen geometries inside the sampled box.  Collective."""
    unseen = unseen_geometries(settings, samples, frame)
    solver = build_solver(settings, model, energy_tolerance=settings.train.energy_tolerance)
    rows = []
    for positions_av in unseen:
        exact = solver.solve(model.place(positions_av))
        reduced = surface.ground_state(positions_av)
        rows.append(
            {
                "positions": positions_av,
                "energy": exact.free_energy,
                "energy_error": reduced.free_energy - exact.free_energy,
                "force_error": internal_force_error(frame, positions_av, reduced, exact),
                "component_error": float(np.abs(reduced.forces_av - exact.forces_av).max()),
                "error_estimate": surface.error_estimate(positions_av, reduced),
            }
        )
        log.progress(
            f"unseen geometry {len(rows)}/{len(unseen)}: energy error {rows[-1]['energy_error']:.1e} Ha, "
            f"force error {rows[-1]['force_error']:.1e} Ha/bohr"
        )
    return {"geometries": rows, "energy": _largest(rows, "energy_error"), "force": _largest(rows, "force_error")}


def _largest(rows: list[dict[str, Any]], name: str) -> float | None:
    return max((abs(row[name]) for row in rows), default=None)


def unseen_geometries(settings: Settings, samples: Samples, frame: BodyFrame) -> np.ndarray:
    """Return random geometries inside the box of the training labels (bent molecules) or between samples.

    Not collective.
    """
    rng = np.random.default_rng(settings.train.seed)
    count = settings.train.validation
    if isinstance(frame, BisectorFrame) and samples.labels[0]:
        points = np.array([[label["L1"], label["L2"], label["theta"]] for label in samples.labels])
        longest = points[:, :2].max()
        lower = [points[:, :2].min(), points[:, :2].min(), points[:, 2].min()]
        upper = [longest, longest, points[:, 2].max()]
        return bent_samples(random_in_box(count, rng, lower, upper), "unseen", frame.vertex).positions_sav
    weights_ns = rng.dirichlet(np.ones(len(samples)), size=count)
    mixed = np.tensordot(weights_ns, samples.positions_sav, axes=1)
    return np.array([frame.align(positions_av).body_positions_av for positions_av in mixed])


def internal_force_error(frame: BodyFrame, positions_av: np.ndarray, one: GroundState, two: GroundState) -> float:
    """Return the largest difference of the gradients along the internal coordinates, Ha/bohr (or per radian).

    The exact gradient through the body frame of both energies is compared: for a bent molecule along L1, L2 and theta,
    otherwise per component of the rigid-motion-free forces.  Not collective.
    """
    alignment = frame.align(positions_av)
    difference = alignment.gradient_forces(one.gradient_av) - alignment.gradient_forces(two.gradient_av)
    if not isinstance(frame, BisectorFrame):
        return float(np.abs(difference).max())
    point, errors, step = np.array(internal_coordinates(positions_av, frame.vertex)), [], 1e-5
    for k in range(3):
        shift = np.eye(3)[k] * step
        tangent = (water_positions(*(point + shift), frame.vertex) - water_positions(*(point - shift), frame.vertex)) / (
            2.0 * step
        )
        errors.append(abs(float(np.sum(difference * tangent))))
    return max(errors)


def _plot(folder, basis: ReducedBasis) -> None:
    save_figure(figure_singular_values(basis.singular_values_k, basis.rank), folder / "singular_values")
