"""The model, its surfaces and the random geometries that the parts share.  Serial: one core is what is measured."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cached_property

import numpy as np
from mpi4py import MPI

from mpiqmd.config import load_input
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.symmetry import grid_mirrors
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_model, build_molecule, build_solver
from mpiqmd.pipeline.reduced import ReducedSurface, build_reduced_model
from mpiqmd.rom.basis import build_basis
from mpiqmd.rom.compiled.body_solver import OutsideTablesError, compiled_surface
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.sampling.plan import symmetric_shape
from mpiqmd.units import KELVIN_IN_HARTREE

COMM = MPI.COMM_SELF


class Bench:
    """What the command line names, loaded."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        settings = load_input(arguments.input)
        self.settings = replace(settings, rom=replace(settings.rom, online="compiled"))
        self._snapshots: Orbitals | None = None
        self.arguments, self.log = arguments, Log(COMM)
        self.molecule = build_molecule(self.settings, COMM)
        self.model = build_model(self.settings, COMM, self.molecule)
        self.reduced = ReducedModel.load(arguments.model, COMM, self.model.grid, self.model.signature())
        self.rng = np.random.default_rng(arguments.seed)

    @cached_property
    def surface(self) -> ReducedSurface:
        """The compiled surface of the model file; compiled here if the model was trained for the grid."""
        if "compiled/linear" not in self.reduced.arrays:
            return self.surface_of(self.reduced.rank)
        return ReducedSurface(self.settings, self.model, self.reduced, silent(COMM))

    def surface_of(self, rank: int) -> ReducedSurface:
        """Return a compiled surface with this many modes, from the snapshots beside the model."""
        store = SnapshotStore(self.arguments.model.parent / "snapshots.h5", self.model.signature(), COMM)
        reference = self.molecule.with_positions(self.reduced.reference_av)
        frame = make_frame(reference, self.reduced.frame)
        mirrors = grid_mirrors(symmetric_shape(reference, frame))
        signs = [tuple(signs) for signs, _ in mirrors]
        rom = self.settings.rom
        basis = build_basis(self.snapshots(store), rom.energy_fraction, rom.criterion, rank, signs)
        parts = self.settings, self.model, frame, reference, basis, store, mirrors
        reduced = build_reduced_model(*parts, silent(COMM))
        return ReducedSurface(self.settings, self.model, reduced, silent(COMM))

    def snapshots(self, store: SnapshotStore) -> Orbitals:
        """Return all training orbitals, read once."""
        if self._snapshots is None:
            self._snapshots = store.read_all(self.model.grid)
        return self._snapshots

    def geometries(self, count: int, stretch: float = 1.0) -> np.ndarray:
        """Return random geometries of the sampled box, its half-widths times ``stretch``."""
        box = self.reduced.box
        middle, half = 0.5 * (box.lower_k + box.upper_k), 0.5 * (box.upper_k - box.lower_k) * stretch
        points = self.rng.uniform(middle - half, middle + half, size=(count, len(middle)))
        return np.array([water_positions(*point, vertex=box.vertex) for point in points])

    def compiled(self) -> Owner:
        """Return a fresh owner of the compiled surface."""
        return compiled_owner(self.surface)

    def exact(self, positions_sav: np.ndarray) -> list[GroundState]:
        """Return the Hi-Fi ground states, without their orbitals."""
        solver = build_solver(self.settings, self.model, energy_tolerance=1e-10)
        states = []
        for positions_av in positions_sav:
            state = solver.solve(self.model.place(positions_av))
            state.orbitals = state.density = None
            states.append(state)
            self.log.progress(f"Hi-Fi {len(states)}/{len(positions_sav)}", last=len(states) == len(positions_sav))
        return states


def compiled_owner(surface: ReducedSurface) -> Owner:
    """Return an owner of a reduced model's compiled surface, without control of its errors."""
    return Owner(compiled_surface(MovingFrame(surface.frame), surface.compiled_solver))


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
