"""Line searches over density matrices, each towards the target of its own Hamiltonian.

    P(β) = P + β (P~ - P),   0 < β <= 1,   P~ = f(H[P])

A line is known by the values and slopes of the free energy at its ends: the lowest point of their cubic is tried first, then
those of parabolas nearer by, until one is lower.  The free energy never rises.

Source: N. Marzari, D. Vanderbilt, M. C. Payne, Phys. Rev. Lett. 79, 1337 (1997).
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.ensemble_search import Point, Search


def search_lines(search: Search, point: Point, max_iterations: int) -> Point:
    """Return where line searches lead: until the step is short or lowers the energy by no more than noise.  Collective.

    At most ``max_iterations`` lines are searched; what is accepted goes into the history of the search.
    """
    for _ in range(max_iterations):
        slope = search.slope(point, point.step_mm)
        if point.residual <= search.tolerance or abs(slope) < 10.0 * search.noise(point):
            break
        better = _line_minimum(search, point, slope)
        if better is None:
            break
        point = better
        search.history.append(point.free_energy)
    return point


def _line_minimum(search: Search, point: Point, slope: float) -> Point | None:
    """Return a lower point between ``point`` and its target, or None if there is none beyond round-off."""
    target = search.at(point.density_matrix_mm + point.step_mm)
    rise = target.free_energy - point.free_energy
    beta = _lowest_energy(rise, slope, search.slope(target, point.step_mm))
    for _ in range(10):
        trial = target if beta == 1.0 else search.at(point.density_matrix_mm + beta * point.step_mm)
        rise = trial.free_energy - point.free_energy
        if rise < 0.0:
            return trial
        curvature = rise - slope * beta
        fitted = -0.5 * slope * beta**2 / curvature if curvature > 0 else 0.0
        beta = float(np.clip(fitted, 0.1 * beta, 0.5 * beta))
    return None


def _lowest_energy(rise: float, slope_0: float, slope_1: float) -> float:
    """Return β in (0, 1] where the cubic through both values and slopes of the line is lowest."""
    if slope_0 >= 0.0:
        return 0.5
    quadratic, cubic = 3.0 * rise - 2.0 * slope_0 - slope_1, slope_0 + slope_1 - 2.0 * rise
    discriminant = quadratic**2 - 3.0 * cubic * slope_0
    if discriminant >= 0.0 and quadratic + np.sqrt(discriminant) > 0.0:
        return float(np.clip(-slope_0 / (quadratic + np.sqrt(discriminant)), 1e-3, 1.0))
    return 1.0 if rise < 0.0 else float(np.clip(-0.5 * slope_0 / (rise - slope_0), 1e-3, 1.0))
