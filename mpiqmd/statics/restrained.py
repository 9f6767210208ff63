r"""A surface with a spring that holds one internal coordinate near a value: :math:`E + \tfrac12 K (\varphi - \varphi_0)^2`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.large_amplitude import LargeAmplitude, difference
from mpiqmd.molecule.surface import Memory, Surface, evaluation_at, one_by_one

STIFFNESS = 1.0
"""Ha per square of the coordinate's unit: several times that of a bond angle, so that a hundredth of a radian is left."""


class RestrainedSurface:
    """Another surface, and a spring along a coordinate.  Construction is not collective.

    Parameters
    ----------
    surface
        The surface.
    coordinate, value
        What is held, and where.
    """

    def __init__(self, surface: Surface, coordinate: LargeAmplitude, value: float) -> None:
        self.surface, self.coordinate, self.held = surface, coordinate, value

    def fresh(self, company: int = 1) -> Memory:
        """Return the surface's memory of a new owner.  Not collective."""
        return self.surface.fresh(company)

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Memory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces, those of the spring included, or errors in their places.  Collective."""
        return one_by_one(self._held, positions_bav, memories)

    def _held(self, positions_av: np.ndarray, memory: Memory) -> Evaluation:
        found, coordinate = evaluation_at(self.surface, positions_av, memory), self.coordinate
        off = difference(coordinate, coordinate.value(positions_av), self.held)
        forces_av = found.forces_av - STIFFNESS * off * coordinate.gradient(positions_av)
        return replace(found, energy=found.energy + 0.5 * STIFFNESS * off**2, forces_av=forces_av)
