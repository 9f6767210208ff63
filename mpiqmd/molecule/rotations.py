"""How many rotations take a molecule onto itself: the symmetry number of its entropy."""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.molecule import Molecule

ALIKE = 0.05
"""Distance (bohr) up to which a turned atom is taken for another of its element and mass."""


def symmetry_number(molecule: Molecule) -> int:
    """Return the number of rotations that take a molecule onto itself, the identity included. Not collective.

    A rotation is known by where it takes two atoms that are not in line with the centre of mass, so all pairs are tried.
    Of the endless rotations about the axis of a linear molecule only the half turn across it counts: 2 for CO2, 1 for HCN.
    """
    centred_av = molecule.positions_av - molecule.centre_of_mass_v
    first = int(np.linalg.norm(centred_av, axis=1).argmax())
    areas_a = np.linalg.norm(np.cross(centred_av[first], centred_av), axis=1)
    second = int(areas_a.argmax())
    length = float(np.linalg.norm(centred_av[first]))
    if areas_a[second] <= ALIKE * length:
        return 2 if len(molecule) > 1 and _maps(molecule, centred_av, -centred_av) else 1
    frame_vv = _frame(centred_av[first], centred_av[second])
    rotations = (
        _frame(centred_av[i], centred_av[j]).T @ frame_vv
        for i in _same(molecule, first)
        for j in _same(molecule, second)
        if _alike(centred_av[[first, second]], centred_av[[i, j]])
    )
    return sum(_maps(molecule, centred_av, centred_av @ rotation_vv.T) for rotation_vv in rotations)


def _same(molecule: Molecule, atom: int) -> list[int]:
    """Return the atoms of the same element and mass."""
    kinds = list(zip(molecule.symbols, molecule.masses_a.tolist(), strict=True))
    return [other for other, kind in enumerate(kinds) if kind == kinds[atom]]


def _alike(pair: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pairs of arms from the centre have the same lengths and the same distance, and span a plane."""
    lengths = np.linalg.norm(pair, axis=1) - np.linalg.norm(other, axis=1)
    distances = np.linalg.norm(pair[0] - pair[1]) - np.linalg.norm(other[0] - other[1])
    area = np.linalg.norm(np.cross(*other))
    return bool(np.abs([*lengths, distances]).max() < 2 * ALIKE and area > ALIKE * np.linalg.norm(other[0]))


def _frame(first_v: np.ndarray, second_v: np.ndarray) -> np.ndarray:
    """Return orthonormal rows: along the first arm, in the plane of both, and across it."""
    x_v = first_v / np.linalg.norm(first_v)
    z_v = np.cross(first_v, second_v)
    z_v = z_v / np.linalg.norm(z_v)
    return np.array([x_v, np.cross(z_v, x_v), z_v])


def _maps(molecule: Molecule, centred_av: np.ndarray, turned_av: np.ndarray) -> bool:
    """Whether every turned atom lies on one of its kind."""
    for atom, turned_v in enumerate(turned_av):
        distances = np.linalg.norm(centred_av[_same(molecule, atom)] - turned_v, axis=1)
        if distances.min() > ALIKE:
            return False
    return True
