"""What the second-order expansion of the xc energy leaves over, by quadrature.

    E = Σ_q w_q R(u_q),     u = (ρ, ∇ρ)          (R: ``remainder``)

Because the weights multiply an energy, the Hamiltonian is its exact derivative.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import XcPoints
from mpiqmd.rom.learned.packed import Packed
from mpiqmd.rom.learned.remainder import Remainder

EXPANDED = 1e-3
"""Mean density (bohr⁻³) below which the expansion of e is left to R: there, changes are as large as the density itself."""
SMALLEST_DENSITY = 1e-12
"""libxc wants positive densities, bohr⁻³."""


def expanded_share(mean: np.ndarray) -> np.ndarray:
    """Return the share, 0 to 1, shape (Q,), of the second order that is expanded where the mean density is so large."""
    squares = np.maximum(mean, 0.0) ** 2
    return squares / (squares + EXPANDED**2)


class XcRemainder:
    """The quadrature at its points.  Replicated, not collective."""

    def __init__(self, points: XcPoints, functional: Functional) -> None:
        slope0 = points.mean_slope_vq if functional.uses_gradient else None
        self.weights_q, self.modes_qk = points.weights_q, points.modes_qk
        self._remainder = Remainder(functional, points.mean_q, slope0, expanded_share(points.mean_q))
        self._at_points = FixedPoints(functional.terms, len(points.weights_q))
        used = points.slopes_vqk if functional.uses_gradient else ()
        self._slopes, self._back = [Packed(slopes_qk) for slopes_qk in used], [Packed(slopes_qk.T) for slopes_qk in used]

    @property
    def uses_gradient(self) -> bool:
        """Whether the functional depends on the gradient of the density."""
        return bool(self._slopes)

    def potential(self, rho_bq: np.ndarray, potential_bq: np.ndarray) -> np.ndarray:
        """Return the energies (B,), Ha, of a functional of the density alone, and set its potential at the points, Ha."""
        energies_b, r, at = np.empty(len(rho_bq)), self._remainder, self._at_points
        for b, rho_q in enumerate(rho_bq):
            np.maximum(rho_q[: len(at.rho)], SMALLEST_DENSITY, out=at.rho)
            at.evaluate()
            values = at.rho, at.e, at.v_rho
            energies_b[b] = kernels.weigh_remainder(
                values, (r.rho0, r.e0, r.v_rho0, r.second["rr"]), self.weights_q, potential_bq[b]
            )
        return energies_b

    def with_slopes(
        self, orbitals_bnk: np.ndarray, at_points_bnq: np.ndarray, rho_bq: np.ndarray, potential_bq: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the same of a functional of the gradient too, with the rest of its Hamiltonian on the orbitals.

        That is energies (B,), what is to be added to the potential times the orbitals at the points (B, n, Q), and to
        ``Ũ H`` (B, n, k), Ha; all are padded.
        """
        slopes_vbnq = self._slopes_of(orbitals_bnk)
        slope_vbq = BRA_AND_KET * SPIN_WEIGHT * (at_points_bnq * slopes_vbnq).sum(axis=2)
        energies_b, pull_vbq = np.empty(len(rho_bq)), np.zeros_like(slope_vbq)
        for b, rho_q in enumerate(rho_bq):
            energies_b[b] = self._weighed(rho_q, slope_vbq[:, b], potential_bq[b], pull_vbq[:, b])
        local_bnq = (pull_vbq[:, :, None] * slopes_vbnq).sum(axis=0)
        return energies_b, local_bnq, self._pulled_back(pull_vbq[:, :, None] * at_points_bnq, orbitals_bnk.shape)

    def _slopes_of(self, orbitals_bnk: np.ndarray) -> np.ndarray:
        """Return the gradients of orbitals at the points, shape (3, B, n, Q)."""
        size, n, k = orbitals_bnk.shape
        rows = orbitals_bnk.reshape(size * n, k)
        return np.array([packed.times(rows).reshape(size, n, -1) for packed in self._slopes])

    def _weighed(self, rho_q: np.ndarray, slope_vq: np.ndarray, potential_q: np.ndarray, pull_vq: np.ndarray) -> float:
        """Return the energy, Ha, of a density with its gradient at the points, and set its weighted derivatives by them."""
        count, at = len(self.weights_q), self._at_points
        slope_vq = slope_vq[:, :count]
        np.maximum(rho_q[:count], SMALLEST_DENSITY, out=at.rho)
        at.sigma[:] = (slope_vq**2).sum(axis=0)
        at.evaluate()
        value_q, d_rho_q, d_slope_vq = self._remainder.combine(at.rho, slope_vq, at.rho * at.e, at.v_rho, at.v_sigma)
        potential_q[:count], pull_vq[:, :count] = self.weights_q * d_rho_q, self.weights_q * d_slope_vq
        return float(self.weights_q @ value_q)

    def _pulled_back(self, along_vbnq: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return what is along the gradients at the points, shape (3, B, n, Q), as it acts in the modes, shape (B, n, k)."""
        size, n, _ = shape
        along_vrq = along_vbnq.reshape(3, size * n, -1)
        return np.reshape(sum(packed.times(along_rq) for packed, along_rq in zip(self._back, along_vrq, strict=True)), shape)
