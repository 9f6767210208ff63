"""A surface whose electrons are solved in a frame of the molecule: ``E(R) = Ebar(x(R))`` with its forces.

Align, let the solver find the electrons there, carry energy, gradient and dipole moment back.  The laboratory is such a
frame, too; the solver is the full one, or a reduced one, on the grid or grid-free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from mpiqmd.errors import ConfigError, MpiqmdError
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory, in_parts, one_by_one

Carry = Callable[[Alignment, np.ndarray], np.ndarray]
"""From an alignment and the gradient in the frame (N, 3) to the forces in the laboratory (N, 3), Ha/bohr."""
FORCES: dict[str, Carry] = {
    "gradient": lambda alignment, gradient_av: alignment.gradient_forces(gradient_av),
    "hellmann-feynman": lambda alignment, gradient_av: alignment.rotated_forces(gradient_av),
}
"""The exact derivative of the energy through the frame; the body's forces turned back, as published."""


@dataclass(eq=False, slots=True)
class Solved:
    """What every solver answers about one geometry in the frame.

    Attributes
    ----------
    energy
        Ha (the free energy where electrons are warm).
    gradient_av
        Its derivative with respect to the frame's coordinates, shape (N, 3), Ha/bohr.
    dipole_v
        Dipole moment in the frame, shape (3,), atomic units; None where there is none.
    extras
        Numbers worth keeping beside each frame, atomic units.
    """

    energy: float
    gradient_av: np.ndarray
    dipole_v: np.ndarray | None
    extras: dict[str, float]


class Answered(Protocol):
    """What a surface uses of an answer: what :class:`Solved` has."""

    energy: float
    gradient_av: np.ndarray
    dipole_v: np.ndarray | None
    extras: dict[str, float]


Electrons = TypeVar("Electrons", bound=Memory)
Found = TypeVar("Found", bound=Answered, covariant=True)


class BodySolver(Protocol[Electrons, Found]):
    """Finds the electrons of geometries in a frame, with memories of its own kind."""

    def fresh(self, company: int = 1) -> Electrons:
        """Return the memory of a new owner, one of ``company``.  Not collective."""
        ...

    def solve(
        self, alignments: Sequence[Alignment | MpiqmdError], memories: Sequence[Electrons]
    ) -> Sequence[Found | MpiqmdError]:
        """Return what is found at each geometry, or an error in its place; errors among them stay.  Collective."""
        ...


class SurfaceFrame(Protocol):
    """Takes geometries to where their electrons are solved."""

    def fresh(self) -> Memory:
        """Return what the frame remembers of a new owner.  Not collective."""
        ...

    def align(self, positions_av: np.ndarray, memory: BodyMemory) -> Alignment:
        """Return a geometry (N, 3), bohr, in the frame, and the way back.  Collective.  Raises GeometryError."""
        ...


class Region(Protocol):
    """The geometries that a reduced model was trained on."""

    def distance(self, body_positions_av: np.ndarray) -> float:
        """Return how far a geometry (N, 3), bohr, is from them, in units of how far they are apart.  Not collective."""
        ...


class MovingFrame:
    """A frame that moves with the molecule; of an owner it remembers nothing.

    Parameters
    ----------
    frame
        The body frame.
    cell_v
        Edges (3,) of a periodic cell, bohr: a molecule spread over its images is put together first.
    """

    def __init__(self, frame: BodyFrame, cell_v: np.ndarray | None = None) -> None:
        self.frame, self.cell_v = frame, cell_v

    def fresh(self) -> Memory:
        """Return a memory of nothing.  Not collective."""
        return Memory()

    def align(self, positions_av: np.ndarray, memory: BodyMemory) -> Alignment:
        """Return the geometry in the body frame.  Not collective.  Raises GeometryError."""
        return self.frame.align(positions_av if self.cell_v is None else whole(positions_av, self.cell_v))


