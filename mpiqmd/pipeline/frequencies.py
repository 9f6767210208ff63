"""``mpiqmd frequencies``: harmonic vibrations from central differences of the forces, on either surface.

    K_ij = -(F_j(+d e_i) - F_j(-d e_i)) / 2d,     made symmetric; the dipole moment is differenced in the same way
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.md.provider import Evaluation, ForceProvider
from mpiqmd.molecule.evaluation import DIPOLE
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.vibrations import Vibrations, vibrations
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.recorded import RecordedSurface
from mpiqmd.pipeline.surface import build_surface
from mpiqmd.units import HARTREE_IN_INVERSE_CM, INFRARED_INTENSITY_IN_KM_PER_MOL

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

RECORD_FILE = "frequencies.jsonl"
LARGE_FORCE = 1e-3
"""Force on an atom (Ha/bohr) beyond which the geometry is not a stationary point."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Compute the vibrations at the input's geometry and return what ``result.json`` holds.  Collective."""
    surface = build_surface(arguments, comm, log)
    molecule, step = surface.molecule, arguments.settings.frequencies.displacement
    log(f"vibrations of {''.join(molecule.symbols)} on the {surface.solver} surface, displacements of {step:g} bohr")
    log(surface.model.describe())
    provider = RecordedSurface(surface.provider, arguments.folder / RECORD_FILE, surface.identity, comm)
    if provider.known:
        log(f"{provider.known} evaluations are at hand from an earlier run")
    derivatives = differences(molecule, provider, step, log)
    found = on_rank_zero(comm, vibrations, molecule, derivatives.hessian_cc)
    intensities = infrared_intensities(found, derivatives.dipole_gradient_cv)
    print_table(found, intensities, derivatives.largest_force, log.afterwards)
    return {
        "solver": surface.solver,
        "displacement": step,
        "energy": derivatives.energy,
        "positions": molecule.positions_av,
        "masses": molecule.masses_a,
        "largest_force": derivatives.largest_force,
        "frequencies": HARTREE_IN_INVERSE_CM * found.frequencies_k,
        "n_imaginary": found.n_imaginary,
        "zero_point_energy": found.zero_point_energy,
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


def differences(molecule: Molecule, provider: ForceProvider, step: float, log: Log) -> Derivatives:
    """Return central differences of forces and dipole over all 3 N coordinates.  Collective."""
    reference = provider.evaluate(molecule.positions_av)
    n_coordinates = 3 * len(molecule)
    hessian_cc, dipoles = np.zeros((n_coordinates, n_coordinates)), []
    for c in range(n_coordinates):
        atom, axis = divmod(c, 3)
        pair = []
        for sign in (1.0, -1.0):
            displaced_av = molecule.positions_av.copy()
            displaced_av[atom, axis] += sign * step
            pair.append(provider.evaluate(displaced_av))
        hessian_cc[c] = -(pair[0].forces_av - pair[1].forces_av).ravel() / (2.0 * step)
        dipoles.append([_dipole(evaluation) for evaluation in pair])
        name = f"{molecule.symbols[atom]}{atom} {'xyz'[axis]}"
        log.progress(f"  displaced {c + 1}/{n_coordinates} ({name})", last=c + 1 == n_coordinates)
    has_dipole = all(dipole_v is not None for pair in dipoles for dipole_v in pair)
    return Derivatives(
        energy=reference.energy,
        largest_force=float(np.linalg.norm(reference.forces_av, axis=1).max()),
        hessian_cc=0.5 * (hessian_cc + hessian_cc.T),
        asymmetry=float(np.abs(hessian_cc - hessian_cc.T).max()),
        dipole_gradient_cv=np.array([(plus - minus) / (2.0 * step) for plus, minus in dipoles]) if has_dipole else None,
    )


def infrared_intensities(found: Vibrations, dipole_gradient_cv: np.ndarray | None) -> np.ndarray | None:
    """Return the intensity of each mode in km/mol, None without dipole moments.  Not collective."""
    if dipole_gradient_cv is None:
        return None
    return INFRARED_INTENSITY_IN_KM_PER_MOL * (found.dipole_slopes(dipole_gradient_cv) ** 2).sum(axis=1)


def print_table(found: Vibrations, intensities: np.ndarray | None, largest_force: float, log: Log) -> None:
    """Print the modes, and warnings where they do not describe a minimum.  Not collective."""
    log("  mode      1/cm" + ("" if intensities is None else "    km/mol"))
    for k, frequency in enumerate(HARTREE_IN_INVERSE_CM * found.frequencies_k):
        written = f"{abs(frequency):9.2f}" + ("i" if frequency < 0 else " ")
        log(f"  {k + 1:4d} {written}" + ("" if intensities is None else f"{intensities[k]:9.3f}"))
    log(f"zero-point energy {found.zero_point_energy:.6f} Ha")
    if found.n_imaginary:
        log(f"warning: {found.n_imaginary} imaginary mode(s): the geometry is not a minimum; displace it along them and relax")
    if largest_force > LARGE_FORCE:
        log(f"warning: the largest force is {largest_force:.2e} Ha/bohr; run `mpiqmd relax` first")


def _dipole(evaluation: Evaluation) -> np.ndarray | None:
    values = [evaluation.extras.get(name) for name in DIPOLE]
    return None if None in values else np.array(values, dtype=float)
