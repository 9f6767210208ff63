"""What the second-order expansion of the xc energy leaves over, by quadrature, from the charges of the density functions.

    E = Σ_q w_q R(u_q),     u = (ρ, ∇ρ),     ρ = ρ̄ + Σ_f c_f b_f          (R: ``remainder``)

Because the weights multiply an energy, dE/dc is its exact derivative.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import XcPoints
from mpiqmd.rom.learned.packed import Packed
from mpiqmd.rom.learned.remainder import Remainder

EXPANDED = 1e-3
"""Mean density (bohr⁻³) below which the expansion of e is left to R: there, changes are as large as the density itself."""
SMALLEST_DENSITY = 1e-12
"""libxc wants positive densities, bohr⁻³; where functions add up to less, it is this much and does not change."""


def expanded_share(mean: np.ndarray) -> np.ndarray:
    """Return the share, 0 to 1, shape (Q,), of the second order that is expanded where the mean density is so large."""
    squares = np.maximum(mean, 0.0) ** 2
    return squares / (squares + EXPANDED**2)


class XcRemainder:
    """The quadrature at its points.  Replicated, not collective."""

    def __init__(self, points: XcPoints, functional: Functional) -> None:
        slope0 = points.mean_slope_vq if functional.uses_gradient else None
        self.weights_q = points.weights_q
        self._remainder = Remainder(functional, points.mean_q, slope0, expanded_share(points.mean_q))
        self._at_points = FixedPoints(functional.terms, len(points.weights_q))
        used = (points.functions_fq, *(points.slopes_vfq if functional.uses_gradient else ()))
        self._values, self._back = [Packed(each_fq.T) for each_fq in used], [Packed(each_fq) for each_fq in used]

    def add(self, charges_bf: np.ndarray, response_bf: np.ndarray, energies_b: np.ndarray) -> None:
        """Add the energies (B,), Ha, at charges c (B, f) and dE/dc to a response (B, f), Ha; both are padded."""
        seen_ubq = [packed.times(charges_bf) for packed in self._values]
        pull_ubq = np.zeros((len(seen_ubq), *seen_ubq[0].shape))
        weigh = self._weigh_density if len(seen_ubq) == 1 else self._weigh
        for b in range(len(charges_bf)):
            energies_b[b] += weigh([seen_bq[b] for seen_bq in seen_ubq], pull_ubq[:, b])
        for packed, pull_bq in zip(self._back, pull_ubq, strict=True):
            response_bf += packed.times(pull_bq)

    def _weigh_density(self, change_uq: list[np.ndarray], pull_uq: np.ndarray) -> float:
        """Return the energy, Ha, of a change of the density (1, Q), bohr⁻³, and set its weighted derivative (1, Q)."""
        r, at = self._remainder, self._at_points
        self._set_density(change_uq[0])
        at.evaluate()
        values = at.rho, at.e, at.v_rho
        energy = kernels.weigh_remainder(values, (r.rho0, r.e0, r.v_rho0, r.second["rr"]), self.weights_q, pull_uq[0])
        self._hold(pull_uq[0])
        return energy

    def _weigh(self, change_uq: list[np.ndarray], pull_uq: np.ndarray) -> float:
        """Return the same of a density and its gradient (4, Q)."""
        count, at = len(self.weights_q), self._at_points
        slope_vq = self._remainder.slope0 + np.array([each_q[:count] for each_q in change_uq[1:]])
        self._set_density(change_uq[0])
        at.sigma[:] = (slope_vq**2).sum(axis=0)
        at.evaluate()
        value_q, d_rho_q, d_slope_vq = self._remainder.combine(at.rho, slope_vq, at.rho * at.e, at.v_rho, at.v_sigma)
        pull_uq[0, :count], pull_uq[1:, :count] = self.weights_q * d_rho_q, self.weights_q * d_slope_vq
        self._hold(pull_uq[0])
        return float(self.weights_q @ value_q)

    def _set_density(self, change_q: np.ndarray) -> None:
        """Set the density at which the functional is evaluated."""
        rho_q = self._at_points.rho
        np.maximum(self._remainder.rho0 + change_q[: len(rho_q)], SMALLEST_DENSITY, out=rho_q)

    def _hold(self, pull_q: np.ndarray) -> None:
        """Let nothing depend on a density that does not change."""
        rho_q = self._at_points.rho
        pull_q[: len(rho_q)][rho_q <= SMALLEST_DENSITY] = 0.0
