"""The Coulomb potential outside a charge from its multipole moments, as polynomials in Cartesian coordinates.

    v(r) = Σ_l |r|^-(2l+1) ∫ ρ(r') |r|^l |r'|^l P_l(cos γ) dr',    l = 0..L,

and ``|r|^l |r'|^l P_l(cos γ)`` is a polynomial of degree l in r and in r', from the coefficients of P_l and
``(r·r')^p = Σ p!/(a! b! c!) (xx')^a (yy')^b (zz')^c``.  So the moments are three small matrix products and one sum over
ranks, and the potential on a block of points three more.  Coordinates are in units of half the longest edge.
"""

from __future__ import annotations

from math import comb, factorial

import numpy as np

from mpiqmd.grid.arrays import Field
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import sum_over_ranks


class Multipoles:
    """Moments of a density about the centre of the cell, and the potential they make.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid.
    degree
        Highest angular momentum L.
    """

    def __init__(self, grid: Grid, degree: int) -> None:
        self.grid, self.degree = grid, degree
        self.unit = 0.5 * float(grid.cell_v.max())
        self.kernels = [legendre_kernel(angular) for angular in range(degree + 1)]
        self._powers = [self.powers(axis.ravel()) for axis in grid.local_coordinates]

    def powers(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the powers 0..L of coordinates in units of ``unit``, shape (points, L + 1).  Not collective."""
        return np.vander(coordinates / self.unit, self.degree + 1, increasing=True)

    def moments(self, density: Field) -> np.ndarray:
        """Return ``∫ ρ x^a y^b z^c dr`` at index [c, b, a], for all powers to L of each.  Collective.

        Shape (L + 1, L + 1, L + 1), without unit: the coordinates are counted in ``unit``.
        """
        z, y, x = self._powers
        lines = density.local @ x
        planes = np.einsum("zya,yb->zba", lines, y, optimize=True)
        local = np.einsum("zba,zc->cba", planes, z, optimize=True)
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, local)

    def potential(self, moments_cba: np.ndarray, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the potential, shape (z, y, x), Ha, on the block of points with these coordinates, bohr.  Not collective."""
        squares = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2) / self.unit**2
        z_powers, y_powers, x_powers = (self.powers(axis) for axis in (z, y, x))
        total, factor = np.zeros(squares.shape), 1.0 / (self.unit * np.sqrt(squares))
        for kernel in self.kernels:
            n = len(kernel)
            coefficients = np.tensordot(kernel, moments_cba[:n, :n, :n], axes=3)
            lines = np.tensordot(z_powers[:, :n], coefficients, axes=1)
            total += factor * (y_powers[:, :n] @ lines @ x_powers[:, :n].T)
            factor = factor / squares
        return total


def legendre_kernel(angular: int) -> np.ndarray:
    """Return the coefficients of ``|r|^l |r'|^l P_l(cos γ)`` in the monomials of r and r'.  Not collective.

    Index [c, b, a, c', b', a'] belongs to ``z^c y^b x^a z'^c' y'^b' x'^a'``, powers 0..l: six axes of length l + 1 make its
    shape.  Without unit.
    """
    kernel = np.zeros((angular + 1,) * 6)
    for k in range(angular // 2 + 1):
        weight = (-1) ** k * comb(angular, k) * comb(2 * angular - 2 * k, angular) / 2**angular
        for powers, product in _multinomial(angular - 2 * k).items():
            for left, left_weight in _multinomial(k).items():
                for right, right_weight in _multinomial(k).items():
                    row = tuple(p + 2 * q for p, q in zip(powers, left, strict=True))
                    column = tuple(p + 2 * q for p, q in zip(powers, right, strict=True))
                    kernel[row + column] += weight * product * left_weight * right_weight
    return kernel


def _multinomial(total: int) -> dict[tuple[int, int, int], int]:
    """Return ``total! / (a! b! c!)`` for all powers (a, b, c) that add up to it."""
    return {
        (a, b, total - a - b): factorial(total) // (factorial(a) * factorial(b) * factorial(total - a - b))
        for a in range(total + 1)
        for b in range(total + 1 - a)
    }
