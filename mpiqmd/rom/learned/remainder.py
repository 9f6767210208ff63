"""What the second-order expansion of the xc energy leaves over, point by point.

With u = (ρ, ∇ρ) and u0 that of the reference density,

    R(u) = e(u) - e(u0) - e'(u0)·(u - u0) - ½ (u - u0)·e''(u0)·(u - u0),    σ = |∇ρ|²,

so R and its derivative vanish at the reference to second order.  LDA functionals have no gradient part.  Where only a share of
the second order is expanded, R has the rest of it.  A change of the model cores is a part of u, but not expanded: R then has
u - u0 without it in the last two terms.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.functional import Functional


class Remainder:
    """R and its derivatives at a set of points with a fixed reference.  Not collective.

    Parameters
    ----------
    functional
        The density functional.
    reference_rho
        ρ0 at the points, shape (Q,).
    reference_slope
        ∇ρ0 at the points, shape (3, Q); None for an LDA.
    share
        How much of the second order is expanded, at each point (Q,); all of it by default.
    """

    def __init__(
        self,
        functional: Functional,
        reference_rho: np.ndarray,
        reference_slope: np.ndarray | None,
        share: np.ndarray | float = 1.0,
    ) -> None:
        self.functional = functional
        self.rho0 = np.ascontiguousarray(reference_rho)
        self.slope0 = reference_slope
        sigma0 = None if reference_slope is None else (reference_slope**2).sum(axis=0)
        self.e0, self.v_rho0, self.v_sigma0 = functional.evaluate(self.rho0, sigma0)
        self.second = {name: share * values for name, values in functional.second_derivatives(self.rho0, sigma0).items()}
        self.bend = 0.0 if self.v_sigma0 is None else share * self.v_sigma0

    @property
    def reference_uq(self) -> np.ndarray:
        """u0: the reference density and, for a GGA, its gradient, shape (1 or 4, Q), bohr⁻³ and bohr⁻⁴."""
        return self.rho0[None] if self.slope0 is None else np.concatenate([self.rho0[None], self.slope0])

    def evaluate(
        self, rho: np.ndarray, slope: np.ndarray | None = None, core_uq: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return R, ∂R/∂ρ (each (Q,)) and ∂R/∂(∇ρ) (3, Q; None for an LDA); ``core`` is the part of u that is not expanded."""
        sigma = None if slope is None else (slope**2).sum(axis=0)
        e, v_rho, v_sigma = self.functional.evaluate(rho, sigma)
        return self.combine(rho, slope, e, v_rho, v_sigma, core_uq=core_uq)

    def combine(
        self,
        rho: np.ndarray,
        slope: np.ndarray | None,
        e: np.ndarray,
        v_rho: np.ndarray,
        v_sigma: np.ndarray | None,
        *,
        core_uq: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the same from e, ∂e/∂ρ and ∂e/∂σ at these points."""
        change = rho - self.rho0 if core_uq is None else rho - (self.rho0 + core_uq[0])
        rr = self.second["rr"]
        if self.slope0 is None or slope is None or v_sigma is None:
            value = e - self.e0 - change * (self.v_rho0 + 0.5 * rr * change)
            return value, v_rho - self.v_rho0 - rr * change, None
        rs, ss = self.second["rs"], self.second["ss"]
        d_slope = slope - self.slope0 if core_uq is None else slope - self.slope0 - core_uq[1:]
        along = 2.0 * (self.slope0 * d_slope).sum(axis=0)
        bend = self.bend * (d_slope**2).sum(axis=0)
        linear = self.v_rho0 * change + self.v_sigma0 * along
        value = e - self.e0 - linear - bend - 0.5 * (rr * change**2 + 2.0 * rs * change * along + ss * along**2)
        d_rho = v_rho - self.v_rho0 - rr * change - rs * along
        pull = 2.0 * (rs * change + ss * along + self.v_sigma0)
        d_slope_out = 2.0 * v_sigma * slope - pull * self.slope0 - 2.0 * self.bend * d_slope
        return value, d_rho, d_slope_out
