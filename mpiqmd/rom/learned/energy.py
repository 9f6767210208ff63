"""The energy of a learned-grid model as a function of latent coordinates and body-frame positions.

    E(z, x) = E_ii(x) + const + w tr(Ũ h(x) Ũ^T) + w tr(Ũ β(x) D β(x)^T Ũ^T)
              + l_0(x) + c·l(x) + ½ c·K c + Σ_q w_q R(ρ_q),          c = ζ (ρ - ρ̄) at the points

Each term has its file: ``one_electron`` (h), ``nonlocal_ions`` (β), ``local_ions`` (l), ``density_reader`` (c) and
``xc_remainder`` (R).  Gradients in z and x are the exact derivatives of this function.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.compiled.ions import IonTables
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import LearnedArrays
from mpiqmd.rom.learned.density_reader import DensityReader
from mpiqmd.rom.learned.latent_orbitals import LatentOrbitals
from mpiqmd.rom.learned.local_ions import WITH_SLOPES, LocalIon, polynomial_rows
from mpiqmd.rom.learned.nonlocal_ions import NonlocalIon
from mpiqmd.rom.learned.one_electron import OneElectron
from mpiqmd.rom.learned.packed import Packed, pad, padded
from mpiqmd.rom.learned.xc_remainder import XcRemainder


@dataclass(frozen=True)
class Placed:
    """What depends on the geometry alone, for a batch of geometries.

    Attributes
    ----------
    positions_bav
        Body-frame positions, bohr.
    excess_b
        How far outside the tabulated boxes each geometry is, bohr; 0 inside.
    base_b, base_gradient_bav
        Energy that does not depend on P (Ha), and its derivative (Ha/bohr).
    displacements_bl
        Along which the one-electron matrices act.
    external_bf, external_slopes_bavf
        l(x) on the density functions, Ha, and its derivatives with the moving ions' positions, Ha/bohr; padded.
    overlaps
        Of each ion with projectors, with their slopes, shape (B, 4, p, active), padded.
    """

    positions_bav: np.ndarray
    excess_b: np.ndarray
    base_b: np.ndarray
    base_gradient_bav: np.ndarray
    displacements_bl: np.ndarray
    external_bf: np.ndarray
    external_slopes_bavf: np.ndarray
    overlaps: list[np.ndarray]

    @property
    def excess(self) -> np.ndarray:
        """How far outside the tabulated boxes each geometry is, shape (B,), bohr; 0 inside."""
        return self.excess_b

    def chosen(self, members: np.ndarray) -> Placed:
        """Return some of the geometries."""
        arrays = {f.name: getattr(self, f.name)[members] for f in fields(self) if f.name != "overlaps"}
        return replace(self, overlaps=[overlaps_bipk[members] for overlaps_bipk in self.overlaps], **arrays)


@dataclass(frozen=True)
class Evaluated:
    """Energies and their derivatives at latent coordinates, for a batch.

    Attributes
    ----------
    energies_b
        E, Ha.
    slopes_bd
        dE/dz, square roots of Ha, padded.
    gradient_bav
        ∂E/∂x at fixed z, Ha/bohr.
    charges_bf
        c, coefficients of the density functions, padded.
    """

    energies_b: np.ndarray
    slopes_bd: np.ndarray
    gradient_bav: np.ndarray
    charges_bf: np.ndarray

    def put(self, members: np.ndarray, other: Evaluated) -> None:
        """Set some members, from a batch of all of them or of just those."""
        rows = slice(None) if len(other.energies_b) < len(self.energies_b) else members
        for field in fields(self):
            getattr(self, field.name)[members] = getattr(other, field.name)[rows]


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
        self.orbitals, self.one_electron = LatentOrbitals(arrays.subspaces), OneElectron(arrays.one_electron)
        self.repulsion = IonTables(valences_a, cell_v, arrays.boxes)
        self.reader, self.xc = DensityReader(arrays.points), XcRemainder(arrays.xc, functional)
        active = arrays.subspaces.active_mk.shape[1]
        self._local = [LocalIon(ion) for ion in arrays.ions]
        self._nonlocal = {ion.index: NonlocalIon(ion, active) for ion in arrays.ions if len(ion.coupling_pp)}
        self._n_functions = len(arrays.points.interaction_f)
        # the points of the learned grid and those of xc are visited together
        modes_qk = np.concatenate([self.reader.modes_qk, self.xc.modes_qk])
        self._at_points, self._back = Packed(modes_qk), Packed(modes_qk.T)
        self._dipole_vf = pad(arrays.dipole.functions_vf)

    def place_batch(self, positions_bav: np.ndarray) -> Placed:
        """Return the geometry-dependent parts at body-frame positions (B, N, 3), bohr."""
        base_b, base_gradient_bav = self.repulsion.evaluate(positions_bav)
        base_b += self.arrays.constant
        ions = self.arrays.ions
        tables_baif = np.empty((len(positions_bav), len(ions), WITH_SLOPES, padded(self._n_functions)))
        overlaps, excess_b = [], np.zeros(len(positions_bav))
        for number, ion in enumerate(ions):
            at_bv = positions_bav[:, ion.index]
            excess_b = np.maximum(excess_b, ion.box.excesses(at_bv))
            rows_bik = polynomial_rows(at_bv, ion.box, ion.degrees_kv)
            tables_baif[:, number], mean_bi = self._local[number].look_up(rows_bik)
            base_b += mean_bi[:, 0]
            base_gradient_bav[:, ion.index] += mean_bi[:, 1:]
            if ion.index in self._nonlocal:
                overlaps.append(self._nonlocal[ion.index].look_up(rows_bik))
        displacements_bl = self.one_electron.displacements(positions_bav)
        external_bf, slopes_bavf = tables_baif[:, :, 0].sum(axis=1), tables_baif[:, :, 1:]
        return Placed(positions_bav, excess_b, base_b, base_gradient_bav, displacements_bl, external_bf, slopes_bavf, overlaps)

    def evaluate(self, placed: Placed, latent_bd: np.ndarray) -> Evaluated:
        """Return energies and their derivatives at padded latent coordinates (B, d)."""
        orbitals_bnk, inverse_bnn = self.orbitals.orthonormal(latent_bd)
        applied_bnk, energies_b = np.zeros_like(orbitals_bnk), placed.base_b.copy()
        gradient_bav = placed.base_gradient_bav.copy()
        one_electron_b, along_bx = self.one_electron.add(orbitals_bnk, placed.displacements_bl, applied_bnk)
        energies_b += one_electron_b
        gradient_bav += along_bx.reshape(gradient_bav.shape)
        for projectors, overlaps_bipk in zip(self._nonlocal.values(), placed.overlaps, strict=True):
            projectors.add(orbitals_bnk, overlaps_bipk, applied_bnk, energies_b, gradient_bav)
        charges_bf = self._add_density_terms(placed, orbitals_bnk, applied_bnk, energies_b)
        for number, ion in enumerate(self.arrays.ions):
            slopes_bvf = placed.external_slopes_bavf[:, number]
            gradient_bav[:, ion.index] += (slopes_bvf @ charges_bf[:, :, None])[:, :, 0]
        slopes_bd = self.orbitals.pull(orbitals_bnk, inverse_bnn, applied_bnk)
        return Evaluated(energies_b, slopes_bd, gradient_bav, charges_bf)

    def _add_density_terms(
        self, placed: Placed, orbitals_bnk: np.ndarray, applied_bnk: np.ndarray, energies_b: np.ndarray
    ) -> np.ndarray:
        """Add the energies of the density, and their Hamiltonian on the orbitals; return c (B, f), padded."""
        size, n, k = orbitals_bnk.shape
        at_points_bnq = self._at_points.times(orbitals_bnk.reshape(size * n, k)).reshape(size, n, -1)
        rho_bq = np.empty((size, at_points_bnq.shape[2]))
        kernels.densities(at_points_bnq, SPIN_WEIGHT, rho_bq)
        first, potential_bq = len(self.reader.modes_qk), np.zeros_like(rho_bq)
        charges_bf, potential_bq[:, :first], interaction_b = self.reader.interact(rho_bq[:, :first], placed.external_bf)
        energies_b += interaction_b
        rho_of_xc_bq, of_xc_bq = rho_bq[:, first:], potential_bq[:, first:]
        if self.xc.uses_gradient:
            orbitals_bnq = at_points_bnq[:, :, first:].copy()
            xc_b, local_bnq, xc_applied_bnk = self.xc.with_slopes(orbitals_bnk, orbitals_bnq, rho_of_xc_bq, of_xc_bq)
            applied_bnk += xc_applied_bnk
        else:
            xc_b, local_bnq = self.xc.potential(rho_of_xc_bq, of_xc_bq), None
        energies_b += xc_b
        kernels.multiply(potential_bq, at_points_bnq)
        if local_bnq is not None:
            at_points_bnq[:, :, first:] += local_bnq
        applied_bnk += self._back.times(at_points_bnq.reshape(size * n, -1)).reshape(size, n, k)
        return charges_bf

    def dipoles(self, positions_bav: np.ndarray, charges_bf: np.ndarray, steps_bd: np.ndarray) -> np.ndarray:
        """Return the dipole moments ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, shape (B, 3), atomic units.

        ``charges`` are c where the energy was evaluated, ``steps`` those from there to the minimum, both padded.
        """
        dipole = self.arrays.dipole
        electrons_bv = dipole.mean_v + charges_bf @ self._dipole_vf.T
        electrons_bv += steps_bd[:, : dipole.slopes_vd.shape[1]] @ dipole.slopes_vd.T
        return self.valences_a @ positions_bav - electrons_bv
