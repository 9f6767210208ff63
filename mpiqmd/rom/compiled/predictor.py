"""Where the minimum is and how the energy curves there, as polynomials of the geometry.

The minimum κ*(x) of the compiled energy is an analytic function of the internal coordinates.  It is fitted once, when
a model is made (``learning``), and so is the inverse Hessian:

    κ*(x) ≈ Σ_m c_m y^m  (|m| <= D),    B^-1(x) ≈ Σ_m B_m y^m  (|m| <= D')

with y the leading principal coordinates of the sampled body-frame positions, as many as the molecule has internal
degrees of freedom, scaled to [-1, 1].  A step started from this fit depends on the geometry alone: nothing is carried
from step to step, so there is no history to save and no drift from it.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.compiled.inner import InverseHessians
from mpiqmd.rom.learned.polynomials import GeometryPolynomials
from mpiqmd.rom.learned.products import shared_product

LARGEST_RATE = 0.25
"""Share of the error that a step is taken to leave where it was not measured."""


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
        terms_bm = self.polynomials.terms(positions_bav)
        low_bm = terms_bm[:, : len(self.curvature_mk)].astype(np.float32)
        minimum_bk = shared_product(terms_bm, self.minimum_mk, len(terms_bm))
        return minimum_bk, InverseHessians(low_bm, self.curvature_mk)
