"""Polynomials of the geometry, by which minima are predicted: products of the principal coordinates of body-frame positions."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from itertools import combinations_with_replacement
from math import comb

import numpy as np

from mpiqmd.rom.learned import geometry_kernels
from mpiqmd.rom.learned.data import StartArrays
from mpiqmd.rom.learned.species import Species

HIGHEST_DEGREE = 12
MOST_TERMS = 20_000
"""Of a polynomial, whatever their species: its coefficients are some 100 MB."""


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
    labels
        Symmetry species of the coordinates, shape (coordinates,); one species by default.

    Attributes
    ----------
    parents, factors
        Each product but the first, which is 1, is one before it times one coordinate more; shape (terms - 1,).
    labels_t
        Symmetry species of the products, shape (terms,).
    """

    def __init__(self, axes: np.ndarray, offset: np.ndarray, degree: int, labels: np.ndarray | None = None) -> None:
        self.axes, self.offset, self.degree = np.ascontiguousarray(axes), offset, degree
        self.labels = np.zeros(len(axes), int) if labels is None else labels
        places = range(len(axes))
        terms = [list(c) for d in range(1, degree + 1) for c in combinations_with_replacement(places, d)]
        place = {tuple(term): index for index, term in enumerate([[], *terms])}
        self.parents = np.array([place[tuple(term[:-1])] for term in terms], int)
        self.factors = np.array([term[-1] for term in terms], int)
        self.degrees_t = np.array([0, *map(len, terms)])
        self.labels_t = np.zeros(len(terms) + 1, int)
        for k, (parent, factor) in enumerate(zip(self.parents, self.factors, strict=True), start=1):
            self.labels_t[k] = self.labels_t[parent] ^ self.labels[factor]

    @classmethod
    def spanning(cls, positions_sav: np.ndarray, n_coordinates: int, species: Species, degree: int = 1) -> GeometryPolynomials:
        """Return those of the coordinates along which body-frame positions (samples, N, 3), bohr, are spread.

        There are at most ``n_coordinates``, those that the frame leaves; each belongs to one symmetry species.
        """
        mean, spread, axes, labels = species.motion(positions_sav)
        count = min(n_coordinates, int(np.sum(spread > 1e-6 * spread[0])))
        axes = axes[:count]
        half = np.abs((positions_sav.reshape(len(positions_sav), -1) - mean) @ axes.T).max(axis=0)
        scaled = axes / half[:, None]
        # round-off of the mean would mix species
        return cls(scaled, np.where(labels[:count] == 0, scaled @ mean, 0.0), degree, labels[:count])

    def __len__(self) -> int:
        return len(self.parents) + 1

    @property
    def largest(self) -> int:
        """Number of terms of the species with the most of them."""
        return int(np.bincount(self.labels_t).max())

    def of_degree(self, degree: int) -> GeometryPolynomials:
        """Return the same with another highest degree."""
        return GeometryPolynomials(self.axes, self.offset, degree, self.labels)

    def sorted_by(self, kinds_t: np.ndarray) -> tuple[GeometryPolynomials, np.ndarray]:
        """Return the same, terms of one degree in the order of their kinds (t,), and the number (t,) that each had.

        The coordinates themselves stay as they are.
        """
        order_t = np.lexsort([np.where(self.degrees_t > 1, kinds_t, 0), self.degrees_t])
        place_t, other = np.argsort(order_t), copy(self)
        other.parents = place_t[self.parents[order_t[1:] - 1]]
        other.factors, other.labels_t = self.factors[order_t[1:] - 1], self.labels_t[order_t]
        return other, order_t

    def terms(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return all products of the coordinates of geometries (B, N, 3) up to the degree, shape (B, terms), without unit.

        The coordinates are the principal ones, [-1, 1] over the samples; products of lower degree come first.
        """
        flat_bx = positions_bav.reshape(len(positions_bav), self.axes.shape[1])
        return geometry_kernels.polynomial_terms(flat_bx, self.axes, self.offset, self.parents, self.factors)


def predicted(start: StartArrays, positions_sav: np.ndarray) -> np.ndarray:
    """Return latent coordinates (s, d), square roots of Ha, of the minima at geometries (s, N, 3), bohr.  Not collective."""
    polynomials = GeometryPolynomials(start.axes_dx, start.offset_d, start.degree)
    return polynomials.terms(positions_sav) @ start.coefficients_td


def within(polynomials: GeometryPolynomials, allowed: Callable[[GeometryPolynomials], bool]) -> GeometryPolynomials:
    """Return the polynomials with the highest degree that is allowed, 1 at least."""
    found = polynomials.of_degree(1)
    for degree in range(2, HIGHEST_DEGREE + 1):
        if comb(len(found.axes) + degree, degree) > MOST_TERMS:
            break
        following = polynomials.of_degree(degree)
        if not allowed(following):
            break
        found = following
    return found
