"""Coordinates along which a molecule moves far: what windows of one model after the other are laid along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.molecule.inversion import Inversion
from mpiqmd.molecule.torsion import Torsion


class LargeAmplitude(Protocol):
    """One internal coordinate of large amplitude; a rigid motion of the molecule does not change it."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def article(self) -> str:
        """Its name with an article."""
        ...

    @property
    def atoms(self) -> set[int]:
        """The atoms that it speaks of, counted from 0."""
        ...

    @property
    def period(self) -> float | None:
        """Values that are so far apart are the same, in its unit."""
        ...

    def value(self, positions_av: np.ndarray) -> float:
        """Return the value at positions (N, 3), bohr.  Not collective.  Raises GeometryError where there is none."""
        ...

    def gradient(self, positions_av: np.ndarray) -> np.ndarray:
        """Return its derivative with respect to the positions, shape (N, 3), in its unit per bohr.  Not collective."""
        ...

    def moved(self, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return positions (N, 3), bohr, with this value and otherwise as little changed as may be.  Not collective."""
        ...

    def carried(self, vectors_av: np.ndarray, positions_av: np.ndarray, value: float) -> np.ndarray:
        """Return vectors at the atoms, shape (N, 3), in their unit, as :meth:`moved` turns them.  Not collective."""
        ...

    def described(self) -> dict[str, Any]:
        """Return plain data from which :func:`coordinate_of` makes it again."""
        ...

    def shown(self, value: float) -> str:
        """Return a value in words."""
        ...


def difference(coordinate: LargeAmplitude, value: float, origin: float) -> float:
    """Return how far a value is from another, the short way round where there is a period.  Not collective."""
    apart = value - origin
    period = coordinate.period
    return apart if period is None else apart - period * round(apart / period)


def coordinate_of(described: dict[str, Any]) -> LargeAmplitude:
    """Return the coordinate that was described.  Raises DataFileError if it is none that this version knows."""
    kinds: dict[str, Callable[[dict[str, Any]], LargeAmplitude]] = {Torsion.name: Torsion.of, Inversion.name: Inversion.of}
    try:
        return kinds[described["kind"]](described)
    except (KeyError, TypeError, ValueError) as error:
        raise DataFileError(
            f"a coordinate of large amplitude is described by {described}; kinds are {', '.join(kinds)}. Train again with "
            "`mpiqmd train`: snapshots that are solved are kept."
        ) from error
