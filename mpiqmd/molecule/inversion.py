r"""Inversion of a pyramid: an atom with three neighbours goes through their plane to the other side.

With the unit normal :math:`n` of the plane through the neighbours, in their order, the height of the atom above it is
:math:`s = n \cdot (X - P_1)`, and with the mean square :math:`q` of the three distances the coordinate is the angle

.. math:: \tau = \arcsin (s / \sqrt q)

between bonds and plane: zero where all four are in a plane, and of the other sign on its other side.  An exchange of two
neighbours changes its sign, as a mirror image does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, degrees, sin, sqrt
from typing import Any

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.graph import partners_of, side_of
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import shortest_rotation

STEEPEST = 0.95
"""Height in root mean square distances beyond which the neighbours are no base of a pyramid."""


@dataclass(frozen=True)
class Inversion:
    """The angle of a pyramid.  Not collective; replicated.

    Attributes
    ----------
    apex, base
        The atom and its three neighbours, counted from 0.
    branches
        For each neighbour all atoms that move with it, itself the first.
    """

    apex: int
    base: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]

    name, article = "inversion", "an inversion"
    period = None

    @classmethod
    def of(cls, described: dict[str, Any]) -> Inversion:
        """Return what :meth:`described` describes."""
        base = tuple(int(atom) for atom in described["base"])
        branches = tuple(tuple(int(atom) for atom in branch) for branch in described["branches"])
        if len(base) != 3 or tuple(branch[0] for branch in branches) != base:
            raise ValueError("a pyramid has three neighbours, each with a branch")
        return cls(int(described["apex"]), base, branches)

    @property
    def atoms(self) -> set[int]:
        """The atoms that it speaks of, counted from 0."""
        return {self.apex, *(atom for branch in self.branches for atom in branch)}

    def described(self) -> dict[str, Any]:
        """Return plain data from which :meth:`of` makes it again."""
        branches = [list(branch) for branch in self.branches]
        return {"kind": self.name, "apex": self.apex, "base": list(self.base), "branches": branches}

    def shown(self, value: float) -> str:
        """Return an angle (radian) in words."""
        return f"{degrees(value):.1f} degrees"

    def value(self, positions_av: np.ndarray) -> float:
        """Return the angle at positions (N, 3), bohr, in radian.  Not collective.

        Raises GeometryError where the neighbours are on a line, or the apex nearly on the normal through one of them.
        """
        normal_v, _ = self._normal(positions_av)
        arms_nv = positions_av[self.apex] - positions_av[list(self.base)]
        sine = float(arms_nv[0] @ normal_v) / sqrt((arms_nv**2).sum() / 3.0)
        if abs(sine) > STEEPEST:
            raise GeometryError(
                f"atom {self.apex + 1} is so high above the plane of its neighbours that they are no base of a pyramid any "
                "more. Check the geometry, or the step that led to it."
            )
        return asin(sine)

    def gradient(self, positions_av: np.ndarray) -> np.ndarray:
        """Return the derivative of the angle with respect to the positions, shape (N, 3), radian/bohr.  Not collective."""
        normal_v, area = self._normal(positions_av)
        first, second, third = self.base
        one_v, other_v = (positions_av[atom] - positions_av[first] for atom in (second, third))
        arms_nv = positions_av[self.apex] - positions_av[list(self.base)]
        height, square = float(arms_nv[0] @ normal_v), float((arms_nv**2).sum() / 3.0)
        foot_v = (arms_nv[0] - height * normal_v) / area
        of_height_av = np.zeros_like(positions_av)
        of_height_av[self.apex] = normal_v
        of_height_av[second] = np.cross(other_v, foot_v)
        of_height_av[third] = np.cross(foot_v, one_v)
        of_height_av[first] = -normal_v - of_height_av[second] - of_height_av[third]
        of_square_av = np.zeros_like(positions_av)
        of_square_av[self.apex] = 2.0 / 3.0 * arms_nv.sum(axis=0)
        of_square_av[list(self.base)] = -2.0 / 3.0 * arms_nv
        by_sine = of_height_av / sqrt(square) - 0.5 * height / square**1.5 * of_square_av
        gradient_av: np.ndarray = by_sine / sqrt(1.0 - height**2 / square)
        return gradient_av

    def moved(self, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return positions (N, 3), bohr, at an angle (radian): the apex moves along the normal, bonds keep their lengths.

        Not collective.  The neighbours move in their plane, to or from the foot of the apex, each with its branch.
        """
        normal_v, _ = self._normal(positions_av)
        arms_nv = positions_av[self.apex] - positions_av[list(self.base)]
        height, square = float(arms_nv[0] @ normal_v), (arms_nv**2).sum() / 3.0
        risen = sqrt(square) * sin(value)
        moved_av = np.array(positions_av, float)
        moved_av[self.apex] += (risen - height) * normal_v
        for arm_v, branch in zip(arms_nv, self.branches, strict=True):
            flat_v = arm_v - height * normal_v
            flat, length = float(flat_v @ flat_v), float(arm_v @ arm_v)
            if length <= risen**2:
                raise GeometryError(f"a bond of atom {self.apex + 1} is too short for an angle of {self.shown(value)}.")
            moved_av[list(branch)] += (1.0 - sqrt((length - risen**2) / flat)) * flat_v
        return moved_av

    def carried(self, vectors_av: np.ndarray, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return vectors at the atoms, shape (N, 3), in their unit, turned as each bond of the apex turns.  Not collective."""
        there_av, turned_av = self.moved(positions_av, value), np.array(vectors_av, float)
        for branch in self.branches:
            before_v, after_v = (each[branch[0]] - each[self.apex] for each in (positions_av, there_av))
            turn_vv = shortest_rotation(before_v / np.linalg.norm(before_v), after_v / np.linalg.norm(after_v))
            turned_av[list(branch)] = turned_av[list(branch)] @ turn_vv.T
        return turned_av

    def _normal(self, positions_av: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the unit normal of the base, and the area of the parallelogram that it spans, bohr^2."""
        first_v, second_v, third_v = positions_av[list(self.base)]
        normal_v = np.cross(second_v - first_v, third_v - first_v)
        area = float(np.linalg.norm(normal_v))
        if not area > 1e-6:
            raise GeometryError(
                f"the neighbours of atom {self.apex + 1} are on one line, which is no base of a pyramid. Check the geometry."
            )
        return normal_v / area, area


def find_inversions(molecule: Molecule) -> list[Inversion]:
    """Return the pyramids of a molecule: atoms with three neighbours that are in no ring with each other.  Not collective.

    The order of the neighbours makes the angle positive.
    """
    partners, found = partners_of(len(molecule), guess_bonds(molecule.symbols, molecule.positions_av)), []
    for apex, base in enumerate(partners):
        if len(base) != 3:
            continue
        sides = [side_of(partners, apex, atom) for atom in base]
        if any(apex in side for side in sides):
            continue
        branches = tuple((atom, *sorted(side - {atom})) for atom, side in zip(base, sides, strict=True))
        inversion = Inversion(apex, tuple(base), branches)
        if inversion.value(molecule.positions_av) < 0.0:
            inversion = Inversion(apex, tuple(base[::-1]), branches[::-1])
        found.append(inversion)
    return found
