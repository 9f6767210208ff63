"""What the second-order expansion of the xc energy leaves over, by quadrature, from the charges of the density functions.

    E = Σ_q w_q Σ_g R(u_gq),     u = (ρ, ∇ρ),     ρ(g q) = ρ̄(q) + Σ_σ χ_σ(g) Σ_{f of σ} c_f b_f(q)          (R: ``remainder``)

over the images g of every point under the commuting twofold operations, with ±1 for χ: the energy is as symmetric as the
molecule, and only one of the images is read.  Gradients are taken back by g, which R does not see.  Because the weights
multiply an energy, dE/dc is its exact derivative.  Where model cores move, R is that of ``core_density``, and a point stands
for itself.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.libxc import FixedPoints
from mpiqmd.rom.learned.core_density import SMALLEST_DENSITY, MovingCores, PlacedCores
from mpiqmd.rom.learned.data import MovingCore, XcPoints
from mpiqmd.rom.learned.images import to_images
from mpiqmd.rom.learned.packed import Packed, by_species, padded
from mpiqmd.rom.learned.remainder import Remainder
from mpiqmd.rom.learned.xc_kernels import weigh_remainder

EXPANDED = 1e-3
"""Mean density (bohr⁻³) below which the expansion of e is left to R: there, changes are as large as the density itself."""


def expanded_share(mean: np.ndarray) -> np.ndarray:
    """Return the share, 0 to 1, shape (Q,), of the second order that is expanded where the mean density is so large."""
    squares = np.maximum(mean, 0.0) ** 2
    return squares / (squares + EXPANDED**2)


def _repeated(values: np.ndarray, size: int, images: int) -> np.ndarray:
    """Return what is the same at all images (..., images size), of points (..., q): the last one fills up the size."""
    room = [(0, 0)] * (values.ndim - 1) + [(0, size - values.shape[-1])]
    return np.tile(np.pad(values, room, mode="edge"), images)


class XcRemainder:
    """The quadrature at its points.  Replicated, not collective.

    Parameters
    ----------
    points
        Points and weights.
    functional
        The density functional.
    cores, cell_v
        Model cores that move, and the cell edges if it is periodic.
    """

    def __init__(
        self, points: XcPoints, functional: Functional, cores: list[MovingCore], cell_v: np.ndarray | None = None
    ) -> None:
        images, count = self._n_images, size = points.n_images, len(points.weights_q)
        if images > 1:
            # those of every image begin with a new panel
            size = padded(count)
        mean_q, self.weights_q = _repeated(points.mean_q, size, images), _repeated(points.weights_q, size, images)
        self.weights_q.reshape(images, size)[:, count:] = 0.0
        slope0 = _repeated(points.mean_slope_vq, size, images) if functional.uses_gradient else None
        self._remainder = Remainder(functional, mean_q, slope0, expanded_share(mean_q))
        self._at_points = FixedPoints(functional.terms, len(mean_q))
        used = (points.functions_fq, *(points.slopes_vfq if functional.uses_gradient else ()))
        parts = [by_species(each_fq, points.labels_f, images, size) for each_fq in used]
        self._values, self._back = [Packed(each.T) for each in parts], [Packed(each) for each in parts]
        self._cores = MovingCores(cores, points.positions_vq, self.weights_q, self._remainder, cell_v) if cores else None

    def place(self, positions_bav: np.ndarray, energies_b: np.ndarray, gradient_bav: np.ndarray) -> PlacedCores | None:
        """Return the moving cores at geometries (B, N, 3), bohr, if there are any.

        What does not depend on charges is added to energies (B,), Ha, and gradients (B, N, 3), Ha/bohr.
        """
        return None if self._cores is None else self._cores.place(positions_bav, energies_b, gradient_bav)

    def add(
        self,
        charges_bf: np.ndarray,
        response_bf: np.ndarray,
        energies_b: np.ndarray,
        cores: PlacedCores | None = None,
        gradient_bav: np.ndarray | None = None,
    ) -> None:
        """Add the energies (B,), Ha, at charges c (B, f) and dE/dc to a response (B, f), Ha; both are padded.

        With moving cores at their places, their gradient (B, N, 3), Ha/bohr, is added to as well.
        """
        seen_ubq = [packed.times(charges_bf) for packed in self._values]
        for seen_bq in seen_ubq:
            to_images(seen_bq, self._n_images)
        pull_ubq = np.zeros((len(seen_ubq), *seen_ubq[0].shape))
        weigh = self._weigh_density if len(seen_ubq) == 1 else self._weigh
        for b in range(len(charges_bf)):
            change_uq, pull_uq = [seen_bq[b] for seen_bq in seen_ubq], pull_ubq[:, b]
            if self._cores is None or cores is None or gradient_bav is None:
                energies_b[b] += weigh(change_uq, pull_uq)
            else:
                energies_b[b] += weigh(change_uq, pull_uq, cores.changes_buq[b])
                change_uq = np.array([each_q[: len(self.weights_q)] for each_q in change_uq])
                energies_b[b] += self._cores.add(cores, b, change_uq, self._acting_uq, pull_uq, gradient_bav[b])
        for packed, pull_bq in zip(self._back, pull_ubq, strict=True):
            to_images(pull_bq, self._n_images)
            response_bf += packed.times(pull_bq)

    def _weigh_density(self, change_uq: list[np.ndarray], pull_uq: np.ndarray, core_uq: np.ndarray | None = None) -> float:
        """Return the energy, Ha, of a change of the density (1, Q), bohr⁻³, and set its weighted derivative (1, Q).

        ``core`` is the change of the model cores (1, Q); with it, the weighted derivative in it is kept as well.
        """
        r, at = self._remainder, self._at_points
        rho0_q = r.rho0 if core_uq is None else r.rho0 + core_uq[0]
        self._set_density(rho0_q, change_uq[0])
        at.evaluate()
        values = at.rho, at.e, at.v_rho
        energy = weigh_remainder(values, (rho0_q, r.e0, r.v_rho0, r.second["rr"]), self.weights_q, pull_uq[0])
        if core_uq is not None:
            self._acting_uq = self._acting_on_cores(pull_uq[0])[None]
        self._hold(pull_uq[0])
        return energy

    def _weigh(self, change_uq: list[np.ndarray], pull_uq: np.ndarray, core_uq: np.ndarray | None = None) -> float:
        """Return the same of a density and its gradient (4, Q)."""
        count, at, r = len(self.weights_q), self._at_points, self._remainder
        rho0_q, slope0_vq = (r.rho0, r.slope0) if core_uq is None else (r.rho0 + core_uq[0], r.slope0 + core_uq[1:])
        slope_vq = slope0_vq + np.array([each_q[:count] for each_q in change_uq[1:]])
        self._set_density(rho0_q, change_uq[0])
        at.sigma[:] = (slope_vq**2).sum(axis=0)
        at.evaluate()
        value_q, d_rho_q, d_slope_vq = r.combine(at.rho, slope_vq, at.rho * at.e, at.v_rho, at.v_sigma, core_uq=core_uq)
        pull_uq[0, :count], pull_uq[1:, :count] = self.weights_q * d_rho_q, self.weights_q * d_slope_vq
        if core_uq is not None:
            on_density_q = self._acting_on_cores(pull_uq[0])
            self._acting_uq = np.concatenate([on_density_q[None], 2.0 * self.weights_q * at.v_sigma * slope_vq])
        self._hold(pull_uq[0])
        return float(self.weights_q @ value_q)

    def _set_density(self, rho0_q: np.ndarray, change_q: np.ndarray) -> None:
        """Set the density at which the functional is evaluated."""
        rho_q = self._at_points.rho
        np.maximum(rho0_q + change_q[: len(rho_q)], SMALLEST_DENSITY, out=rho_q)

    def _acting_on_cores(self, pull_q: np.ndarray) -> np.ndarray:
        """Return the weighted derivative in the density of the cores (Q,), given that in the expanded one."""
        at = self._at_points
        held_q = at.rho <= SMALLEST_DENSITY
        # where the whole density is held, what is expanded of it grows as cores shrink
        return self.weights_q * at.v_rho - np.where(held_q, pull_q[: len(held_q)], 0.0)

    def _hold(self, pull_q: np.ndarray) -> None:
        """Let nothing depend on a density that does not change."""
        rho_q = self._at_points.rho
        pull_q[: len(rho_q)][rho_q <= SMALLEST_DENSITY] = 0.0
