r"""Internal rotation about a bond: its angle, the angle's derivative, and the molecule turned to another angle.

With the bond's direction :math:`a` and unit vectors :math:`e_1, e_2` across it, an atom at :math:`u` from its end of the bond
is the complex number :math:`z = u \cdot (e_1 + i e_2)`.  The n equal atoms around one end, counted in the sense of rotation
about :math:`a`, have together the direction

.. math:: Z = \sum_{k=0}^{n-1} e^{-2\pi i k/n} z_k, \qquad \varphi = \arg Z_{far} - \arg Z_{near}.

With one atom at each end that is the dihedral angle.  With n of them it does not prefer any, an exchange of all in a circle
changes it by a part of the circle exactly, and a mirror image has the opposite angle: what windows along the rotation need
to be each other's images.  Where the bond's direction changes, :math:`dz = du \cdot e - (u \cdot a)\, e \cdot da` with
directions carried along in parallel, of which the difference of two phases is free.
"""

from __future__ import annotations

from cmath import rect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import atan2, degrees, pi, radians, sin, sqrt
from typing import Any, NamedTuple

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.graph import partners_of, side_of
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import cross

STRAIGHT = radians(5.0)
"""A bond whose neighbours lie this close to its line does not turn anything."""
STRAIGHT_SINE = sin(STRAIGHT)


