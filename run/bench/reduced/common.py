"""The model, its surfaces and the random geometries that the parts share.  Serial: one core is what is measured."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from mpiqmd.config import load_input
from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_model, build_molecule, build_online_stage, build_solver
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.rom.learned.body_solver import OutsideTablesError, learned_surface
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.offline import compress, make_reduced_model, projections
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.plan import symmetric_shape
from mpiqmd.sampling.rules.rule import Body
from mpiqmd.units import KELVIN_IN_HARTREE

COMM = MPI.COMM_SELF


class Exact(NamedTuple):
    """Free energy (Ha) and its gradient (N, 3), Ha/bohr, of the full solver; its orbitals would fill the memory."""

    free_energy: float
    gradient_av: np.ndarray


class Bench:
    """What the command line names, loaded."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        settings = load_input(arguments.input)
        self.settings = replace(settings, rom=replace(settings.rom, online="learned"))
        self.arguments, self.log = arguments, Log(COMM)
        self.molecule = build_molecule(self.settings, COMM)
        self.model = build_model(self.settings, COMM, self.molecule)
        self.reduced = ReducedModel.load(arguments.model, COMM, self.model.grid, self.model.signature())
        self.rng = np.random.default_rng(arguments.seed)

    @cached_property
    def surface(self) -> OnlineStage:
        """The grid-free surface of the model file; learned here if the model was trained for the grid."""
        if not self.reduced.arrays:
            return self.surface_of(self.reduced.rank)
        return build_online_stage(self.settings, self.model, self.reduced, silent(COMM))

    def surface_of(self, rank: int) -> OnlineStage:
        """Return a grid-free surface with this many modes, from the snapshots beside the model."""
        reference = self.molecule.with_positions(self.reduced.reference_av)
        frame = make_frame(reference, self.reduced.frame)
        body = Body(reference, frame, grid_symmetries(symmetric_shape(reference, frame), self.model.grid.sides))
        options = replace(self.settings.rom, rank=rank)
        basis = compress(self.snapshots.all(), body.symmetries, options, silent(COMM))
        orbitals_smn, store = projections(basis, self.snapshots), self.snapshots.store
        reduced = make_reduced_model(self.model, body, basis, store, orbitals_smn, options=options, log=silent(COMM))
        return build_online_stage(self.settings, self.model, reduced, silent(COMM))

    @cached_property
    def snapshots(self) -> SnapshotOrbitals:
        """All training orbitals, read once."""
        store = SnapshotStore(self.arguments.model.parent / "snapshots.h5", snapshot_signature(self.settings, self.model), COMM)
        return SnapshotOrbitals(store, self.model.grid)

    def geometries(self, count: int, stretch: float = 1.0) -> np.ndarray:
        """Return random geometries of the sampled box, its half-widths times ``stretch``."""
        box = self.reduced.box
        middle, half = 0.5 * (box.lower_k + box.upper_k), 0.5 * (box.upper_k - box.lower_k) * stretch
        points = self.rng.uniform(middle - half, middle + half, size=(count, len(middle)))
        return np.array([water_positions(*point, vertex=box.vertex) for point in points])

    def owner(self, forces: str = "gradient") -> Owner:
        """Return a fresh owner of the grid-free surface."""
        return owner_of(self.surface, forces)

    def exact(self, positions_sav: np.ndarray) -> list[Exact]:
        """Return what Hi-Fi says of geometries."""
        solver = build_solver(self.settings, self.model, energy_tolerance=1e-10)
        states = []
        for positions_av in positions_sav:
            state = solver.solve(self.model.place(positions_av))
            states.append(Exact(state.free_energy, state.gradient_av))
            self.log.progress(f"Hi-Fi {len(states)}/{len(positions_sav)}", last=len(states) == len(positions_sav))
        return states


def owner_of(stage: OnlineStage, forces: str = "gradient") -> Owner:
    """Return an owner of a reduced model's grid-free surface, without control of its errors."""
    return Owner(learned_surface(MovingFrame(stage.frame), stage.grid_free, forces))


def start_velocities(masses_a: np.ndarray, kelvin: float) -> np.ndarray:
    """Return velocities of a temperature without net momentum."""
    masses, temperature = masses_a[:, None], kelvin * KELVIN_IN_HARTREE
    velocities_av = np.random.default_rng(7).normal(size=(len(masses_a), 3)) * np.sqrt(temperature / masses)
    return velocities_av - (masses * velocities_av).sum(axis=0) / masses.sum()


def nve(
    owner: Owner,
    positions_av: np.ndarray,
    masses_a: np.ndarray,
    timestep: float,
    steps: int,
    keep_every: int = 0,
    kelvin: float = 300.0,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the total energies of an NVE trajectory (velocity Verlet), and every so many positions.

    A trajectory that leaves the tables ends there.
    """
    masses, velocities, energies, kept = masses_a[:, None], start_velocities(masses_a, kelvin), np.empty(steps), []
    positions, result = positions_av.copy(), owner.at(positions_av)
    for step in range(steps):
        velocities += 0.5 * timestep * result.forces_av / masses
        positions = positions + timestep * velocities
        try:
            result = owner.at(positions)
        except OutsideTablesError:
            return energies[:step], kept
        velocities += 0.5 * timestep * result.forces_av / masses
        energies[step] = result.energy + 0.5 * float((masses * velocities**2).sum())
        if keep_every and (step + 1) % keep_every == 0:
            kept.append(positions)
    return energies, kept
