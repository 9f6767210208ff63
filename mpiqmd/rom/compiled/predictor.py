"""Where the minimum is and how the energy curves there, as polynomials of the geometry.

The minimum κ*(x) of the compiled energy is an analytic function of the internal coordinates.  It is fitted once, when
a model is made (``learning``), and so is the inverse Hessian:

    κ*(x) ≈ Σ_m c_m y^m  (|m| <= D),    B^-1(x) ≈ Σ_m B_m y^m  (|m| <= D')

with y the leading principal coordinates of the sampled body-frame positions, as many as the molecule has internal
degrees of freedom, scaled to [-1, 1].  A step started from this fit depends on the geometry alone: nothing is carried
from step to step, so there is no history to save and no drift from it.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb

import numpy as np

from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.inner import InverseHessians
from mpiqmd.rom.compiled.products import shared_product

LARGEST_FIT = 470
"""Terms of the polynomial of κ."""
HIGHEST_DEGREE = 12
LARGEST_RATE = 0.25
"""Share of the error that a step is taken to leave where it was not measured."""


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
    def spanning(cls, positions_sav: np.ndarray, most: int = LARGEST_FIT) -> GeometryPolynomials:
        """Return those of the coordinates along which body-frame positions (samples, N, 3), bohr, are spread.

        There are at most ``most`` of them, or those of degree one.
        """
        flat = positions_sav.reshape(len(positions_sav), -1)
        mean = flat.mean(axis=0)
        _, spread, axes = np.linalg.svd(flat - mean, full_matrices=False)
        count = min(max(1, 3 * positions_sav.shape[1] - 6), int(np.sum(spread > 1e-6 * spread[0])))
        half = np.abs((flat - mean) @ axes[:count].T).max(axis=0)
        scaled = axes[:count] / half[:, None]
        return cls(scaled, scaled @ mean, highest_degree(count, most))

    def __len__(self) -> int:
        return len(self.parents) + 1

    def terms(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return all products of the coordinates of geometries (B, N, 3) up to the degree, shape (B, terms).

        The coordinates are the principal ones, [-1, 1] over the samples; products of lower degree come first.
        """
        return self.terms_and_low(positions_bav, 0)[0]

    def terms_and_low(self, positions_bav: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the same, and the first ``count`` products in single precision."""
        flat = positions_bav.reshape(len(positions_bav), -1)
        return kernels.polynomial_terms(flat, self.axes, self.offset, self.parents, self.factors, count)


def highest_degree(variables: int, most: int) -> int:
    """Return the highest degree, 1 at least, at which a polynomial has no more than ``most`` terms."""
    return max(d for d in range(1, HIGHEST_DEGREE + 1) if d == 1 or comb(variables + d, d) <= most)


class Predictor:
    """The fitted polynomials.  Replicated, not collective.

    Parameters
    ----------
    polynomials
        Their arguments.
    minimum_mk
        Coefficients of κ*, shape (terms, κ).
    curvature_mk
        Coefficients of the lower triangle of B^-1 on the first terms, shape (terms, κ (κ + 1) / 2); kept in single
        precision, which is plenty for a step and half the memory to read.

    remaining
        Share of the error of κ* that a step leaves, as measured.
    """

    def __init__(
        self,
        polynomials: GeometryPolynomials,
        minimum_mk: np.ndarray,
        curvature_mk: np.ndarray,
        remaining: float = LARGEST_RATE,
    ) -> None:
        self.polynomials, self.minimum_mk, self.remaining = polynomials, minimum_mk, remaining
        self.curvature_mk = np.ascontiguousarray(curvature_mk, np.float32)

    def predict(self, positions_bav: np.ndarray) -> tuple[np.ndarray, InverseHessians]:
        """Return κ* (B, κ) and B^-1 expected at body-frame geometries (B, N, 3), bohr."""
        terms_bm, low_bm = self.polynomials.terms_and_low(positions_bav, len(self.curvature_mk))
        minimum_bk = shared_product(terms_bm, self.minimum_mk, len(terms_bm))
        return minimum_bk, InverseHessians(low_bm, self.curvature_mk)
