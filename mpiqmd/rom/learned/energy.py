"""The energy of a learned-grid model as a function of latent coordinates and body-frame positions.

    E(z, x) = E_ii(x) + const + w tr(Ũ h(x) Ũ^T) + w tr(Ũ β(x) D β(x)^T Ũ^T)
              + l_0(x) + c·l(x) + ½ c·K c + Σ_q w_q R(ρ_q),          c = ζ (ρ - ρ̄) at the points

h holds the kinetic energy, the mean and the first order in the displacements of the ions' potentials, and the Hartree and xc
potential of the mean density ρ̄, all exact; what is left of the ions' potentials acts through l(x) on the density functions.
Gradients in z and x are the exact derivatives of this function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.compiled.ions import IonTables
from mpiqmd.rom.compiled.products import shared_product
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import LearnedArrays
from mpiqmd.rom.learned.ions import Ions, PlacedIons
from mpiqmd.rom.learned.xc_remainder import XcRemainder


@dataclass(frozen=True)
class Placed:
    """What depends on the geometry alone, for a batch of geometries.

    Attributes
    ----------
    positions_bav
        Body-frame positions, bohr.
    base_b, base_gradient_bav
        Energy that does not depend on P (Ha), and its derivative (Ha/bohr).
    one_electron_bkk
        h over the active modes, Ha.
    ions
        What the moving atoms' tables give there.
    """

    positions_bav: np.ndarray
    base_b: np.ndarray
    base_gradient_bav: np.ndarray
    one_electron_bkk: np.ndarray
    ions: PlacedIons

    @property
    def excess(self) -> np.ndarray:
        """How far outside the tabulated boxes each geometry is, shape (B,), bohr; 0 inside."""
        return self.ions.excess_b

    def chosen(self, members: np.ndarray) -> Placed:
        """Return some of the geometries."""
        return Placed(
            self.positions_bav[members],
            self.base_b[members],
            self.base_gradient_bav[members],
            self.one_electron_bkk[members],
            self.ions.chosen(members),
        )


@dataclass(frozen=True)
class Evaluated:
    """Energies and their derivatives at latent coordinates, for a batch.

    Attributes
    ----------
    energies_b
        E, Ha.
    slopes_bd
        dE/dz, square roots of Ha.
    orbitals_bnk
        Ũ over the active modes.
    charges_bf
        c, coefficients of the density functions.
    """

    energies_b: np.ndarray
    slopes_bd: np.ndarray
    orbitals_bnk: np.ndarray
    charges_bf: np.ndarray

    @classmethod
    def empty(cls, size: int, d: int, n: int, k: int, f: int) -> Evaluated:
        """Return room for a batch: d latent coordinates, n orbitals over k active modes, f density functions."""
        return cls(np.zeros(size), np.zeros((size, d)), np.zeros((size, n, k)), np.zeros((size, f)))

    def put(self, members: np.ndarray, other: Evaluated) -> None:
        """Set some members, from a batch of all of them or of just those."""
        rows = slice(None) if len(other.energies_b) < len(self.energies_b) else members
        self.energies_b[members], self.slopes_bd[members] = other.energies_b[rows], other.slopes_bd[rows]
        self.orbitals_bnk[members], self.charges_bf[members] = other.orbitals_bnk[rows], other.charges_bf[rows]


class LearnedEnergy:
    """Evaluates a learned-grid model.  Replicated, not collective.

    Parameters
    ----------
    arrays
        The model.
    functional
        Its density functional.
    valences_a
        Charges of the ions.
    cell_v
        Cell edges for a periodic model, None for an isolated one.
    """

    def __init__(
        self, arrays: LearnedArrays, functional: Functional, valences_a: np.ndarray, cell_v: np.ndarray | None
    ) -> None:
        self.arrays, self.valences_a = arrays, valences_a
        self.subspaces, self.points = arrays.subspaces, arrays.points
        self.ions = Ions(arrays.ions, arrays.one_electron_kk)
        self.repulsion = IonTables(valences_a, cell_v, arrays.boxes)
        self.xc = XcRemainder(arrays.xc, functional)
        # the points of the learned grid and those of xc are visited together
        self._modes_kq = np.ascontiguousarray(np.concatenate([self.points.modes_qk, arrays.xc.modes_qk]).T)
        self._modes_qk = np.ascontiguousarray(self._modes_kq.T)
        self._reading_qf = np.ascontiguousarray(self.points.reading_fq.T)

    def place_batch(self, positions_bav: np.ndarray) -> Placed:
        """Return the geometry-dependent parts at body-frame positions (B, N, 3), bohr."""
        base_b, base_gradient_bav = self.repulsion.evaluate(positions_bav)
        base_b += self.arrays.constant
        one_electron_bkk, ions = self.ions.place(positions_bav)
        return Placed(positions_bav, base_b, base_gradient_bav, one_electron_bkk, ions)

    def evaluate(self, placed: Placed, latent_bd: np.ndarray) -> Evaluated:
        """Return energies and their slopes at latent coordinates (B, d)."""
        size = len(latent_bd)
        orbitals_bnk, inverse_bnn = self.subspaces.orthonormal(latent_bd)
        n, k = orbitals_bnk.shape[1:]
        rows = orbitals_bnk.reshape(size * n, k)
        at_points_bnq = shared_product(rows, self._modes_kq, size).reshape(size, n, -1)
        rho_bq = np.empty((size, at_points_bnq.shape[2]))
        kernels.densities(at_points_bnq, SPIN_WEIGHT, rho_bq)

        charges_bf, potential_bq, energies_b = self._interact(placed, rho_bq)
        weighted_bnq = np.empty_like(at_points_bnq)
        kernels.multiply(potential_bq, at_points_bnq, weighted_bnq)
        applied_bnk = orbitals_bnk @ placed.one_electron_bkk
        applied_bnk += placed.ions.nonlocal_applied(orbitals_bnk)
        energies_b += placed.base_b + placed.ions.mean_b + SPIN_WEIGHT * np.einsum("bnk,bnk->b", orbitals_bnk, applied_bnk)

        first = len(self.points.mean_q)
        energies_b += self.xc.add(rows, at_points_bnq, rho_bq, weighted_bnq, applied_bnk, first)
        applied_bnk += shared_product(weighted_bnq.reshape(size * n, -1), self._modes_qk, size).reshape(size, n, k)
        slopes_bd = self.subspaces.pull(orbitals_bnk, inverse_bnn, applied_bnk)
        return Evaluated(energies_b, slopes_bd, orbitals_bnk, charges_bf)

    def _interact(self, placed: Placed, rho_bq: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return c (B, f), the potential at all points (B, Q; 0 at those of xc), Ha, and ``c·l + ½ c·K c`` (B,), Ha."""
        size, count = len(rho_bq), len(self.points.mean_q)
        change_bq = rho_bq[:, :count] - self.points.mean_q
        charges_bf = shared_product(change_bq, self._reading_qf, size)
        response_bf = self.points.interaction_f * charges_bf
        energies_b = np.einsum("bf,bf->b", charges_bf, placed.ions.potential_bf + 0.5 * response_bf)
        response_bf += placed.ions.potential_bf
        potential_bq = np.zeros_like(rho_bq)
        potential_bq[:, :count] = shared_product(response_bf, self.points.reading_fq, size)
        return charges_bf, potential_bq, energies_b

    def gradients(self, placed: Placed, evaluated: Evaluated) -> np.ndarray:
        """Return ``∂E/∂x`` at fixed z, shape (B, N, 3), Ha/bohr."""
        gradient_bav = placed.base_gradient_bav.copy()
        self.ions.add_gradient(placed.ions, evaluated.orbitals_bnk, evaluated.charges_bf, gradient_bav)
        return gradient_bav

    def dipoles(self, positions_bav: np.ndarray, orbitals_bnk: np.ndarray) -> np.ndarray:
        """Return the dipole moments ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, shape (B, 3), atomic units."""
        electrons_bv = SPIN_WEIGHT * np.einsum(
            "bnk,vkl,bnl->bv", orbitals_bnk, self.arrays.dipole_vkk, orbitals_bnk, optimize=True
        )
        return self.valences_a @ positions_bav - electrons_bv
