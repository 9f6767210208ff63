"""What error control wants to know of a reduced solver's answer beyond what every surface does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiqmd.kohnsham.model import Problem
from mpiqmd.molecule.body_surface import Answered, Solved


class ReducedAnswer(Answered, Protocol):
    """An answer with its electrons."""

    @property
    def density_matrix_mm(self) -> np.ndarray:
        """P over the modes, shape (modes, modes), without unit."""
        ...

    @property
    def problem(self) -> Problem | None:
        """The Kohn-Sham problem there, None where the solver works without."""
        ...


@dataclass(eq=False, slots=True)
class GridSolved(Solved):
    """A :class:`ReducedAnswer` found on the grid."""

    density_matrix_mm: np.ndarray
    problem: Problem