class BodyMemory(Memory, Generic[Electrons]):
    """What frame and solver remember of one owner: its place, and its electrons."""

    def __init__(self, place: Memory, electrons: Electrons) -> None:
        self.place, self.electrons, self.at_once = place, electrons, electrons.at_once

    def state(self) -> dict[str, np.ndarray]:
        """Return what both need for an exact restart: arrays of any shape, atomic units.  Collective."""
        return self.electrons.state() | self.place.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Collective."""
        self.electrons.restore(state)
        self.place.restore(state)

    def forget(self) -> None:
        """Forget both.  Not collective."""
        self.electrons.forget()
        self.place.forget()


class BodySurface(Generic[Electrons, Found]):
    """Aligns, lets the solver solve, and carries back.

    Parameters
    ----------
    frame
        Where electrons are solved.
    solver
        Solves them there.
    forces
        ``"gradient"`` or ``"hellmann-feynman"`` (see :data:`FORCES`).
    region
        The geometries of the training; None leaves ``training_distance`` unreported.
    ways_back
        How these forces are made, where the solver has quicker ways of its own.
    tells_net_force
        Whether ``net_force``, the norm of the forces' sum (Ha/bohr), is among the extras.

    Raises
    ------
    ConfigError
        There are no such forces.
    """

    def __init__(
        self,
        frame: SurfaceFrame,
        solver: BodySolver[Electrons, Found],
        forces: str = "gradient",
        region: Region | None = None,
        *,
        ways_back: dict[str, Carry] = FORCES,
        tells_net_force: bool = False,
    ) -> None:
        if forces not in FORCES:
            raise ConfigError(f"rom.forces = {forces!r}: allowed are {', '.join(map(repr, FORCES))}. Use 'gradient'.")
        self.frame, self.solver, self.region, self.tells_net_force = frame, solver, region, tells_net_force
        self._way_back = ways_back[forces]

    def fresh(self, company: int = 1) -> BodyMemory[Electrons]:
        """Return the memory of a new owner, one of ``company``.  Not collective."""
        return BodyMemory(self.frame.fresh(), self.solver.fresh(company))

    def evaluate(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[BodyMemory[Electrons]]
    ) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces in the laboratory, or errors in their places.  Collective.

        ``extras`` are the solver's, the dipole moment ``dipole_x``, ``_y``, ``_z`` (atomic units) where there is one, and
        ``training_distance`` (from the geometries of the training) where there are some.
        """
        return in_parts(self._evaluated, positions_bav, memories)

    def _evaluated(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[BodyMemory[Electrons]]
    ) -> list[Evaluation | MpiqmdError]:
        alignments, results = self.solve(positions_bav, memories)
        return [self._carried_or_error(alignment, result) for alignment, result in zip(alignments, results, strict=True)]

    def _carried_or_error(self, alignment: Alignment | MpiqmdError, result: Answered | MpiqmdError) -> Evaluation | MpiqmdError:
        if isinstance(result, MpiqmdError):
            return result
        assert not isinstance(alignment, MpiqmdError)
        return self.carried_back(alignment, result)

    def solve(
        self, positions_bav: Sequence[np.ndarray], memories: Sequence[BodyMemory[Electrons]]
    ) -> tuple[list[Alignment | MpiqmdError], Sequence[Found | MpiqmdError]]:
        """Return geometries in the frame and what the solver finds there, or errors in both places.  Collective."""
        alignments = one_by_one(self.frame.align, positions_bav, memories)
        return alignments, self.solver.solve(alignments, [memory.electrons for memory in memories])

    def carried_back(self, alignment: Alignment, solved: Answered, way_back: Carry | None = None) -> Evaluation:
        """Return a solver's answer in the laboratory, by this surface's forces; by others it says nothing of the net force.

        Not collective.  The extras are the answer's own, added to.
        """
        forces_av = (way_back or self._way_back)(alignment, solved.gradient_av)
        extras = solved.extras
        if self.tells_net_force and way_back is None:
            extras["net_force"] = float(np.linalg.norm(forces_av.sum(axis=0)))
        if solved.dipole_v is not None:
            extras |= zip(DIPOLE, alignment.dipole(solved.dipole_v).tolist(), strict=True)
        if self.region is not None:
            extras["training_distance"] = self.region.distance(alignment.body_positions_av)
        return Evaluation(solved.energy, forces_av, extras)
