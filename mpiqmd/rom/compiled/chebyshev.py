"""Smooth functions of a position in a box, tabulated on tensor Chebyshev nodes with analytic derivatives.

On the nodes ``x_k = cos(π (k + 1/2) / n)`` of [-1, 1] a function is interpolated by Chebyshev polynomials,

    f(x) = Σ_j c_j T_j(x),    c_j = (2 - δ_j0) / n Σ_k f(x_k) T_j(x_k),

with an error that falls geometrically for the analytic functions met here (matrix elements of a potential centred on a
moving atom).  A box has one axis per coordinate that moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from mpiqmd.rom.compiled import kernels

MOVES = 1e-7
"""A coordinate that varies less than this over the training set (bohr) is fixed."""
SMALL = 0.1
"""Half-width of a box (bohr) up to which fewer nodes do as well as more in one of three times the size."""


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
        table = coefficients.reshape(*self.shape, coefficients.shape[-1])
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


class ChebyshevProducts:
    """Products of Chebyshev polynomials of the positions of several atoms, those of an atom side by side.

    Parameters
    ----------
    indices
        The atoms' places among all.
    boxes
        Where each may be.
    degrees
        Of the products of each, in x, y and z, shape (products, 3).
    """

    def __init__(self, indices: Sequence[int], boxes: Sequence[ChebyshevBox], degrees: Sequence[np.ndarray]) -> None:
        self.indices = np.array(indices, int)
        self.degrees_kv = np.ascontiguousarray(np.concatenate([np.zeros((0, 3), int), *degrees]))
        self.starts = np.concatenate([[0], np.cumsum([len(each) for each in degrees])]).astype(int)
        self.parts = [slice(int(a), int(b)) for a, b in pairwise(self.starts)]
        self._lower_tv = np.array([box.lower_v for box in boxes]).reshape(-1, 3)
        self._upper_tv = np.array([box.upper_v for box in boxes]).reshape(-1, 3)
        self._n_degrees = int(self.degrees_kv.max(initial=1)) + 1

    def evaluate(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return t_k (B, products), their derivatives (B, products, 3) in 1/bohr, and how far outside its box an atom is (B,).

        Geometries have shape (B, N, 3), bohr.
        """
        size, count = len(positions_bav), len(self.degrees_kv)
        weights_bk, slopes_bkv, excess_b = np.empty((size, count)), np.empty((size, count, 3)), np.empty(size)
        tables = self.indices, self._lower_tv, self._upper_tv, self.starts, self.degrees_kv, self._n_degrees
        kernels.chebyshev_weights(positions_bav, *tables, weights_bk, slopes_bkv, excess_b)
        return weights_bk, slopes_bkv, excess_b


def training_boxes(positions_sav: np.ndarray, n_nodes: int, n_small: int, margin: float) -> list[ChebyshevBox]:
    """Return the box of each atom: the range of its training positions (samples, N, 3), bohr, with a margin.

    ``margin`` is a share of the range; small boxes have ``n_small`` nodes along a direction, the others ``n_nodes``.
    """
    boxes = []
    for lower, upper in zip(positions_sav.min(axis=0), positions_sav.max(axis=0), strict=True):
        room = np.where(upper - lower > MOVES, np.maximum(margin * (upper - lower), 0.02), 0.0)
        middle = np.where(room > 0, 0.0, 0.5 * (lower + upper))
        lower_v, upper_v = np.where(room > 0, lower - room, middle), np.where(room > 0, upper + room, middle)
        is_small = (upper_v - lower_v).max() < 2.0 * SMALL
        boxes.append(ChebyshevBox(lower_v, upper_v, n_small if is_small else n_nodes))
    return boxes


def _contract(coefficients: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    for factor in factors:
        coefficients = np.tensordot(factor, coefficients, axes=1)
    return coefficients
