"""Bond lengths, angles and dihedral angles along the bonds of a molecule, for one geometry or many.

Positions may carry leading axes (frames), which the values keep.  Lengths are in bohr, angles in degrees:
people read these numbers.  A dihedral angle looks along its middle bond and lies between -180 and 180, positive when the
far bond is turned clockwise from the near one (IUPAC).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from mpiqmd.molecule.bonds import guess_bonds
from mpiqmd.molecule.graph import partners_of
from mpiqmd.molecule.images import nearest_image
from mpiqmd.molecule.labels import labels

STRAIGHT = 5.0
"""A dihedral angle is left out where an angle it stands on is closer than this to 0 or 180 degrees."""

KINDS = {2: "bond", 3: "angle", 4: "dihedral"}
"""What a chain of so many atoms is called."""


@dataclass(frozen=True, eq=False)
class InternalCoordinate:
    """One bond length, angle or dihedral angle along some frames.

    Parameters
    ----------
    atoms
        The chain of atoms, counted from 0: two for a bond, three for an angle, four for a dihedral angle.
    label
        Their labels, such as ``H2-O1-H3``.
    values_t
        The values, one per frame; a dihedral angle is NaN in a frame where three of its atoms are in line.
    """

    atoms: tuple[int, ...]
    label: str
    values_t: np.ndarray

    @property
    def kind(self) -> str:
        """``"bond"``, ``"angle"`` or ``"dihedral"``."""
        return KINDS[len(self.atoms)]

    @property
    def key(self) -> str:
        """Name for files, such as ``bond_O1-H2`` or ``angle_H2-O1-H3``."""
        return f"{self.kind}_{self.label}"

    @property
    def unit(self) -> str:
        """``"bohr"`` or ``"degrees"``."""
        return "bohr" if self.kind == "bond" else "degrees"

    def minus(self, other: InternalCoordinate) -> np.ndarray:
        """Return the differences to the same coordinate in as many other frames, shape (frames,), in :attr:`unit`.

        Of dihedral angles, the short way round.
        """
        difference_t = self.values_t - other.values_t
        return 180.0 - (180.0 - difference_t) % 360.0 if self.kind == "dihedral" else difference_t


def internal_coordinates(
    symbols: Sequence[str],
    positions_tav: np.ndarray,
    edges_v: np.ndarray | None = None,
    reference_av: np.ndarray | None = None,
) -> list[InternalCoordinate]:
    """Return bond lengths, the angles between bonds and the dihedral angles along them. Not collective.

    Parameters
    ----------
    symbols
        Chemical symbols, N of them.
    positions_tav
        Positions of all frames, shape (frames, N, 3), bohr.
    edges_v
        Edges of a periodic cell (bohr), for nearest images; None without periodicity.
    reference_av
        The geometry that decides which coordinates there are; the first frame if None.
    """
    names = labels(symbols)
    return [
        InternalCoordinate(chain, "-".join(names[i] for i in chain), measure(positions_tav, chain, edges_v))
        for chain in chains(symbols, positions_tav[0] if reference_av is None else reference_av, edges_v)
    ]


def chains(symbols: Sequence[str], positions_av: np.ndarray, edges_v: np.ndarray | None = None) -> list[tuple[int, ...]]:
    """Return the chains of two, three and four bonded atoms of one geometry (N, 3), in this order. Not collective.

    Each begins with the end that comes first in the input, but for bonds to hydrogen, which end with it.  Chains of
    four with an angle closer than ``STRAIGHT`` to 0 or 180 degrees are left out: their dihedral angle says nothing.
    """
    bonds = guess_bonds(symbols, positions_av, edges_v)
    partners = partners_of(len(symbols), bonds)
    angles = [(i, a, j) for a, around in enumerate(partners) for i, j in combinations(around, 2)]
    dihedrals = [
        (i, j, k, m) if i < m else (m, k, j, i)
        for j, k in bonds
        for i in partners[j]
        for m in partners[k]
        if k != i != m != j and _bent(positions_av, (i, j, k), edges_v) and _bent(positions_av, (j, k, m), edges_v)
    ]
    named = [(j, i) if symbols[i] == "H" != symbols[j] else (i, j) for i, j in bonds]
    return [*named, *angles, *dihedrals]


def measure(positions_tav: np.ndarray, chain: Sequence[int], edges_v: np.ndarray | None = None) -> np.ndarray:
    """Return the bond length (bohr), angle or dihedral angle (degrees) of a chain of 2, 3 or 4 atoms, shape (frames,)."""
    arms = [nearest_image(positions_tav[..., j, :] - positions_tav[..., i, :], edges_v) for i, j in pairwise(chain)]
    kinds: dict[int, Callable[..., np.ndarray]] = {2: _length, 3: _angle, 4: _dihedral}
    return kinds[len(chain)](*arms)


def _length(arm: np.ndarray) -> np.ndarray:
    return np.linalg.norm(arm, axis=-1)


def _angle(arm_1: np.ndarray, arm_2: np.ndarray) -> np.ndarray:
    """Return the angle between two bonds one after the other; the arctangent keeps its digits near 0 and 180 degrees."""
    return np.degrees(np.arctan2(_length(np.cross(arm_1, arm_2)), -_dot(arm_1, arm_2)))


def _dihedral(arm_1: np.ndarray, arm_2: np.ndarray, arm_3: np.ndarray) -> np.ndarray:
    normal_1, normal_2 = np.cross(arm_1, arm_2), np.cross(arm_2, arm_3)
    sine = _length(arm_2) * _dot(arm_1, normal_2)
    cosine = _dot(normal_1, normal_2)
    in_line = np.minimum(_sine(arm_1, arm_2), _sine(arm_2, arm_3)) < 1e-6
    return np.where(in_line, np.nan, np.degrees(np.arctan2(sine, cosine)))


def _sine(arm_1: np.ndarray, arm_2: np.ndarray) -> np.ndarray:
    return _length(np.cross(arm_1, arm_2)) / (_length(arm_1) * _length(arm_2))


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("...v,...v->...", one, other)


def _bent(positions_av: np.ndarray, chain: tuple[int, int, int], edges_v: np.ndarray | None) -> bool:
    return bool(STRAIGHT < measure(positions_av, chain, edges_v) < 180.0 - STRAIGHT)
