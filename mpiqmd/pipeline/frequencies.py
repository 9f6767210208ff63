"""``mpiqmd frequencies``: harmonic vibrations from central differences of the forces, on either surface.

K_ij = -(F_j(+d e_i) - F_j(-d e_i)) / 2d,     made symmetric; the dipole moment is differenced in the same way
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation, largest_force
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.molecule.vibrations import Vibrations, vibrations
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.pipeline.mode_files import ANIMATION_FILE, MOLDEN_FILE, strongest_atoms, write_modes
from mpiqmd.pipeline.recorded import RecordedSurface
from mpiqmd.pipeline.surface import build_calculation
from mpiqmd.pipeline.thermochemistry import thermochemistry, thermochemistry_lines
from mpiqmd.pipeline.watched import WatchedSurface
from mpiqmd.units import (
    DALTON_IN_ELECTRON_MASS,
    HARTREE_IN_INVERSE_CM,
    HARTREE_IN_KJ_PER_MOL,
    INFRARED_INTENSITY_IN_KM_PER_MOL,
)

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

RECORD_FILE = "frequencies.jsonl"
LARGE_FORCE = 1e-3
"""Force on an atom (Ha/bohr) beyond which the geometry is not a stationary point."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Compute the vibrations at the input's geometry and return what ``result.json`` holds.  Collective.  Raises EndedEarly."""
    calculation, settings = build_calculation(arguments, comm, log), arguments.settings.frequencies
    molecule, step = calculation.molecule, settings.displacement
    log(f"vibrations of {molecule.formula} on the {calculation.solver} surface, displacements of {step:g} bohr")
    log(calculation.model.describe())
    interruption = Interruption()
    watched = WatchedSurface(calculation.surface, interruption, comm)
    recorded = RecordedSurface(watched, arguments.folder / RECORD_FILE, calculation.identity, comm)
    if recorded.known:
        log(f"{recorded.known} evaluations are at hand from an earlier run")
    owner = Owner(recorded)
    with interruption.listening():
        require_relaxed(owner.at(molecule.positions_av), settings.max_force, comm, log)
        derivatives = differences(molecule, owner, step, log)
    # in its own frame, Hi-Fi or reduced, a molecule turns freely even in a periodic cell
    turns = not calculation.grid.is_periodic or calculation.solver == "rom" or arguments.settings.scf.frame == "body"
    found = on_rank_zero(comm, vibrations, molecule, derivatives.hessian_cc, turns)
    intensities = infrared_intensities(found, derivatives.dipole_gradient_cv)
    print_table(found, intensities, derivatives.largest_force, log.afterwards)
    gas = None
    if not calculation.grid.is_periodic:
        gas = on_rank_zero(comm, thermochemistry, found, derivatives.energy, settings.temperature)
    for line in thermochemistry_lines(gas, derivatives.energy) if gas else ():
        log.afterwards(line)
    on_rank_zero(comm, write_modes, arguments.folder, found, intensities)
    viewers = f"{MOLDEN_FILE} (Molden, Jmol) and {ANIMATION_FILE} (OVITO, ASE)"
    log.afterwards(f"the modes for viewers, {viewers}, are in {arguments.folder}")
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
    }


@dataclass(frozen=True, eq=False)
class Derivatives:
    """What the displaced geometries give.

    Attributes
    ----------
    energy, largest_force
        At the geometry itself, Ha and Ha/bohr.
    hessian_cc
        Symmetric second derivatives, shape (3 N, 3 N), Ha/bohr^2.
    asymmetry
        Largest difference between its two halves before they were averaged, Ha/bohr^2.
    dipole_gradient_cv
        Derivatives of the dipole moment, shape (3 N, 3), atomic units; None if the surface has none.
    """

    energy: float
    largest_force: float
    hessian_cc: np.ndarray
    asymmetry: float
    dipole_gradient_cv: np.ndarray | None


