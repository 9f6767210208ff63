"""What a model that is not good enough gets more of: modes, and geometries where its estimated errors are largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConvergenceError, GeometryError
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.basis import ReducedBasis, rank_for
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.options import RomOptions
from mpiqmd.sampling.selection import farthest_points

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

AIM = 0.5
"""Share of a tolerance that the modes may take: the rest is for what lies between the geometries."""
SMALLEST_STEP = 0.01
"""Least share of what was left out of the modes that one round still leaves out."""
GROWTH, FEWEST = 0.25, 4
"""Share of the training geometries that a round adds, and how many at least."""
FINER = 0.2
"""Energy that the grid-free form leaves out, in units of what it left out before."""
CROWD = 3
"""The geometries that are added represent so many times as many, those with the largest estimates."""


def finer_fraction(basis: ReducedBasis, options: RomOptions, excess: float) -> float | None:
    """Return the ``rom.energy_fraction`` of a model with more modes, None where there are none or none are allowed.

    Not collective.

    Parameters
    ----------
    basis, options
        The modes there are, and by which rule.
    excess
        Errors at the training geometries in units of the tolerance: they are of the order of the singular values left out.
    """
    most = len(basis.singular_values_k)
    if options.max_rank is not None:
        most = min(most, options.max_rank)
    if options.rank is not None or basis.rank >= most:
        return None
    power = 2 if options.criterion == "sigma2" else 1
    left_out = (1.0 - options.energy_fraction) * min(max(AIM / excess, SMALLEST_STEP), AIM) ** power
    while rank_for(basis.singular_values_k, 1.0 - left_out, options.criterion) <= basis.rank:
        if 1.0 - left_out == 1.0:
            return None
        left_out *= AIM
    return 1.0 - left_out


def how_many_more(count: int) -> int:
    """Return how many geometries a round adds to so many.  Not collective."""
    return max(FEWEST, math.ceil(GROWTH * count))


def largest_estimates(
    stage: OnlineStage, candidates_sav: np.ndarray, count: int, symmetries: Sequence[Symmetry], log: Log
) -> np.ndarray:
    """Return the candidates to solve next, shape (at most count, N, 3), bohr: few that represent the worst.  Collective.

    Worst are those with the largest estimated errors, before all where the model has no answer.
    """
    estimates_s = np.full(len(candidates_sav), np.inf)
    countdown = Countdown(log, len(candidates_sav), "candidate")
    for s, positions_av in enumerate(candidates_sav):
        with suppress(GeometryError, ConvergenceError):
            estimates_s[s] = stage.error_estimate(positions_av, stage.answer(positions_av).density_matrix_mm)
        countdown.advance(f"estimated error {estimates_s[s]:.1e} Ha")
    estimates_s = decide(stage.model.grid.comm, estimates_s)
    worst = np.argsort(-estimates_s, kind="stable")[: CROWD * count]
    chosen = worst[farthest_points(candidates_sav[worst], count, symmetries)]
    log(f"{len(chosen)} of {len(candidates_sav)} candidates, with estimated errors up to {estimates_s[chosen].max():.1e} Ha")
    return candidates_sav[chosen]
