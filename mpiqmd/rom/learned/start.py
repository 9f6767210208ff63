"""Where the minimum is expected: a polynomial of the geometry, and its derivative.

    z_p(x) = Σ_t c_t y^t,     y = axes · x - offset

The minimum over latent coordinates is an analytic function of the internal coordinates.  Where the energy is evaluated at z_p
it depends on the geometry through z_p as well, so its exact gradient has the term ``(dE/dz) · (dz_p/dx)``.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import StartArrays
from mpiqmd.rom.learned.packed import Packed, pad
from mpiqmd.rom.learned.polynomials import GeometryPolynomials


class Start:
    """Predicts latent coordinates, and the step from there to the minimum.  Replicated, not collective."""

    def __init__(self, arrays: StartArrays) -> None:
        polynomials = GeometryPolynomials(arrays.axes_dx, arrays.offset_d, arrays.degree)
        # terms that predict the same coordinates next to each other: symmetry leaves most coefficients zero
        _, kinds_t = np.unique(arrays.coefficients_td != 0.0, axis=0, return_inverse=True)
        self.polynomials, order_t = polynomials.sorted_by(kinds_t.ravel())
        coefficients_td = arrays.coefficients_td[order_t]
        self._latent, self._terms = (Packed(each, np.float16) for each in (coefficients_td.T, coefficients_td))
        self._inverse_hessian = Packed(arrays.inverse_hessian_dd, np.float16)

    def predict(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return z_p (B, d) at body-frame geometries (B, N, 3), bohr, padded, and the terms (B, t) it is made from."""
        terms_bt = self.polynomials.terms(positions_bav)
        return self._latent.times(pad(terms_bt)), terms_bt

    def steps(self, slopes_bd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Newton's steps ``-B^-1 dE/dz`` (B, d), padded, and what they gain (B,), Ha, given padded dE/dz (B, d)."""
        return kernels.newton_steps(slopes_bd, self._inverse_hessian.panels)

    def add_gradient(self, terms_bt: np.ndarray, slopes_bd: np.ndarray, gradient_bav: np.ndarray) -> None:
        """Add ``(dE/dz) · (dz_p/dx)`` to gradients (B, N, 3), Ha/bohr, given padded dE/dz (B, d)."""
        polynomials, weights_bt = self.polynomials, self._terms.times(slopes_bd)
        pull = polynomials.parents, polynomials.factors, len(polynomials.axes)
        slopes_by = kernels.polynomial_pull(terms_bt, weights_bt, *pull)
        gradient_bav += (slopes_by @ polynomials.axes).reshape(gradient_bav.shape)
