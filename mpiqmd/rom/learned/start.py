"""Where the minimum is expected: a polynomial of the geometry, and its derivative.

    z_p(x) = Σ_t c_t y^t,     y = axes · x - offset

The minimum over latent coordinates is an analytic function of the internal coordinates.  Where the energy is evaluated at z_p
it depends on the geometry through z_p as well, so its exact gradient has the term ``(dE/dz) · (dz_p/dx)``.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.compiled.predictor import GeometryPolynomials
from mpiqmd.rom.compiled.products import shared_product
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import StartArrays


class Start:
    """Predicts latent coordinates.  Replicated, not collective.

    Attributes
    ----------
    inverse_hessian_dd
        Inverse Hessian in the latent coordinates at the reference.
    """

    def __init__(self, arrays: StartArrays) -> None:
        self.polynomials = GeometryPolynomials(arrays.axes_dx, arrays.offset_d, arrays.degree)
        self.coefficients_td = arrays.coefficients_td
        self.inverse_hessian_dd = arrays.inverse_hessian_dd

    def predict(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z_p (B, d) at body-frame geometries (B, N, 3), bohr, and the terms (B, t) it is made from."""
        terms_bt = self.polynomials.terms(positions_bav)
        return shared_product(terms_bt, self.coefficients_td, len(terms_bt)), terms_bt

    def add_gradient(self, terms_bt: np.ndarray, slopes_bd: np.ndarray, gradient_bav: np.ndarray) -> None:
        """Add ``(dE/dz) · (dz_p/dx)`` to gradients (B, N, 3), Ha/bohr, given dE/dz (B, d)."""
        size, polynomials = len(terms_bt), self.polynomials
        weights_bt = shared_product(slopes_bd, self.coefficients_td.T, size)
        slopes_by = kernels.polynomial_pull(
            terms_bt, weights_bt, polynomials.parents, polynomials.factors, len(polynomials.axes)
        )
        gradient_bav += (slopes_by @ polynomials.axes).reshape(gradient_bav.shape)