@dataclass(frozen=True)
class Torsion:
    """The angle by which one end of a bond is turned against the other.  Not collective; replicated.

    Attributes
    ----------
    bond
        The atoms of the bond, counted from 0: its near end and its far end.
    near, far
        The atoms that tell how each end is turned, one or several equal ones in the sense of rotation about the bond.
    turning
        All atoms that turn with the far end, without its atom of the bond.
    """

    bond: tuple[int, int]
    near: tuple[int, ...]
    far: tuple[int, ...]
    turning: tuple[int, ...]

    name, article = "torsion", "a torsion"
    period = 2.0 * pi

    @classmethod
    def of(cls, described: dict[str, Any]) -> Torsion:
        """Return what :meth:`described` describes."""
        first, second = described["bond"]
        near, far, turning = (tuple(int(atom) for atom in described[name]) for name in ("near", "far", "turning"))
        return cls((int(first), int(second)), near, far, turning)

    @property
    def atoms(self) -> set[int]:
        """The atoms that it speaks of, counted from 0."""
        return {*self.bond, *self.near, *self.far, *self.turning}

    def described(self) -> dict[str, Any]:
        """Return plain data from which :meth:`of` makes it again."""
        ends = {"near": list(self.near), "far": list(self.far), "turning": list(self.turning)}
        return {"kind": self.name, "bond": list(self.bond), **ends}

    def shown(self, value: float) -> str:
        """Return an angle (radian) in words."""
        return f"{degrees(value):.1f} degrees"

    @property
    def folds(self) -> tuple[int, int]:
        """How many equal atoms tell of each end."""
        return len(self.near), len(self.far)

    def value(self, positions_av: np.ndarray) -> float:
        """Return the angle at positions (N, 3), bohr, in radian from -pi to pi.  Not collective.

        Raises GeometryError where the atoms around one end show no direction.
        """
        # plain floats, as in `bent`: every step of dynamics asks
        atoms = positions_av.tolist()
        axes = _axes(atoms[self.bond[0]], atoms[self.bond[1]])
        near, far = (self._phase(atoms, axes, base, arms) for base, arms in self._ends)
        turned = far * near.conjugate()
        return atan2(turned.imag, turned.real)

    def gradient(self, positions_av: np.ndarray) -> np.ndarray:
        """Return the derivative of the angle with respect to the positions, shape (N, 3), radian/bohr.  Not collective."""
        atoms, gradient_av = positions_av.tolist(), np.zeros_like(positions_av)
        axes = _axes(atoms[self.bond[0]], atoms[self.bond[1]])
        along_v, across_v = np.array(axes.along), np.array(axes.first) + 1j * np.array(axes.second)
        by_direction_v = np.zeros(3)
        for sign, (base, arms) in zip((-1.0, 1.0), self._ends, strict=True):
            phase = self._phase(atoms, axes, base, arms)
            for weight, atom in zip(_turns(len(arms)), arms, strict=True):
                slope_v = sign * (weight / phase * across_v).imag
                gradient_av[atom] += slope_v
                gradient_av[base] -= slope_v
                by_direction_v -= (positions_av[atom] - positions_av[base]) @ along_v * slope_v
        gradient_av[self.bond[1]] += by_direction_v / axes.length
        gradient_av[self.bond[0]] -= by_direction_v / axes.length
        return gradient_av

    def moved(self, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return the positions (N, 3), bohr, with the far end turned to an angle (radian).  Not collective."""
        base_v = positions_av[self.bond[1]]
        return base_v + self.carried(positions_av - base_v, positions_av, value)

    def carried(self, vectors_av: np.ndarray, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return vectors at the atoms, shape (N, 3), in their unit, as turning positions to an angle does.  Not collective."""
        along_v = np.array(_axes(*positions_av[list(self.bond)].tolist()).along)
        angle, turned_av = value - self.value(positions_av), np.array(vectors_av, float)
        rows = list(self.turning)
        moving = turned_av[rows]
        along = np.outer(moving @ along_v, along_v)
        turned_av[rows] = along + np.cos(angle) * (moving - along) + np.sin(angle) * np.cross(along_v, moving)
        return turned_av

    @property
    def _ends(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        return (self.bond[0], self.near), (self.bond[1], self.far)

    def _phase(self, atoms: list[list[float]], axes: _Axes, base: int, arms: Sequence[int]) -> complex:
        """Return Z of one end of the bond, bohr."""
        phase, square, foot = 0j, 0.0, atoms[base]
        for turn, arm in zip(_turns(len(arms)), arms, strict=True):
            away = [there - here for there, here in zip(atoms[arm], foot, strict=True)]
            phase += turn * complex(_dot(away, axes.first), _dot(away, axes.second))
            square += _dot(away, away)
        if not abs(phase) > STRAIGHT_SINE * sqrt(square):
            raise GeometryError(
                f"atoms {', '.join(str(arm + 1) for arm in arms)} around atom {base + 1} show no direction across the "
                f"bond {self.bond[0] + 1}-{self.bond[1] + 1} that the molecule turns about: they are in line with it, or have "
                "changed places. Check the geometry, or the step that led to it."
            )
        return phase


class _Axes(NamedTuple):
    """A bond's direction, two directions across it, and its length."""

    along: list[float]
    first: list[float]
    second: list[float]
    length: float


def _axes(near: list[float], far: list[float]) -> _Axes:
    """Return the axes of a bond from one atom to another."""
    bond = [there - here for there, here in zip(far, near, strict=True)]
    length = sqrt(_dot(bond, bond))
    along = [component / length for component in bond]
    least = min(range(3), key=lambda v: abs(along[v]))
    across = [float(v == least) - along[least] * along[v] for v in range(3)]
    size = sqrt(_dot(across, across))
    first = [component / size for component in across]
    return _Axes(along, first, cross(along, first), length)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@cache
def _turns(count: int) -> tuple[complex, ...]:
    """``exp(-2 pi i k / n)`` for k = 0 to n - 1."""
    return tuple(rect(1.0, -2.0 * pi * k / count) for k in range(count))


def find_torsions(molecule: Molecule) -> list[Torsion]:
    """Return the internal rotations about the bonds of a molecule that are in no ring.  Not collective.

    The end that turns is the one with fewer atoms.  Around an end with all other neighbours alike (as in CH3) all of them tell
    how it is turned, otherwise the one with the largest atomic mass, the first of them.
    """
    bonds = guess_bonds(molecule.symbols, molecule.positions_av)
    partners = partners_of(len(molecule), bonds)
    found = []
    for first, second in bonds:
        side = side_of(partners, first, second)
        if first in side or min(len(partners[first]), len(partners[second])) < 2:
            continue
        near, far = (first, second) if len(side) <= len(molecule) - len(side) else (second, first)
        turning = side_of(partners, near, far)
        ends = [_telling(molecule, partners, *pair) for pair in ((near, far), (far, near))]
        if all(ends):
            found.append(_ordered(molecule, (near, far), ends, tuple(sorted(turning - {far}))))
    return found


def _telling(molecule: Molecule, partners: list[list[int]], base: int, other: int) -> tuple[int, ...]:
    """Return the atoms that tell how one end is turned; none where they are in line with the bond."""
    along_v = molecule.positions_av[other] - molecule.positions_av[base]
    atoms = []
    for atom in partners[base]:
        arm_v = molecule.positions_av[atom] - molecule.positions_av[base]
        sine = np.linalg.norm(np.cross(arm_v, along_v)) / (np.linalg.norm(arm_v) * np.linalg.norm(along_v))
        if atom != other and sine > STRAIGHT_SINE:
            atoms.append(atom)
    if not atoms:
        return ()
    kinds = {(molecule.symbols[atom], molecule.masses_a[atom], len(partners[atom])) for atom in atoms}
    if len(kinds) == 1 and len(atoms) == len(partners[base]) - 1:
        return tuple(atoms)
    return (max(atoms, key=lambda atom: (molecule.masses_a[atom], -atom)),)


def _ordered(molecule: Molecule, bond: tuple[int, int], ends: list[tuple[int, ...]], turning: tuple[int, ...]) -> Torsion:
    """Return the torsion with the atoms of each end in the sense of rotation about the bond, beginning with the first."""
    positions_av = molecule.positions_av
    axes = _axes(*positions_av[list(bond)].tolist())
    across_v = np.array(axes.first) + 1j * np.array(axes.second)
    near, far = (
        tuple(sorted(atoms, key=lambda atom: _angle_from(positions_av, across_v, base, atoms[0], atom)))
        for base, atoms in zip(bond, ends, strict=True)
    )
    return Torsion(bond, near, far, turning)


def _angle_from(positions_av: np.ndarray, across_v: np.ndarray, base: int, first: int, atom: int) -> float:
    here, there = ((positions_av[index] - positions_av[base]) @ across_v for index in (first, atom))
    return float(np.angle(there / here) % (2.0 * pi)) if atom != first else 0.0
