"""``mpiqmd relax``: the nearest minimum of the energy, by ASE's optimisers on either surface.

Rank 0 alone runs the optimiser: it is given the forces at the current geometry and asked for the next one, which is
broadcast.  The surface is evaluated outside of it, by all ranks.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.internal import InternalCoordinate, internal_coordinates
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.recorded import RecordedSurface
from mpiqmd.pipeline.structure import Structure
from mpiqmd.pipeline.structures import write_structures
from mpiqmd.pipeline.surface import build_calculation
from mpiqmd.pipeline.watched import WatchedSurface
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.config.settings import Relaxation
    from mpiqmd.parallel.log import Log

RECORD_FILE, RELAXED_FILE, STEPS_FILE = "relax.jsonl", "relaxed.xyz", "relax.extxyz"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Relax the molecule of the input and return what ``result.json`` holds.  Collective.

    Raises ConvergenceError, after the steps made have been written, if ``relax.max_steps`` were not enough, and EndedEarly.
    """
    settings, folder = arguments.settings.relax, arguments.folder
    calculation = build_calculation(arguments, comm, log)
    molecule = calculation.molecule
    log(f"relaxation of {molecule.formula} on the {calculation.solver} surface, {settings.optimiser}")
    log(calculation.model.describe())
    interruption = Interruption()
    watched = WatchedSurface(calculation.surface, interruption, comm)
    recorded = RecordedSurface(watched, folder / RECORD_FILE, calculation.identity, comm)
    if recorded.known:
        log(f"{recorded.known} evaluations are at hand from an earlier run")
    with interruption.listening():
        path = relax(molecule, Owner(recorded), settings, comm, log)
    steps = [path.positions_sav, path.energies_s, path.forces_sav]
    structure = Structure.of_input(arguments.settings, molecule)
    on_rank_zero(comm, write_structures, folder / STEPS_FILE, structure, *steps)
    if not path.converged:
        raise ConvergenceError(
            f"the geometry is not relaxed: the largest force is {path.largest_force:.2e} Ha/bohr after {settings.max_steps} "
            f"steps, relax.force_tolerance = {settings.force_tolerance:.2e}. Raise relax.max_steps and run the same "
            f"command again, it continues; or look at {folder / STEPS_FILE}."
        )
    on_rank_zero(comm, write_structures, folder / RELAXED_FILE, structure, *(values[-1:] for values in steps))
    internal = both_ends(molecule, path, calculation.grid.periodic_cell_v)
    print_summary(path, internal, log.afterwards)
    log.afterwards(f"{RELAXED_FILE} and {STEPS_FILE} are in {folder}")
    return {
        "solver": calculation.solver,
        "optimiser": settings.optimiser,
        "converged": True,
        "steps": len(path.energies_s) - 1,
        "energy": path.energies_s[-1],
        "energies": path.energies_s,
        "largest_force": path.largest_force,
        "positions": path.positions_sav[-1],
        "forces": path.forces_sav[-1],
        "formula": molecule.formula,
        "labels": molecule.labels,
        "internal": {coordinate.key: coordinate.values_t[1] for coordinate in internal},
        "internal_before": {coordinate.key: coordinate.values_t[0] for coordinate in internal},
    }


@dataclass(frozen=True)
class RelaxationPath:
    """The geometries visited, with energies (Ha) and forces (Ha/bohr); the last is the relaxed one if ``converged``."""

    positions_sav: np.ndarray
    energies_s: np.ndarray
    forces_sav: np.ndarray
    converged: bool

    @property
    def largest_force(self) -> float:
        """Norm of the largest force on an atom at the last geometry, Ha/bohr."""
        return float(np.linalg.norm(self.forces_sav[-1], axis=1).max())


def relax(molecule: Molecule, owner: Owner, settings: Relaxation, comm: MPI.Comm, log: Log) -> RelaxationPath:
    """Return the way from the molecule's positions down the surface.  Collective."""
    optimiser = Optimiser(molecule, settings.optimiser)
    positions_av, visited, converged = molecule.positions_av, [], False
    for step in range(settings.max_steps + 1):
        evaluation = owner.at(positions_av)
        visited.append((positions_av, evaluation))
        largest = float(np.linalg.norm(evaluation.forces_av, axis=1).max())
        converged = decide(comm, largest < settings.force_tolerance)
        ends = converged or step == settings.max_steps
        log.progress(f"  step {step:3d}: {evaluation.energy:.8f} Ha, largest force {largest:.2e} Ha/bohr", last=ends)
        if ends:
            break
        positions_av = on_rank_zero(comm, optimiser.next, evaluation)
    return RelaxationPath(
        np.array([positions_av for positions_av, _ in visited]),
        np.array([evaluation.energy for _, evaluation in visited]),
        np.array([evaluation.forces_av for _, evaluation in visited]),
        converged,
    )


class Optimiser:
    """One of ASE's optimisers, driven from outside: forces in, next geometry out.  Rank 0 alone uses it."""

    def __init__(self, molecule: Molecule, name: str) -> None:
        self.molecule, self.name = molecule, name
        self._ase: Any = None

    def next(self, evaluation: Evaluation) -> np.ndarray:
        """Return the next positions (N, 3), bohr, given energy and forces at those returned before.  Not collective."""
        from ase.calculators.singlepoint import SinglePointCalculator

        if self._ase is None:
            self._ase = self._make()
        atoms = self._ase.atoms
        forces = evaluation.forces_av * (HARTREE_IN_EV / BOHR_IN_ANGSTROM)
        atoms.calc = SinglePointCalculator(atoms, energy=evaluation.energy * HARTREE_IN_EV, forces=forces)
        self._ase.step()
        return atoms.get_positions() / BOHR_IN_ANGSTROM

    def _make(self) -> Any:
        from ase import Atoms
        from ase.optimize import BFGS, FIRE

        atoms = Atoms(self.molecule.symbols, positions=self.molecule.positions_av * BOHR_IN_ANGSTROM)
        return {"bfgs": BFGS, "fire": FIRE}[self.name](atoms, logfile=None)


def both_ends(molecule: Molecule, path: RelaxationPath, edges_v: np.ndarray | None) -> list[InternalCoordinate]:
    """Return the internal coordinates of the relaxed molecule, each with its first and last value.  Not collective.

    ``edges_v`` are those of a periodic cell (bohr), None without one.
    """
    ends_sav = path.positions_sav[[0, -1]]
    return internal_coordinates(molecule.symbols, ends_sav, edges_v, reference_av=ends_sav[1])


def print_summary(path: RelaxationPath, internal: list[InternalCoordinate], log: Log) -> None:
    """Print the energy gained and the internal coordinates before and after.  Not collective."""
    log(f"relaxed in {len(path.energies_s) - 1} steps by {path.energies_s[0] - path.energies_s[-1]:.6f} Ha")
    log(f"energy {path.energies_s[-1]:.8f} Ha, largest force {path.largest_force:.2e} Ha/bohr")
    if not internal:
        return
    width = max(len(coordinate.label) for coordinate in internal)
    log(f"  {'':{width}s} {'before':>10s} {'after':>10s}")
    for coordinate in internal:
        before, after = coordinate.values_t
        if coordinate.kind == "bond":
            in_angstrom = f"bohr      {before * BOHR_IN_ANGSTROM:9.5f} {after * BOHR_IN_ANGSTROM:9.5f} angstrom"
            log(f"  {coordinate.label:{width}s} {before:10.5f} {after:10.5f} {in_angstrom}")
        else:
            log(f"  {coordinate.label:{width}s} {before:10.3f} {after:10.3f} degrees")
