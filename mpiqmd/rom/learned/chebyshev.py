"""Smooth functions of a position in a box, tabulated on tensor Chebyshev nodes.

On the nodes ``x_k = cos(π (k + 1/2) / n)`` of [-1, 1] a function is interpolated by Chebyshev polynomials,

    f(x) = Σ_j c_j T_j(x),    c_j = (2 - δ_j0) / n Σ_k f(x_k) T_j(x_k),

with an error that falls geometrically for the analytic functions met here (matrix elements of a potential centred on a
moving atom).  A box has one axis per coordinate that moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

MOVES = 1e-7
"""A coordinate that varies less than this over the training set (bohr) is fixed."""
MOST_NODES = 64
"""Nodes per direction beyond which a table is none of ours."""
SMALL = 0.1
"""Half-width of a box (bohr) up to which fewer nodes do as well as more in one of three times the size."""
LEAST_NODES, NODES_PER_BOHR = 3, 20.0
"""Nodes that a large box needs at least, and for each bohr of its half-width: hydrogen's coefficients then fall to 1e-8."""


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

    @property
    def middle_v(self) -> np.ndarray:
        """The middle of the box, shape (3,), bohr."""
        return 0.5 * (self.lower_v + self.upper_v)

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes along x, y and z: one where the atom does not move."""
        return tuple(self.n_nodes if v in self.axes else 1 for v in range(3))

    def axis_nodes(self) -> list[np.ndarray]:
        """Return the nodes' coordinates along x, y and z, shape (nodes,) each, bohr."""
        unit = np.cos(np.pi * (np.arange(self.n_nodes) + 0.5) / self.n_nodes)
        centre, half = 0.5 * (self.lower_v + self.upper_v), 0.5 * (self.upper_v - self.lower_v)
        return [centre[v] + half[v] * unit if v in self.axes else centre[v : v + 1] for v in range(3)]

    def nodes(self) -> np.ndarray:
        """Return the tensor nodes as positions, shape (n_nodes^d, 3), bohr, the last moving direction fastest."""
        return np.array(list(product(*self.axis_nodes())))

    def degrees_kv(self) -> np.ndarray:
        """Return the degrees in x, y and z of the products of polynomials, as :meth:`nodes` are ordered: counts (k, 3)."""
        return np.indices(self.shape).reshape(3, -1).T.copy()

    def transform(self) -> np.ndarray:
        """Return the matrix from values at the nodes along a moving direction to coefficients, shape (degrees, nodes)."""
        angles = np.pi * (np.arange(self.n_nodes) + 0.5) / self.n_nodes
        matrix = np.cos(np.outer(np.arange(self.n_nodes), angles)) * (2.0 / self.n_nodes)
        matrix[0] *= 0.5
        return matrix

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Return coefficients, shape (n,) * d + (...), of values at :meth:`nodes`, shape (n^d, ...)."""
        d, transform = len(self.axes), self.transform()
        result = values.reshape((self.n_nodes,) * d + values.shape[1:])
        for axis in range(d):
            result = np.moveaxis(np.tensordot(transform, result, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(result)


def training_boxes(positions_sav: np.ndarray, n_nodes: int, n_small: int, margin: float) -> list[ChebyshevBox]:
    """Return the box of each atom: the range of its training positions (samples, N, 3), bohr, with a margin.

    ``margin`` is a share of the range; small boxes have ``n_small`` nodes along a direction, others ``n_nodes`` or more.
    """
    boxes = []
    for lower, upper in zip(positions_sav.min(axis=0), positions_sav.max(axis=0), strict=True):
        room = np.where(upper - lower > MOVES, np.maximum(margin * (upper - lower), 0.02), 0.0)
        middle = np.where(room > 0, 0.0, 0.5 * (lower + upper))
        lower_v, upper_v = np.where(room > 0, lower - room, middle), np.where(room > 0, upper + room, middle)
        half = 0.5 * float((upper_v - lower_v).max())
        needed = max(n_nodes, math.ceil(LEAST_NODES + NODES_PER_BOHR * half))
        boxes.append(ChebyshevBox(lower_v, upper_v, n_small if half < SMALL else needed))
    return boxes
