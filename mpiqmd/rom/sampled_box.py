"""The smallest and largest coordinates of the geometries that a reduced model was trained on.

Described by bond lengths and angle where the frame has a vertex (bent XY2), by body coordinates otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.molecule.bent import bent_coordinates
from mpiqmd.molecule.symmetry import Symmetry, with_images


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


def sampled_box(
    positions_sav: np.ndarray,
    vertex: int | None = None,
    symmetries: Sequence[Symmetry] = (),
) -> SampledBox:
    """Return the box of training geometries in the body frame.  Not collective.

    Parameters
    ----------
    positions_sav
        Body-frame positions, shape (S, N, 3), bohr.
    vertex
        Central atom of a bent XY2 frame; None for body coordinates.
    symmetries
        Operations that the snapshots were closed under: images count as trained on.
    """
    images = with_images(positions_sav, symmetries)
    values_sk = np.array([_values(positions_av, vertex) for positions_av in images])
    names = ("L1", "L2", "theta") if vertex is not None else _axis_names(images[0].shape[0])
    return SampledBox(names, values_sk.min(axis=0), values_sk.max(axis=0), vertex)


def _values(body_positions_av: np.ndarray, vertex: int | None) -> Sequence[float]:
    if vertex is None:
        return np.asarray(body_positions_av, float).ravel().tolist()
    return bent_coordinates(body_positions_av, vertex)


def _axis_names(n_atoms: int) -> tuple[str, ...]:
    return tuple(f"{axis}{atom}" for atom in range(n_atoms) for axis in "xyz")
