"""Where the minimum is expected: a polynomial of the geometry, and its derivative.

    z_p(x) = Σ_t c_t τ_t(y),     y = axes · x - offset,     with products of coordinates, or sums of their images, for τ

The minimum over latent coordinates is an analytic function of the internal coordinates.  Where the energy is evaluated at z_p
it depends on the geometry through z_p as well, so its exact gradient has the term ``(dE/dz) · (dz_p/dx)``.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned import geometry_kernels, kernels
from mpiqmd.rom.learned.data import StartArrays
from mpiqmd.rom.learned.packed import Packed
from mpiqmd.rom.learned.polynomials import GeometryPolynomials


class Start:
    """Predicts latent coordinates, and the step from there to the minimum.  Replicated, not collective."""

    def __init__(self, arrays: StartArrays) -> None:
        # terms that predict the same coordinates next to each other: symmetry leaves most coefficients zero
        _, kinds_t = np.unique(arrays.coefficients_td != 0.0, axis=0, return_inverse=True)
        order_t = np.argsort(kinds_t.ravel(), kind="stable")
        self.polynomials = GeometryPolynomials.of_start(arrays).chosen(order_t)
        coefficients_td = arrays.coefficients_td[order_t]
        self._latent, self._terms = (Packed(each, np.float16) for each in (coefficients_td.T, coefficients_td))
        self._inverse_hessian = Packed(arrays.inverse_hessian_dd, np.float16)

    def predict(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z_p (B, d) at body-frame geometries (B, N, 3), bohr, padded, and the products (B, p) it is made from."""
        polynomials, products_bp = self.polynomials, self.polynomials.products(positions_bav)
        terms_bt = geometry_kernels.terms(products_bp, polynomials.members_tg, polynomials.signs_tg)
        return self._latent.times(terms_bt), products_bp

    def steps(self, slopes_bd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Newton's steps ``-B^-1 dE/dz`` (B, d), padded, and what they gain (B,), Ha, given padded dE/dz (B, d)."""
        return kernels.newton_steps(slopes_bd, self._inverse_hessian.panels)

    def add_gradient(self, products_bp: np.ndarray, slopes_bd: np.ndarray, gradient_bav: np.ndarray) -> None:
        """Add ``(dE/dz) · (dz_p/dx)`` to gradients (B, N, 3), Ha/bohr, given padded dE/dz (B, d)."""
        polynomials, weights_bt = self.polynomials, self._terms.times(slopes_bd)
        members, lineage = (polynomials.members_tg, polynomials.signs_tg), (polynomials.parents_p, polynomials.factors_p)
        slopes_by = geometry_kernels.polynomial_pull(products_bp, weights_bt, members, *lineage)
        gradient_bav += (slopes_by @ polynomials.axes_yx).reshape(gradient_bav.shape)
