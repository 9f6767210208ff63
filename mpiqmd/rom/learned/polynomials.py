"""Polynomials of the geometry, by which minima are predicted: products of the principal coordinates of body-frame positions."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb

import numpy as np

from mpiqmd.rom.learned import geometry_kernels

HIGHEST_DEGREE = 12


class GeometryPolynomials:
    """Products of the leading principal coordinates of positions.  Replicated, not collective.

    Parameters
    ----------
    axes
        Directions of the coordinates in the space of flattened positions, shape (coordinates, 3 N), 1/bohr.
    offset
        Subtracted from the coordinates, shape (coordinates,).
    degree
        Highest degree of a product.
    """

    def __init__(self, axes: np.ndarray, offset: np.ndarray, degree: int) -> None:
        self.axes, self.offset, self.degree = np.ascontiguousarray(axes), offset, degree
        places = range(len(axes))
        terms = [list(c) for d in range(1, degree + 1) for c in combinations_with_replacement(places, d)]
        place = {tuple(term): index for index, term in enumerate([[], *terms])}
        self.parents = np.array([place[tuple(term[:-1])] for term in terms], int)
        self.factors = np.array([term[-1] for term in terms], int)

    @classmethod
    def spanning(cls, positions_sav: np.ndarray, n_coordinates: int, most: int) -> GeometryPolynomials:
        """Return those of the coordinates along which body-frame positions (samples, N, 3), bohr, are spread.

        There are at most ``most`` of them, or those of degree one, in at most the ``n_coordinates`` that the frame leaves.
        """
        flat = positions_sav.reshape(len(positions_sav), -1)
        mean = flat.mean(axis=0)
        _, spread, axes = np.linalg.svd(flat - mean, full_matrices=False)
        count = min(n_coordinates, int(np.sum(spread > 1e-6 * spread[0])))
        half = np.abs((flat - mean) @ axes[:count].T).max(axis=0)
        scaled = axes[:count] / half[:, None]
        return cls(scaled, scaled @ mean, highest_degree(count, most))

    def __len__(self) -> int:
        return len(self.parents) + 1

    def terms(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return all products of the coordinates of geometries (B, N, 3) up to the degree, shape (B, terms), without unit.

        The coordinates are the principal ones, [-1, 1] over the samples; products of lower degree come first.
        """
        flat_bx = positions_bav.reshape(len(positions_bav), self.axes.shape[1])
        return geometry_kernels.polynomial_terms(flat_bx, self.axes, self.offset, self.parents, self.factors)


def highest_degree(variables: int, most: int) -> int:
    """Return the highest degree, 1 at least, at which a polynomial has no more than ``most`` terms."""
    return max(d for d in range(1, HIGHEST_DEGREE + 1) if d == 1 or comb(variables + d, d) <= most)
