"""Derivatives of forces and dipole moments by central differences.

K_ij = -(F_j(+d e_i) - F_j(-d e_i)) / 2d,     made symmetric; the dipole moment is differenced in the same way
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation, largest_force
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

LARGE_FORCE = 1e-3
"""Force on an atom (Ha/bohr) beyond which the geometry is not a stationary point."""


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


def differentiate(molecule: Molecule, owner: Owner, step: float, log: Log) -> Derivatives:
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


def _dipole(evaluation: Evaluation) -> np.ndarray | None:
    values = [evaluation.extras.get(name) for name in DIPOLE]
    return None if None in values else np.array(values, dtype=float)


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
