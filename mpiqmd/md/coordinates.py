"""Internal coordinates along a trajectory; apart from the trajectory itself, which is read without SciPy."""

from __future__ import annotations

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import InternalCoordinate, internal_coordinates


def coordinates_of(trajectory: Trajectory, reference: Trajectory | None = None) -> list[InternalCoordinate]:
    """Return all internal coordinates; the first frame of ``reference``, or of the trajectory itself, decides which."""
    reference_av = (reference or trajectory).positions_tav[0]
    return internal_coordinates(trajectory.symbols, trajectory.positions_tav, trajectory.box_v, reference_av)
