"""The region of geometries a reduced model was trained on, and how far a geometry is outside.

Described by bond lengths and angle where the frame has a vertex (bent XY2), by body coordinates otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpiqmd.molecule.bent import bent_coordinates
from mpiqmd.molecule.symmetry import mirror_image


@dataclass(frozen=True)
class SampledBox:
    """Smallest and largest value of every coordinate over the training geometries.  Replicated.

    Attributes
    ----------
    names
        Names of the coordinates: ``L1``, ``L2`` (bohr), ``theta`` (radian), or ``x0``, ``y0``, ... (bohr).
    lower_k, upper_k
        Bounds.
    vertex
        Central atom of a bent XY2, or None for body coordinates.
    """

    names: tuple[str, ...]
    lower_k: np.ndarray
    upper_k: np.ndarray
    vertex: int | None = None

    def coordinates(self, body_positions_av: np.ndarray) -> np.ndarray:
        """Return the coordinates of a geometry in the body frame, shape (coordinates,), bohr and radians.  Not collective."""
        return np.array(_values(body_positions_av, self.vertex))

    def excess(self, body_positions_av: np.ndarray) -> float:
        """Return how far outside a geometry is, in half-widths of the box; 0 inside.  Not collective.

        A coordinate that did not vary in training is measured by the largest half-width of the others.
        """
        # plain floats: this runs in every step
        values = _values(body_positions_av, self.vertex)
        beyond = [max(low - x, x - high) / unit for x, (low, high, unit) in zip(values, self._limits, strict=True)]
        largest = max(beyond)
        return largest if largest > 1e-9 else 0.0

    @cached_property
    def _limits(self) -> list[tuple[float, float, float]]:
        """Bounds of every coordinate, and the length in which what is beyond is measured."""
        # What varied by round-off only did not vary; where nothing did, a thousandth of a bohr or radian is the measure.
        half = 0.5 * (self.upper_k - self.lower_k)
        widest = max(float(half.max(initial=0.0)), 1e-3)
        units = np.where(half > 1e-6, half, widest)
        return list(zip(self.lower_k.tolist(), self.upper_k.tolist(), units.tolist(), strict=True))


def sampled_box(
    positions_sav: np.ndarray,
    vertex: int | None = None,
    mirrors: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> SampledBox:
    """Return the box of training geometries in the body frame.  Not collective.

    Parameters
    ----------
    positions_sav
        Body-frame positions, shape (S, N, 3), bohr.
    vertex
        Central atom of a bent XY2 frame; None for body coordinates.
    mirrors
        (signs, permutation) of the mirrors the snapshots were closed under: images count as trained on.
    """
    images = [np.asarray(positions_av, float) for positions_av in positions_sav]
    for mirror in mirrors:
        images += [mirror_image(positions_av, mirror) for positions_av in images[: len(positions_sav)]]
    values_sk = np.array([_values(positions_av, vertex) for positions_av in images])
    names = ("L1", "L2", "theta") if vertex is not None else _axis_names(images[0].shape[0])
    return SampledBox(names, values_sk.min(axis=0), values_sk.max(axis=0), vertex)


def _values(body_positions_av: np.ndarray, vertex: int | None) -> Sequence[float]:
    if vertex is None:
        return np.asarray(body_positions_av, float).ravel().tolist()
    return bent_coordinates(body_positions_av, vertex)


def _axis_names(n_atoms: int) -> tuple[str, ...]:
    return tuple(f"{axis}{atom}" for atom in range(n_atoms) for axis in "xyz")
