"""Radial functions placed at the nuclei: their sum on the grid, and how its overlap with a field changes as they move.

    s(r) = Σ_a f_a(|r - R_a|),      ∂/∂R_a ∫ s v dr = -∫ f_a'(d) (r - R_a)/d  v(r) dr,   d = |r - R_a|

Both with the grid's own sum for the integral, so that the second is the exact derivative of the first's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.radial import RadialFunction
from mpiqmd.grid.support import boxes


def add_placed(functions: Sequence[RadialFunction | None], grid: Grid, positions_av: np.ndarray, local: np.ndarray) -> None:
    """Add the functions of all nuclei (None where there is none) to this rank's block.  Not collective."""
    for function, position_v in zip(functions, positions_av, strict=True):
        if function is None:
            continue
        for box in boxes(grid, position_v, function.radius):
            local[box.slices] += function.reduced(box.distances)


def placed_gradient_local(functions: Sequence[RadialFunction | None], positions_av: np.ndarray, field: Field) -> np.ndarray:
    """Return this rank's share of ``∂/∂R_a ∫ s v dr``, shape (N, 3), in the unit of the integral per bohr.  Not collective."""
    grid, gradient_av = field.grid, np.zeros_like(positions_av)
    for a, (function, position_v) in enumerate(zip(functions, positions_av, strict=True)):
        if function is None:
            continue
        for box in boxes(grid, position_v, function.radius):
            distances = np.maximum(box.distances, 1e-12)
            weighted = function.reduced_derivative(distances) / distances * field.local[box.slices]
            gradient_av[a] -= moments(weighted, box.x, box.y, box.z) * grid.volume_element
    return gradient_av


def moments(weighted: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the sums of ``weighted`` (z, y, x) times x, y and z, shape (3,), in its unit times bohr.  Not collective."""
    plane = weighted.sum(axis=0)
    return np.array([plane.sum(axis=0) @ x.ravel(), plane.sum(axis=1) @ y.ravel(), weighted.sum(axis=(1, 2)) @ z.ravel()])
