"""Which internal coordinates share a panel: one kind in each, and only where their values lie together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import InternalCoordinate

TURN = 360.0
NAMES = {"bond": "", "angle": "angle ", "dihedral": "torsion "}
"""How kinds are called on an axis, before the unit."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Coordinates of one kind that are drawn together.

    Attributes
    ----------
    title
        For the axis, in two lines: atoms, kind and unit; symbols where there are several coordinates.
    coordinates
        The coordinates, by their place among all of the molecule.
    """

    title: str
    coordinates: dict[int, InternalCoordinate]


def continuous(coordinate: InternalCoordinate) -> np.ndarray:
    """Return values without jumps, shape (frames,), in the coordinate's unit.  Not collective.

    A dihedral angle is followed beyond 180 degrees instead of coming back at -180.
    """
    values_t = coordinate.values_t
    known = np.isfinite(values_t)
    if coordinate.kind != "dihedral" or not known.any():
        return values_t
    followed_t = np.full(len(values_t), np.nan)
    followed_t[known] = np.unwrap(values_t[known], period=TURN)
    return followed_t


def panels_of(trajectory: Trajectory) -> list[Panel]:
    """Return the panels of a trajectory's figure: bonds, angles, dihedral angles, each kind of atoms for itself."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    found = coordinates_of(trajectory)
    for index, coordinate in enumerate(found):
        kinds.setdefault(_kind(coordinate, trajectory.symbols), []).append(index)
    return [
        Panel(_title(kind, [found[index] for index in together]), {index: found[index] for index in together})
        for kind, members in kinds.items()
        for together in _close(members, [continuous(coordinate) for coordinate in found])
    ]


def _kind(coordinate: InternalCoordinate, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return what a coordinate is: its symbols, from the end that makes equal ones equal."""
    chain = tuple(symbols[atom] for atom in coordinate.atoms)
    return (coordinate.kind, *(chain if coordinate.kind == "bond" else min(chain, chain[::-1])))


def _title(kind: tuple[str, ...], members: list[InternalCoordinate]) -> str:
    return title_of_one(members[0]) if len(members) == 1 else _written("-".join(kind[1:]), members[0])


def title_of_one(coordinate: InternalCoordinate) -> str:
    """Return what stands at the axis of one coordinate: its atoms, kind and unit."""
    return _written(coordinate.label, coordinate)


def _written(atoms: str, coordinate: InternalCoordinate) -> str:
    return f"{atoms}\n{NAMES[coordinate.kind]}({coordinate.unit})"


def _close(members: list[int], values_kt: list[np.ndarray]) -> list[list[int]]:
    """Split coordinates into those whose ranges lie so near each other that all motion shows on one axis."""
    ranges = {index: (float(np.nanmin(values_kt[index])), float(np.nanmax(values_kt[index]))) for index in members}
    ordered = sorted(members, key=lambda index: ranges[index])
    together = [[ordered[0]]]
    for index in ordered[1:]:
        lower, upper = ranges[together[-1][0]][0], max(ranges[one][1] for one in together[-1])
        width = (upper - lower) + (ranges[index][1] - ranges[index][0])
        if ranges[index][0] - upper > width > 0.0:
            together.append([])
        together[-1].append(index)
    return [sorted(part) for part in together]
