r"""What the walls of an isolated cell do to the molecule in it, from the density next to them.

Orbitals vanish on the walls.  Density that would fall as :math:`e^{-2 \kappa z}` towards a wall is there proportional to
:math:`\sinh^2 \kappa t` at a distance t from it.  Its integrals N over two planes give κ, that over the plane nearest to
the wall the pressure of the electrons on it, and both how much the energy lies too high, since the pressure falls by
:math:`e^{-2 \kappa}` with every bohr between molecule and wall:

.. math:: \frac{N(2t)}{N(t)} = 4 \cosh^2 \kappa t, \qquad
    p = \tfrac12 \oint \sum_i f_i |\partial_n \varphi_i|^2 = \frac{\kappa^2}{2 w \sinh^2 \kappa s} N(s), \qquad
    \Delta E = \frac{p}{2 \kappa},

where w < 1 is what finite differences of high order, which take functions for zero beyond a wall, leave of the square of a
function at its first point.  The pressures on opposite walls are also what the walls add to the net force on the nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mpiqmd.grid import stencils
from mpiqmd.grid.arrays import Field
from mpiqmd.kohnsham.electrons import Electrons, OrbitalSpace
from mpiqmd.parallel.comm import sum_over_ranks

TOLERATED = 0.9e-3
"""Energy (Ha) by which the walls of a cell may raise a molecule: about 1 mHa, of which the estimate may miss a quarter."""
LOOK = 0.75
"""Distance t from a wall, bohr."""
SMALLEST_DECAY = 0.3
"""Smallest κ (1/bohr): electrons that are pressed against a wall do not decay towards it."""
FREE_DECAY = 0.6
"""Smallest κ (1/bohr) with which a larger cell is estimated: what is squeezed now decays faster once it has room."""
ROUNDING = 0.5
"""Cells that would do are multiples of this, bohr."""


@dataclass(frozen=True)
class Walls:
    """The density at the walls and what follows from it.

    Attributes
    ----------
    density
        Largest density one plane from a wall, electrons per bohr³.
    pressures_vs
        Force of the electrons on the lower and the upper wall of each axis, shape (3, 2), Ha/bohr.
    decays_vs
        κ before each wall, shape (3, 2), 1/bohr.
    cell_v
        Edges of the cell, bohr.
    """

    density: float
    pressures_vs: np.ndarray
    decays_vs: np.ndarray
    cell_v: np.ndarray

    @property
    def energy_errors_vs(self) -> np.ndarray:
        """How much the energy lies too high for the sake of each wall, shape (3, 2), Ha."""
        return self.pressures_vs / (2.0 * self.decays_vs)

    @property
    def energy_error(self) -> float:
        """How much the energy lies too high, Ha."""
        return float(self.energy_errors_vs.sum())

    @property
    def net_force_v(self) -> np.ndarray:
        """What the walls add to the sum of the forces on the nuclei, shape (3,), Ha/bohr."""
        return self.pressures_vs[:, 0] - self.pressures_vs[:, 1]

    @property
    def sufficient_cell_v(self) -> np.ndarray:
        """Edges of a cell about the same centre whose walls raise the energy by ``TOLERATED`` at most, shape (3,), bohr."""
        if self.energy_error <= TOLERATED:
            return self.cell_v
        share = TOLERATED / self.energy_errors_vs.size
        falls_vs = 2.0 * np.maximum(self.decays_vs, FREE_DECAY)
        distances_vs = np.log(np.maximum(self.energy_errors_vs / share, 1.0)) / falls_vs
        return np.ceil((self.cell_v + 2.0 * distances_vs.max(axis=1)) / ROUNDING - 1e-9) * ROUNDING


def examine_walls(electrons: Electrons) -> Walls:
    """Return what the walls of an isolated cell do to electrons, on the grid of their orbitals.  Collective.

    A finer grid of the density says less: interpolated orbitals ring where there is next to nothing.
    """
    grid = electrons.orbitals.grid
    density = Electrons(OrbitalSpace(electrons.orbitals), electrons.density_matrix_nn).density
    kept = first_point(grid.order)
    pressures_vs, decays_vs, largest = np.zeros((3, 2)), np.zeros((3, 2)), 0.0
    for axis, v in ((0, 2), (1, 1), (2, 0)):
        profile = _profile(density, axis)
        spacing = float(grid.spacing_v[v])
        for side, towards in enumerate((profile, profile[::-1])):
            decay = _decay(towards, spacing)
            decays_vs[v, side] = decay
            pressures_vs[v, side] = 0.5 * (decay / np.sinh(decay * spacing)) ** 2 * max(float(towards[0]), 0.0) / kept
        largest = max(largest, _largest_at_walls(density, axis))
    return Walls(max(grid.comm.allgather(largest)), pressures_vs, decays_vs, grid.cell_v)


def _profile(density: Field, axis: int) -> np.ndarray:
    """Return the integrals of a density over the planes across an axis, electrons per bohr.  Collective."""
    grid = density.grid
    whole = np.zeros(grid.shape[axis])
    whole[grid.local_slices[axis]] = density.local.sum(axis=tuple({0, 1, 2} - {axis}))
    return sum_over_ranks(grid.comm, whole) * grid.volume_element / grid.spacing_v[2 - axis]


def _largest_at_walls(density: Field, axis: int) -> float:
    """Return the largest density of this rank's part of the first and the last plane across an axis."""
    owned = range(density.grid.start[axis], density.grid.start[axis] + density.grid.local_shape[axis])
    ends = [i - owned.start for i in (0, density.grid.shape[axis] - 1) if i in owned]
    return float(np.take(density.local, ends, axis=axis).max(initial=0.0))


def _decay(profile: np.ndarray, spacing: float) -> float:
    """Return κ from the integrals over planes, the one nearest to the wall first."""
    steps = min(max(1, round(LOOK / spacing)), len(profile) // 4)
    near, far = float(profile[steps - 1]), float(profile[2 * steps - 1])
    ratio = np.sqrt(far / near) / 2.0 if near > 0.0 else 1.0
    return max(SMALLEST_DECAY, float(np.arccosh(max(ratio, 1.0))) / (steps * spacing))


@lru_cache(maxsize=8)
def first_point(order: int) -> float:
    """Return w: the square of a function at the first point against ``|∂_n φ|² s²``.

    That of the ground state of a particle in a box of length 1, whose slope at its walls is √2 π.  Not collective.
    """
    n = 60
    laplacian = stencils.matrix(stencils.second_derivative(order), float(n) ** 2, n - 1, periodic=False)
    _, states = np.linalg.eigh(-0.5 * laplacian)
    return float(states[0, 0] ** 2 * n**3 / (2.0 * np.pi**2))
