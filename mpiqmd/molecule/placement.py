"""Where an isolated molecule sits in its cell, whose centre is the origin, wherever its coordinates are.

A molecule with an atom nearer than ``NEAR`` to a wall is moved, with the box around its atoms centred on the origin, if that
gains more than ``GAIN``; every other stays where it is, and so do numbers that were computed for it.  Not collective.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.rigid import Alignment
from mpiqmd.molecule.surface import Memory

NEAR = 4.0
"""Distance of an atom from a wall (bohr) that gives reason to move the molecule."""
GAIN = 1.0
"""Least gain in that distance (bohr) for which it is moved."""


class Placement(Memory):
    """The shift that takes a molecule into its cell, kept while it moves on until another one is better.

    Parameters
    ----------
    cell_v
        Edges of the isolated cell, shape (3,), bohr.
    anew
        Place every geometry on its own, whatever came before.

    Attributes
    ----------
    shift_v
        What is added to the user's coordinates, shape (3,), bohr.
    """

    def __init__(self, cell_v: np.ndarray, anew: bool = False) -> None:
        self.cell_v, self.anew = np.asarray(cell_v, float), anew
        self.shift_v = np.zeros(3)

    def place(self, positions_av: np.ndarray) -> bool:
        """Take in positions (N, 3), bohr, as the user has them; return whether the shift has changed."""
        if self.anew:
            self.shift_v = np.zeros(3)
        centred_v = -0.5 * (positions_av.min(axis=0) + positions_av.max(axis=0))
        gain = self._distance(positions_av + centred_v) - self._distance(positions_av + self.shift_v)
        changes = bool(self._distance(positions_av + self.shift_v) < NEAR and gain > GAIN)
        if changes:
            self.shift_v = centred_v
        return changes

    def state(self) -> dict[str, np.ndarray]:
        """Return the ``shift`` of a molecule that has been moved, shape (3,), bohr.  Not collective."""
        return {"shift": self.shift_v} if self.shift_v.any() else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned.  Not collective."""
        self.shift_v = np.array(state.get("shift", np.zeros(3)), float).reshape(3)

    def _distance(self, positions_av: np.ndarray) -> float:
        """Return the least distance of an atom from a wall, negative beyond it."""
        return float((0.5 * self.cell_v - np.abs(positions_av)).min())

    def describe(self) -> str:
        """Return a line for the log on where the molecule is."""
        shift = ", ".join(f"{component:.3f}" for component in self.shift_v)
        return (
            f"the molecule is moved by ({shift}) bohr to the middle of its isolated cell; positions, forces and files keep "
            "the coordinates of the input"
        )

    def alignment(self, positions_av: np.ndarray) -> Alignment:
        """Return positions in the cell and the way back, as a body frame that does not turn."""
        return Alignment(positions_av + self.shift_v, np.eye(3), -self.shift_v, np.arange(len(positions_av)))
