"""Polynomials of the geometry, by which minima are predicted: products of coordinates of body-frame positions.

A term is a product, or the sum of a product's images under the molecule's twofold operations with the characters of a symmetry
species.  Which there are: ``coordinates``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.rom.learned import geometry_kernels
from mpiqmd.rom.learned.data import StartArrays


@dataclass(frozen=True)
class GeometryPolynomials:
    """Terms of a polynomial.  Replicated, not collective.

    Attributes
    ----------
    axes_yx, offset_y
        Coordinates ``y = axes · x - offset`` of flattened positions, [-1, 1] for samples, without unit.
    parents_p, factors_p
        The first product is 1; each other one is one before it times one coordinate more.  The coordinates come next.
    members_tg, signs_tg
        The products that a term is made of, and with which factors.
    labels_t
        Symmetry species of the terms.
    """

    axes_yx: np.ndarray
    offset_y: np.ndarray
    parents_p: np.ndarray
    factors_p: np.ndarray
    members_tg: np.ndarray
    signs_tg: np.ndarray
    labels_t: np.ndarray

    @classmethod
    def of_start(cls, start: StartArrays) -> GeometryPolynomials:
        """Return those that a start has coefficients of; their species are not known any more."""
        labels_t = np.zeros(len(start.members_tg), int)
        axes, products = (start.axes_yx, start.offset_y), (start.parents_p, start.factors_p)
        return cls(*axes, *products, start.members_tg, start.signs_tg, labels_t)

    def __len__(self) -> int:
        return len(self.members_tg)

    @property
    def largest(self) -> int:
        """Number of terms of the species with the most of them."""
        return int(np.bincount(self.labels_t).max())

    def chosen(self, terms: np.ndarray) -> GeometryPolynomials:
        """Return the same with some of the terms, or in another order."""
        members_tg, signs_tg, labels_t = self.members_tg[terms], self.signs_tg[terms], self.labels_t[terms]
        return replace(self, members_tg=members_tg, signs_tg=signs_tg, labels_t=labels_t)

    def products(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return the products at geometries (B, N, 3), bohr, shape (B, p), without unit."""
        flat_bx = positions_bav.reshape(len(positions_bav), self.axes_yx.shape[1])
        return geometry_kernels.products(flat_bx, self.axes_yx, self.offset_y, self.parents_p, self.factors_p)

    def terms(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return the terms at geometries (B, N, 3), bohr, shape (B, t), without unit."""
        return geometry_kernels.terms(self.products(positions_bav), self.members_tg, self.signs_tg)

    def start(self, coefficients_td: np.ndarray, inverse_hessian_dd: np.ndarray) -> StartArrays:
        """Return the start with these coefficients (t, d), square roots of Ha."""
        axes, products = (self.axes_yx, self.offset_y), (self.parents_p, self.factors_p)
        return StartArrays(*axes, *products, self.members_tg, self.signs_tg, coefficients_td, inverse_hessian_dd)


def predicted(start: StartArrays, positions_sav: np.ndarray) -> np.ndarray:
    """Return latent coordinates (s, d), square roots of Ha, of the minima at geometries (s, N, 3), bohr.  Not collective."""
    return GeometryPolynomials.of_start(start).terms(positions_sav) @ start.coefficients_td
