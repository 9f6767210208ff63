"""Geometries a bit further out than those that dynamics has met, so that it does not leave the grown model again at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from mpiqmd.errors import ConvergenceError, GeometryError
from mpiqmd.kohnsham.ground_state import ElectronicSolver
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.full_solutions import FullSolution

REACH = 1.25
"""Distance from the mean of the training geometries, in that of the geometry that was met.

Water, trained at 300 K, in 10 ps at 1,000 K: the model grows as often without them, three times, but 11 instead of 3 steps
leave its tables, and forces of the farthest unseen frames are nine times as wrong (3.6e-4 Ha/bohr; those of most are not).
"""


def beyond(
    model: KohnShamModel,
    solver: ElectronicSolver,
    frame: BodyFrame,
    solved: Sequence[FullSolution],
    centre_av: np.ndarray,
    log: Log,
) -> list[FullSolution]:
    """Return full solutions at as many geometries, each further out than one of those solved; fewer where there is none.

    Collective.

    Parameters
    ----------
    model, solver, frame
        The physics, its full-space solver, and the body frame.
    solved
        What dynamics has met.
    centre_av
        The mean of the training geometries and their images (N, 3), bohr.
    log
        Where progress goes.
    """
    found, countdown = [], Countdown(log, len(solved), "further out")
    for met in solved:
        with suppress(GeometryError, ConvergenceError):
            outer_av = frame.align(centre_av + REACH * (met.positions_av - centre_av)).body_positions_av
            problem = model.place(outer_av)
            found.append(FullSolution.of(problem, solver.solve(problem, met.orbitals)))
        countdown.advance()
    return found
