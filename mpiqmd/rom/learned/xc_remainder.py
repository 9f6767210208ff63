"""What the second-order expansion of the xc energy leaves over, by quadrature.

    E = Σ_q w_q R(u_q),     u = (ρ, ∇ρ)          (R: ``rom.compiled.remainder``)

Because the weights multiply an energy, the Hamiltonian is its exact derivative.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.compiled.products import shared_product
from mpiqmd.rom.compiled.remainder import Remainder
from mpiqmd.rom.learned.data import XcPoints

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
        self.points = points
        slope0 = points.mean_slope_vq if functional.uses_gradient else None
        self.remainder = Remainder(functional, points.mean_q, slope0, expanded_share(points.mean_q))
        self._slopes_vkq = np.ascontiguousarray(points.slopes_vqk.transpose(0, 2, 1))
        self._slopes_vqk = np.ascontiguousarray(points.slopes_vqk)

    def add(
        self,
        rows: np.ndarray,
        at_points_bnq: np.ndarray,
        rho_bq: np.ndarray,
        weighted_bnq: np.ndarray,
        applied_bnk: np.ndarray,
        first: int,
    ) -> np.ndarray:
        """Return the energies (B,), Ha, and add the Hamiltonian times the orbitals.

        Orbitals and densities are at all points, of which those from ``first`` on are xc's: there ``weighted`` is set to the
        local part; what acts through gradients is added to ``applied``.  ``rows`` are the orbitals over the active modes.
        """
        energies_b, (size, n, _) = np.zeros(len(rho_bq)), at_points_bnq.shape
        if self.remainder.slope0 is None:
            for b in range(size):
                rho_q = np.maximum(rho_bq[b, first:], SMALLEST_DENSITY)
                value_q, d_rho_q, _ = self.remainder.evaluate(rho_q)
                energies_b[b] = self.points.weights_q @ value_q
                weighted_bnq[b, :, first:] = (self.points.weights_q * d_rho_q) * at_points_bnq[b, :, first:]
            return energies_b
        slopes_vbnq = np.array([shared_product(rows, matrix, size).reshape(size, n, -1) for matrix in self._slopes_vkq])
        along_vbnq = np.empty_like(slopes_vbnq)
        for b in range(size):
            orbitals_nq = at_points_bnq[b, :, first:]
            energies_b[b], weighted_bnq[b, :, first:], along_vbnq[:, b] = self._with_slopes(
                np.maximum(rho_bq[b, first:], SMALLEST_DENSITY), orbitals_nq, slopes_vbnq[:, b]
            )
        for along_bnq, matrix in zip(along_vbnq, self._slopes_vqk, strict=True):
            applied_bnk += shared_product(along_bnq.reshape(size * n, -1), matrix, size).reshape(applied_bnk.shape)
        return energies_b

    def _with_slopes(
        self, rho_q: np.ndarray, orbitals_nq: np.ndarray, slopes_vnq: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the energy of one geometry (Ha), and what acts on the orbitals (n, Q) and on their gradients (3, n, Q)."""
        weights_q = self.points.weights_q
        slope_vq = BRA_AND_KET * SPIN_WEIGHT * np.einsum("nq,vnq->vq", orbitals_nq, slopes_vnq)
        value_q, d_rho_q, d_slope_vq = self.remainder.evaluate(rho_q, slope_vq)
        assert d_slope_vq is not None
        pull_vq = weights_q * d_slope_vq
        local_nq = (weights_q * d_rho_q) * orbitals_nq + np.einsum("vq,vnq->nq", pull_vq, slopes_vnq)
        return float(weights_q @ value_q), local_nq, pull_vq[:, None] * orbitals_nq
