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
LEAST_NODES, NODES_PER_BOHR = 3, 20.0
"""Nodes that a direction needs, and for each bohr of the box's half-width: hydrogen's coefficients then fall to 1e-8."""


@dataclass(frozen=True)
class ChebyshevBox:
    """The box an atom moves in and the directions it moves along.

    Attributes
    ----------
    lower_v, upper_v
        Corners, bohr, shape (3,); equal where the atom does not move.
    nodes_v
        Chebyshev nodes along x, y and z, counted only where the atom moves.
    """

    lower_v: np.ndarray
    upper_v: np.ndarray
    nodes_v: tuple[int, int, int]

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
        return tuple(self.nodes_v[v] if v in self.axes else 1 for v in range(3))

    def axis_nodes(self) -> list[np.ndarray]:
        """Return the nodes' coordinates along x, y and z, shape (nodes,) each, bohr."""
        centre, half = 0.5 * (self.lower_v + self.upper_v), 0.5 * (self.upper_v - self.lower_v)
        return [
            centre[v] + half[v] * np.cos(_angles(n)) if v in self.axes else centre[v : v + 1] for v, n in enumerate(self.shape)
        ]

    def nodes(self) -> np.ndarray:
        """Return the tensor nodes as positions, shape (nodes, 3), bohr, the last moving direction fastest."""
        return np.array(list(product(*self.axis_nodes())))

    def degrees_kv(self) -> np.ndarray:
        """Return the degrees in x, y and z of the products of polynomials, as :meth:`nodes` are ordered: counts (k, 3)."""
        return np.indices(self.shape).reshape(3, -1).T.copy()

    def transform(self, v: int) -> np.ndarray:
        """Return the matrix from values at the nodes along a direction to coefficients, shape (degrees, nodes)."""
        n = self.shape[v]
        matrix = np.cos(np.outer(np.arange(n), _angles(n))) * (2.0 / n)
        matrix[0] *= 0.5
        return matrix

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Return coefficients, nodes along the moving directions then (...), of values at :meth:`nodes`, shape (nodes, ...)."""
        result = values.reshape(tuple(self.shape[v] for v in self.axes) + values.shape[1:])
        for place, v in enumerate(self.axes):
            result = np.moveaxis(np.tensordot(self.transform(v), result, axes=(1, place)), 0, place)
        return np.ascontiguousarray(result)


def _angles(n: int) -> np.ndarray:
    return np.pi * (np.arange(n) + 0.5) / n


def training_boxes(positions_sav: np.ndarray, least: int, margin: float) -> list[ChebyshevBox]:
    """Return the box of each atom: the range of its training positions (samples, N, 3), bohr, with a margin.

    ``margin`` is a share of the range; a direction has ``least`` nodes, or more where the box is wide.
    """
    boxes = []
    for lower, upper in zip(positions_sav.min(axis=0), positions_sav.max(axis=0), strict=True):
        room = np.where(upper - lower > MOVES, np.maximum(margin * (upper - lower), 0.02), 0.0)
        middle = np.where(room > 0, 0.0, 0.5 * (lower + upper))
        lower_v, upper_v = np.where(room > 0, lower - room, middle), np.where(room > 0, upper + room, middle)
        halves = 0.5 * (upper_v - lower_v)
        x, y, z = (max(least, math.ceil(LEAST_NODES + NODES_PER_BOHR * half)) for half in halves.tolist())
        boxes.append(ChebyshevBox(lower_v, upper_v, (x, y, z)))
    return boxes


def corners(boxes: list[ChebyshevBox]) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper corners, shape (N, 3) each, bohr."""
    return np.array([box.lower_v for box in boxes]), np.array([box.upper_v for box in boxes])
