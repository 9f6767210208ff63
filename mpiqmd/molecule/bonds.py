"""Which atoms are bonded, guessed from distances.

Two atoms are bonded when closer than ``TOLERANCE`` times the sum of their covalent radii [Cordero2008].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.molecule.images import nearest_image
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


def guess_bonds(symbols: Sequence[str], positions_av: np.ndarray, edges_v: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Return the bonded pairs (i < j) of one geometry; an atom without any gets its nearest one. Not collective.

    Parameters
    ----------
    symbols
        Chemical symbols, N of them.
    positions_av
        Positions, shape (N, 3), bohr.
    edges_v
        Edges of a periodic cell (bohr), whose nearest images count; None without periodicity.
    """
    radii_a = np.array([COVALENT_RADII.get(symbol, DEFAULT_RADIUS) for symbol in symbols]) / BOHR_IN_ANGSTROM
    distance_aa = np.linalg.norm(nearest_image(positions_av[:, None] - positions_av[None], edges_v), axis=-1)
    np.fill_diagonal(distance_aa, np.inf)
    bonded_aa = distance_aa < TOLERANCE * (radii_a[:, None] + radii_a)
    if len(symbols) > 1:
        lonely = np.flatnonzero(~bonded_aa.any(axis=1))
        bonded_aa[lonely, distance_aa[lonely].argmin(axis=1)] = True
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(bonded_aa | bonded_aa.T))]