def differences(molecule: Molecule, owner: Owner, step: float, log: Log) -> Derivatives:
    """Return central differences of forces and dipole over all 3 N coordinates.  Collective."""
    reference = owner.at(molecule.positions_av)
    n_coordinates, names = 3 * len(molecule), molecule.labels
    countdown = Countdown(log, n_coordinates, "displaced")
    hessian_cc, dipoles = np.zeros((n_coordinates, n_coordinates)), []
    for c in range(n_coordinates):
        atom, axis = divmod(c, 3)
        pair = []
        for sign in (1.0, -1.0):
            displaced_av = molecule.positions_av.copy()
            displaced_av[atom, axis] += sign * step
            pair.append(owner.at(displaced_av))
        hessian_cc[c] = -(pair[0].forces_av - pair[1].forces_av).ravel() / (2.0 * step)
        dipoles.append([_dipole(evaluation) for evaluation in pair])
        countdown.advance(f"{names[atom]} {'xyz'[axis]}")
    return Derivatives(
        energy=reference.energy,
        largest_force=largest_force(reference.forces_av),
        hessian_cc=0.5 * (hessian_cc + hessian_cc.T),
        asymmetry=float(np.abs(hessian_cc - hessian_cc.T).max()),
        dipole_gradient_cv=_slopes(dipoles, step),
    )


def _slopes(pairs: list[list[np.ndarray | None]], step: float) -> np.ndarray | None:
    """Return the central differences of the dipole moments at either side of every displacement; None without moments."""
    known = [(plus, minus) for plus, minus in pairs if plus is not None and minus is not None]
    return np.array([(plus - minus) / (2.0 * step) for plus, minus in known]) if len(known) == len(pairs) else None


def infrared_intensities(found: Vibrations, dipole_gradient_cv: np.ndarray | None) -> np.ndarray | None:
    """Return the intensity of each mode in km/mol, None without dipole moments.  Not collective."""
    if dipole_gradient_cv is None:
        return None
    return INFRARED_INTENSITY_IN_KM_PER_MOL * (found.dipole_slopes(dipole_gradient_cv) ** 2).sum(axis=1)


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
        log(f"  {k + 1:4d} {written}{intensity} {mass:13.4f}  {strongest_atoms(found, k)}")
    zero_point = found.zero_point_energy
    log(f"zero-point energy {zero_point:.6f} Ha, {zero_point * HARTREE_IN_KJ_PER_MOL:.2f} kJ/mol")
    if found.n_imaginary:
        log(f"warning: {found.n_imaginary} imaginary mode(s): the geometry is not a minimum; displace it along them and relax")
    warn_of_force(largest_force, log)


def require_relaxed(evaluation: Evaluation, max_force: float, comm: MPI.Comm, log: Log) -> None:
    """Warn of a geometry that is not relaxed before it is displaced.  Collective.

    Raises GeometryError if a force is larger than ``max_force`` (Ha/bohr), where vibrations have no meaning.
    """
    force = decide(comm, largest_force(evaluation.forces_av))
    if force > max_force:
        raise GeometryError(
            f"the geometry is not relaxed: the largest force is {force:.2e} Ha/bohr, frequencies.max_force = {max_force:.2e} "
            "allows no larger one. Run `mpiqmd relax` on the same surface and give its relaxed.xyz as system.structure, or "
            "raise frequencies.max_force."
        )
    warn_of_force(force, log)


def warn_of_force(force: float, log: Log) -> None:
    """Print a warning if the largest force (Ha/bohr) is not that of a stationary point.  Not collective."""
    if force > LARGE_FORCE:
        log(
            f"warning: the largest force is {force:.2e} Ha/bohr, not below {LARGE_FORCE:.0e}: low wave numbers are wrong; run "
            "`mpiqmd relax` first and take its relaxed.xyz"
        )


def _dipole(evaluation: Evaluation) -> np.ndarray | None:
    values = [evaluation.extras.get(name) for name in DIPOLE]
    return None if None in values else np.array(values, dtype=float)
