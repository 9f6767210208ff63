"""The learned grid: points at which the density is seen, by pivoted QR of the density functions.

Points are taken one after the other where the functions not yet told apart are largest (Q. Du, P. Sorensen, SIAM J. Sci.
Comput. 38, A1 (2016), "Q-DEIM"); two for each function make the reading ``ζ = B^+`` of its coefficients stable.  A point stands
for its images and tells the functions of every species apart: two for each function of the largest species are enough.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr

from mpiqmd.grid.chosen_points import leading_points, untied
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.learned.densities import DensityFunctions

CANDIDATES = 10_000
"""Grid points among which to choose, those where the functions are largest."""


def choose_points(functions: DensityFunctions, per_function: float) -> np.ndarray:
    """Return global indices of points, so many for each function of the largest species, shape (Q,).  Collective."""
    grid, importance_local = functions.grid, np.zeros(functions.grid.local_size)
    importance_local[functions.orbits.first] = (functions.local**2).sum(axis=0)
    candidates = leading_points(grid, importance_local, CANDIDATES)
    at_candidates_fq = functions.at(candidates) * untied(candidates)
    count = min(int(np.ceil(per_function * np.bincount(functions.labels_f).max())), len(candidates))
    return candidates[on_rank_zero(grid.comm, _pivots, at_candidates_fq, count)]


def _pivots(at_candidates_fq: np.ndarray, count: int) -> np.ndarray:
    """Return places among candidates, in rounds of one for each function.  Rank 0 only."""
    chosen: list[int] = []
    free = np.ones(at_candidates_fq.shape[1], bool)
    while len(chosen) < count:
        places = np.flatnonzero(free)
        order = qr(at_candidates_fq[:, places], pivoting=True, mode="r")[1]
        new = places[order[: min(len(at_candidates_fq), count - len(chosen))]]
        chosen += new.tolist()
        free[new] = False
    return np.array(chosen)
