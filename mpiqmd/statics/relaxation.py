"""The nearest minimum of the energy, by ASE's optimisers.

Rank 0 alone runs the optimiser: it is given the forces at the current geometry and asked for the next one, which is
broadcast.  The surface is evaluated outside of it, by all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.molecule.evaluation import Evaluation, largest_force
from mpiqmd.molecule.internal import InternalCoordinate, internal_coordinates
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


class Goal(Protocol):
    """How to relax and how far, as the section [relax] of an input says it."""

    @property
    def optimiser(self) -> str:
        """``"bfgs"`` or ``"fire"``."""
        ...

    @property
    def force_tolerance(self) -> float:
        """Largest force on an atom at which to stop, Ha/bohr."""
        ...

    @property
    def max_steps(self) -> int:
        """Steps after which to give up."""
        ...


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
        return largest_force(self.forces_sav[-1])

    def require_converged(self, goal: Goal, otherwise: str) -> None:
        """Raise ConvergenceError, which says what to do or ``otherwise``, if the minimum was not reached.  Not collective."""
        if not self.converged:
            raise ConvergenceError(
                f"the geometry is not relaxed: the largest force is {self.largest_force:.2e} Ha/bohr after {goal.max_steps} "
                f"steps, relax.force_tolerance = {goal.force_tolerance:.2e}. Raise relax.max_steps and run the same "
                f"command again, it continues; or {otherwise}."
            )


def relax(molecule: Molecule, owner: Owner, goal: Goal, comm: MPI.Comm, log: Log) -> RelaxationPath:
    """Return the way from the molecule's positions down the surface.  Collective.

    Without an error where ``goal.max_steps`` are not enough: see :meth:`RelaxationPath.require_converged`.
    """
    optimiser = Optimiser(molecule, goal.optimiser)
    positions_av, visited, converged = molecule.positions_av, [], False
    for step in range(goal.max_steps + 1):
        evaluation = owner.at(positions_av)
        visited.append((positions_av, evaluation))
        largest = largest_force(evaluation.forces_av)
        converged = decide(comm, largest < goal.force_tolerance)
        ends = converged or step == goal.max_steps
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
