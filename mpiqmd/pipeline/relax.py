"""``mpiqmd relax``: the nearest minimum of the energy on either surface."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mpiqmd.exchange.structure_files import write_structures
from mpiqmd.findings import Finding, closing
from mpiqmd.molecule.internal import InternalCoordinate
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.build import structure_of
from mpiqmd.pipeline.surface import build_calculation
from mpiqmd.statics.interruptible import InterruptibleSurface
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.statics.relaxation import RelaxationPath, both_ends, relax
from mpiqmd.units import BOHR_IN_ANGSTROM

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

JOURNAL_FILE, RELAXED_FILE, STEPS_FILE = "relax.jsonl", "relaxed.xyz", "relax.extxyz"


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
    interruptible = InterruptibleSurface(calculation.surface, interruption, comm)
    journaled = JournaledSurface(interruptible, folder / JOURNAL_FILE, calculation.identity, comm)
    if journaled.known:
        log(f"{journaled.known} evaluations are at hand from an earlier run")
    with interruption.listening():
        path = relax(molecule, Owner(journaled), settings, comm, log)
    steps = [path.positions_sav, path.energies_s, path.forces_sav]
    structure = structure_of(arguments.settings, molecule)
    on_rank_zero(comm, write_structures, folder / STEPS_FILE, structure, *steps)
    path.require_converged(settings, f"look at {folder / STEPS_FILE}")
    on_rank_zero(comm, write_structures, folder / RELAXED_FILE, structure, *(values[-1:] for values in steps))
    internal = both_ends(molecule, path, calculation.grid.periodic_cell_v)
    print_summary(path, internal, log.afterwards)
    log.afterwards(f"{RELAXED_FILE} and {STEPS_FILE} are in {folder}")
    within = f"forces are within relax.force_tolerance = {settings.force_tolerance:.1e} Ha/bohr"
    verdict = closing("vibrations and as the start of a training", [*calculation.standing(), Finding(True, within)])
    log.afterwards(verdict["words"])
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
        "verdict": verdict,
    }


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
