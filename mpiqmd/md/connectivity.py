"""Which atoms are bonded, guessed from distances, and the internal coordinates worth drawing.

Two atoms are bonded when closer than ``TOLERANCE`` times the sum of their covalent radii [Cordero2008].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mpiqmd.md.observables import bond_angle, bond_length
from mpiqmd.units import BOHR_IN_ANGSTROM

TOLERANCE = 1.3
"""A bond may be this much longer than the sum of the covalent radii."""

COVALENT_RADII = {
    "H": 0.31, "He": 0.28, "Li": 1.28, "Be": 0.96, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57,
    "Ne": 0.58, "Na": 1.66, "Mg": 1.41, "Al": 1.21, "Si": 1.11, "P": 1.07, "S": 1.05, "Cl": 1.02, "Ar": 1.06,
    "K": 2.03, "Ca": 1.76, "Sc": 1.70, "Ti": 1.60, "V": 1.53, "Cr": 1.39, "Mn": 1.39, "Fe": 1.32, "Co": 1.26,
    "Ni": 1.24, "Cu": 1.32, "Zn": 1.22, "Ga": 1.22, "Ge": 1.20, "As": 1.19, "Se": 1.20, "Br": 1.20,
    "Kr": 1.16, "Rb": 2.20, "Sr": 1.95, "Y": 1.90, "Zr": 1.75, "Nb": 1.64, "Mo": 1.54, "Tc": 1.47, "Ru": 1.46,
    "Rh": 1.42, "Pd": 1.39, "Ag": 1.45, "Cd": 1.44, "In": 1.42, "Sn": 1.39, "Sb": 1.39, "Te": 1.38, "I": 1.39,
    "Xe": 1.40,
}  # fmt: skip
"""Covalent radii in angstrom, by symbol."""

DEFAULT_RADIUS = 1.5
"""Radius in angstrom of elements outside the table."""


@dataclass(frozen=True)
class InternalCoordinate:
    """One bond length or angle along a trajectory.

    Parameters
    ----------
    key
        Name for files, such as ``bond_O-H1`` or ``angle_H1-O-H2``.
    label
        Name for figures, such as ``O–H1``.
    unit
        ``"bohr"`` or ``"degrees"``: angles are converted, since people read these numbers.
    values_t
        The values, one per frame.
    """

    key: str
    label: str
    unit: str
    values_t: np.ndarray


def guess_bonds(symbols: Sequence[str], positions_av: np.ndarray) -> list[tuple[int, int]]:
    """Return the bonded pairs (i < j) of one geometry, bohr; an atom without any gets its nearest one."""
    n_atoms = len(symbols)
    radii_a = [COVALENT_RADII.get(symbol, DEFAULT_RADIUS) / BOHR_IN_ANGSTROM for symbol in symbols]
    distance_aa = np.linalg.norm(positions_av[:, None] - positions_av[None], axis=-1)
    bonds = {
        (i, j)
        for i, j in combinations(range(n_atoms), 2)
        if distance_aa[i, j] < TOLERANCE * (radii_a[i] + radii_a[j])
    }
    np.fill_diagonal(distance_aa, np.inf)
    for i in range(n_atoms if n_atoms > 1 else 0):
        if not any(i in bond for bond in bonds):
            j = int(distance_aa[i].argmin())
            bonds.add((min(i, j), max(i, j)))
    return sorted(bonds)


def atom_names(symbols: Sequence[str]) -> list[str]:
    """Return unique names: the symbol, numbered within its element where there are several (O, H1, H2)."""
    return [
        symbol if list(symbols).count(symbol) == 1 else f"{symbol}{list(symbols[: i + 1]).count(symbol)}"
        for i, symbol in enumerate(symbols)
    ]


def internal_coordinates(symbols: Sequence[str], positions_tav: np.ndarray) -> list[InternalCoordinate]:
    """Return the coordinates to draw: all bonds of the first frame, and for a bent triatomic molecule its
    angle.

    Parameters
    ----------
    symbols
        Chemical symbols, N of them.
    positions_tav
        Positions of all frames, shape (frames, N, 3), bohr.
    """
    bonds = guess_bonds(symbols, positions_tav[0])
    names = atom_names(symbols)
    # The heavier end first, as chemists write it: O-H, not H-O.
    ordered = [(i, j) if symbols[i] != "H" else (j, i) for i, j in bonds]
    coordinates = [
        InternalCoordinate(
            f"bond_{names[i]}-{names[j]}", f"{names[i]}–{names[j]}", "bohr", bond_length(positions_tav, i, j)
        )
        for i, j in ordered
    ]
    if len(symbols) == 3 and len(bonds) == 2:
        (vertex,) = set(bonds[0]) & set(bonds[1])
        first, second = sorted(set(range(3)) - {vertex})
        angle_t = np.degrees(bond_angle(positions_tav, first, vertex, second))
        path = (names[first], names[vertex], names[second])
        coordinates.append(InternalCoordinate("angle_" + "-".join(path), "–".join(path), "degrees", angle_t))
    return coordinates
