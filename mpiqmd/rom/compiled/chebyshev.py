"""Smooth functions of a position in a box, tabulated on tensor Chebyshev nodes with analytic derivatives.

On the nodes ``x_k = cos(π (k + 1/2) / n)`` of [-1, 1] a function is interpolated by Chebyshev polynomials,

    f(x) = Σ_j c_j T_j(x),    c_j = (2 - δ_j0) / n Σ_k f(x_k) T_j(x_k),

with an error that falls geometrically for the analytic functions met here (matrix elements of a potential centred on a
moving atom).  A box has one axis per coordinate that moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from mpiqmd.rom.compiled import kernels


@dataclass(frozen=True)
class ChebyshevBox:
    """The box an atom moves in and the directions it moves along.

    Attributes
    ----------
    lower_v, upper_v
        Corners, bohr, shape (3,); equal where the atom does not move.
    n_nodes
        Nodes per moving direction.
    """

    lower_v: np.ndarray
    upper_v: np.ndarray
    n_nodes: int

    @property
    def axes(self) -> list[int]:
        """The moving directions among x, y, z."""
        return [v for v in range(3) if self.upper_v[v] > self.lower_v[v]]

    def nodes(self) -> np.ndarray:
        """Return the tensor nodes as positions, shape (n_nodes^d, 3), the last moving direction fastest."""
        unit = np.cos(np.pi * (np.arange(self.n_nodes) + 0.5) / self.n_nodes)
        centre, half = 0.5 * (self.lower_v + self.upper_v), 0.5 * (self.upper_v - self.lower_v)
        positions = []
        for point in product(unit, repeat=len(self.axes)):
            position = centre.copy()
            position[self.axes] += half[self.axes] * np.array(point)
            positions.append(position)
        return np.array(positions)

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Return coefficients, shape (n,) * d + (...), of values at :meth:`nodes`, shape (n^d, ...)."""
        n, d = self.n_nodes, len(self.axes)
        angles = np.pi * (np.arange(n) + 0.5) / n
        transform = np.cos(np.outer(np.arange(n), angles)) * (2.0 / n)
        transform[0] *= 0.5
        result = values.reshape((n,) * d + values.shape[1:])
        for axis in range(d):
            result = np.moveaxis(np.tensordot(transform, result, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(result)

    def excess(self, position_v: np.ndarray) -> float:
        """Return how far outside the box a position is, bohr; 0 inside."""
        beyond = np.maximum(self.lower_v - position_v, position_v - self.upper_v)
        moving = self.axes
        return float(max(0.0, beyond[moving].max())) if moving else 0.0

    def polynomials(self, position_v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return T_j and dT_j/dr (1/bohr) along every moving direction, each of shape (d, n)."""
        axes = self.axes
        half = 0.5 * (self.upper_v - self.lower_v)[axes]
        x = (position_v[axes] - 0.5 * (self.upper_v + self.lower_v)[axes]) / half
        values, slopes = np.zeros((len(axes), self.n_nodes)), np.zeros((len(axes), self.n_nodes))
        values[:, 0] = 1.0
        values[:, 1], slopes[:, 1] = x, 1.0
        for j in range(2, self.n_nodes):
            values[:, j] = 2.0 * x * values[:, j - 1] - values[:, j - 2]
            slopes[:, j] = 2.0 * values[:, j - 1] + 2.0 * x * slopes[:, j - 1] - slopes[:, j - 2]
        return values, slopes / half[:, None]

    def add_to(self, coefficients: np.ndarray, position_v: np.ndarray, values: np.ndarray, gradient: np.ndarray) -> None:
        """Add the function at a position to ``values`` (K,) and set ``gradient`` (3, K): the compiled form of evaluate."""
        shape = [self.n_nodes if self.upper_v[v] > self.lower_v[v] else 1 for v in range(3)]
        table = coefficients.reshape(*shape, coefficients.shape[-1])
        kernels.chebyshev_table(table, self.lower_v, self.upper_v, position_v, values, gradient)

    def evaluate(self, coefficients: np.ndarray, position_v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the function and its gradient at a position: shapes (...) and (3, ...)."""
        axes = self.axes
        gradient = np.zeros((3, *coefficients.shape[len(axes) :]))
        if not axes:
            return coefficients, gradient
        values, slopes = self.polynomials(position_v)
        for direction, v in enumerate(axes):
            gradient[v] = _contract(coefficients, [slopes[k] if k == direction else values[k] for k in range(len(axes))])
        return _contract(coefficients, list(values)), gradient


def _contract(coefficients: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    for factor in factors:
        coefficients = np.tensordot(factor, coefficients, axes=1)
    return coefficients
