"""``mpiqmd frequencies``: harmonic vibrations from central differences of the forces, on either surface."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.exchange.mode_files import ANIMATION_FILE, MOLDEN_FILE, write_modes
from mpiqmd.findings import Finding, closing
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.vibrations import Vibrations, vibrations
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.surface import build_calculation
from mpiqmd.statics.derivatives import LARGE_FORCE, differentiate, require_relaxed, warn_of_force
from mpiqmd.statics.interruptible import InterruptibleSurface
from mpiqmd.statics.journaled import JournaledSurface
from mpiqmd.statics.thermochemistry import thermochemistry, thermochemistry_lines
from mpiqmd.units import (
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_INVERSE_CM,
    HARTREE_IN_KJ_PER_MOL,
)

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

JOURNAL_FILE = "frequencies.jsonl"


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Compute the vibrations at the input's geometry and return what ``result.json`` holds.  Collective.  Raises EndedEarly."""
    calculation, settings = build_calculation(arguments, comm, log), arguments.settings.frequencies
    molecule, step = calculation.molecule, settings.displacement
    log(f"vibrations of {molecule.formula} on the {calculation.solver} surface, displacements of {step:g} bohr")
    log(calculation.model.describe())
    interruption = Interruption()
    interruptible = InterruptibleSurface(calculation.surface, interruption, comm)
    journaled = JournaledSurface(interruptible, arguments.folder / JOURNAL_FILE, calculation.identity, comm)
    if journaled.known:
        log(f"{journaled.known} evaluations are at hand from an earlier run")
    owner = Owner(journaled)
    with interruption.listening():
        require_relaxed(owner.at(molecule.positions_av), settings.max_force, comm, log)
        derivatives = differentiate(molecule, owner, step, log)
    # in its own frame, Hi-Fi or reduced, a molecule turns freely even in a periodic cell
    turns = not calculation.grid.is_periodic or calculation.solver == "rom" or arguments.settings.scf.frame == "body"
    found = on_rank_zero(comm, vibrations, molecule, derivatives.hessian_cc, turns)
    intensities = found.infrared_intensities(derivatives.dipole_gradient_cv)
    print_table(found, intensities, derivatives.largest_force, log.afterwards)
    gas = None
    if not calculation.grid.is_periodic:
        gas = on_rank_zero(comm, thermochemistry, found, derivatives.energy, settings.temperature)
    for line in thermochemistry_lines(gas, derivatives.energy) if gas else ():
        log.afterwards(line)
    on_rank_zero(comm, write_modes, arguments.folder, found, intensities)
    viewers = f"{MOLDEN_FILE} (Molden, Jmol) and {ANIMATION_FILE} (OVITO, ASE)"
    log.afterwards(f"the modes for viewers, {viewers}, are in {arguments.folder}")
    findings = [*calculation.standing(), *on_minimum(found, derivatives.largest_force)]
    verdict = closing("harmonic frequencies and thermochemistry", findings)
    log.afterwards(verdict["words"])
    return {
        "formula": molecule.formula,
        "labels": molecule.labels,
        "solver": calculation.solver,
        "displacement": step,
        "energy": derivatives.energy,
        "positions": molecule.positions_av,
        "masses": molecule.masses_a,
        "largest_force": derivatives.largest_force,
        "frequencies": HARTREE_IN_INVERSE_CM * found.frequencies_k,
        "n_imaginary": found.n_imaginary,
        "zero_point_energy": found.zero_point_energy,
        "reduced_masses": found.reduced_masses_k,
        "thermochemistry": gas,
        "intensities": intensities,
        "modes": found.displacements_kav,
        "hessian": derivatives.hessian_cc,
        "hessian_asymmetry": derivatives.asymmetry,
        "verdict": verdict,
    }


def on_minimum(found: Vibrations, force: float) -> list[Finding]:
    """Return whether vibrations, with the largest force (Ha/bohr) where they were taken, are those of a minimum.

    Not collective.
    """
    imaginary = f"{found.n_imaginary} imaginary modes" if found.n_imaginary else "no imaginary mode"
    relaxed = "the geometry is relaxed" if force <= LARGE_FORCE else f"there is a force of {force:.1e} Ha/bohr"
    return [Finding(not found.n_imaginary, imaginary), Finding(force <= LARGE_FORCE, relaxed)]


def print_table(found: Vibrations, intensities: np.ndarray | None, largest_force: float, log: Log) -> None:
    """Print the modes, and warnings where they do not describe a minimum.  Not collective."""
    if not len(found.frequencies_k):
        log("an atom has no vibrations")
        return
    log("  mode  wave number" + ("" if intensities is None else "  intensity") + "  reduced mass  moves most")
    log("               1/cm" + ("" if intensities is None else "     km/mol") + "            Da")
    for k, frequency in enumerate(HARTREE_IN_INVERSE_CM * found.frequencies_k):
        written = f"{abs(frequency):11.2f}" + ("i" if frequency < 0 else " ")
        mass = found.reduced_masses_k[k] / DALTON_IN_ELECTRON_MASS
        intensity = "" if intensities is None else f" {intensities[k]:10.3f}"
        log(f"  {k + 1:4d} {written}{intensity} {mass:13.4f}  {found.strongest_atoms(k)}")
    zero_point = found.zero_point_energy
    log(f"zero-point energy {zero_point:.6f} Ha, {zero_point * HARTREE_IN_KJ_PER_MOL:.2f} kJ/mol")
    if found.n_imaginary:
        log(f"warning: {found.n_imaginary} imaginary mode(s): the geometry is not a minimum; displace it along them and relax")
    warn_of_force(largest_force, log)
