"""Extrapolation of Hamiltonians by direct inversion in the iterative subspace.

    P <- f(Σ_i c_i H_i),   c minimises |Σ_i c_i (P~_i - P_i)|,   Σ_i c_i = 1

Near a minimum this takes a third of the evaluations of line searches; far from one the free energy may rise, which the
caller hears of by getting the best point back.

Source: P. Pulay, J. Comput. Chem. 3, 556 (1982).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.kohnsham.ensemble_search import Point, Search
from mpiqmd.parallel.comm import decide

if TYPE_CHECKING:
    from mpi4py import MPI


def extrapolate(search: Search, point: Point, max_iterations: int, depth: int, *, allowance: float, patience: int = 5) -> Point:
    """Return the first point within the tolerance, or the best when extrapolation stops paying.  Collective.

    Parameters
    ----------
    search
        Evaluates; its tolerance ends the extrapolation.
    point
        Where to start.
    max_iterations
        Evaluations allowed.
    depth
        Hamiltonians kept.
    allowance
        Rise of the free energy that counts as none, Ha.
    patience
        Evaluations in which the residual has to halve.
    """
    points: list[Point] = []
    best, residuals, misses = point, [point.residual], 0
    for _ in range(max_iterations):
        if point.residual <= search.tolerance:
            break
        points = [*points, point][-depth:]
        weights = _pulay_coefficients(search.comm, points)
        point = search.at(search.occupied(np.tensordot(weights, [p.hamiltonian_mm for p in points], axes=1)))
        residuals.append(point.residual)
        change = point.free_energy - best.free_energy
        # One rise is how extrapolation learns how far to go; two in a row are a wrong way.
        misses = misses + 1 if change > allowance else 0
        stalled = len(residuals) > patience and min(residuals[-patience:]) > 0.5 * min(residuals[:-patience])
        if misses == 2 or stalled:
            break
        if change < -search.noise(best) or (misses == 0 and point.residual < best.residual):
            best = point
            search.history.append(point.free_energy)
    return best


def _pulay_coefficients(comm: MPI.Comm, points: list[Point]) -> np.ndarray:
    """Return the c that minimise ``|Σ c_i e_i|`` with sum 1, the same on every rank."""
    errors = np.array([point.step_mm.ravel() for point in points])
    changes = errors[:-1] - errors[-1]
    norms = np.linalg.norm(changes, axis=1)
    norms[norms == 0.0] = 1.0
    # Columns of one length, so that the cut of the singular values drops repetitions and nothing else.
    others = np.linalg.lstsq((changes / norms[:, None]).T, -errors[-1], rcond=1e-10)[0] / norms
    return decide(comm, np.append(others, 1.0 - others.sum()))
