"""The energy of a learned-grid model as a function of latent coordinates and body-frame positions.

    E(z, x) = E_ii(x) + const + w tr(Ũ h(x) Ũ^T) + w tr(Ũ β(x) D β(x)^T Ũ^T)
              + l_0(x) + c·l(x) + ½ c·K c + Σ_q w_q R(ρ̄_q + c·b_q),          c = ζ (ρ - ρ̄) at the points

Each term has its file: ``one_electron`` (h), ``first_order`` (what of h is linear in x, read off the points),
``nonlocal_ions`` (β), ``local_ions`` (l), ``density_reader`` (c) and ``xc_remainder`` (R).  Gradients in z and x are the exact
derivatives of this function.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.core_density import PlacedCores
from mpiqmd.rom.learned.data import LearnedArrays
from mpiqmd.rom.learned.density_reader import DensityReader
from mpiqmd.rom.learned.first_order import FirstOrder
from mpiqmd.rom.learned.ion_repulsion import IonTables
from mpiqmd.rom.learned.latent_orbitals import LatentOrbitals
from mpiqmd.rom.learned.local_ions import WITH_SLOPES, LocalIon, polynomial_rows
from mpiqmd.rom.learned.nonlocal_ions import NonlocalIon
from mpiqmd.rom.learned.one_electron import OneElectron
from mpiqmd.rom.learned.packed import pad, padded
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
    displacements_bl, read_bl
        Along which the one-electron matrices act, and what is read off the points in their place, bohr.
    tables_baif
        l(x) of each moving ion on the density functions, Ha, and its derivatives with its position, Ha/bohr; padded.
    overlaps
        Of each ion with projectors, with their slopes, shape (B, 4, p, active), padded.
    cores
        Model cores that move, if there are any.
    """

    positions_bav: np.ndarray
    excess_b: np.ndarray
    base_b: np.ndarray
    base_gradient_bav: np.ndarray
    displacements_bl: np.ndarray
    read_bl: np.ndarray
    tables_baif: np.ndarray
    overlaps: list[np.ndarray]
    cores: PlacedCores | None

    def chosen(self, members: np.ndarray) -> Placed:
        """Return some of the geometries."""
        arrays = {f.name: getattr(self, f.name)[members] for f in fields(self) if f.name not in ("overlaps", "cores")}
        cores = None if self.cores is None else self.cores.chosen(members)
        return replace(self, overlaps=[overlaps_bipk[members] for overlaps_bipk in self.overlaps], cores=cores, **arrays)


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
        self.reader = DensityReader(arrays.points)
        self.first_order = FirstOrder(arrays.first_order, self.reader.n_species)
        self.xc = XcRemainder(arrays.xc, functional, arrays.cores, cell_v)
        active = arrays.subspaces.active_mk.shape[1]
        self._local = [LocalIon(ion) for ion in arrays.ions]
        self._nonlocal = {ion.index: NonlocalIon(ion, active) for ion in arrays.ions if len(ion.coupling_pp)}
        self._moving = np.array([ion.index for ion in arrays.ions], int)
        self._n_functions = len(arrays.points.interaction_f)
        self._dipole_vf = pad(arrays.dipole.functions_vf)

    def place_batch(self, positions_bav: np.ndarray) -> Placed:
        """Return the geometry-dependent parts at body-frame positions (B, N, 3), bohr."""
        base_b, base_gradient_bav = self.repulsion.evaluate(positions_bav)
        base_b += self.arrays.constant
        ions = self.arrays.ions
        tables_baif = np.empty((len(positions_bav), len(ions), WITH_SLOPES, padded(self._n_functions)))
        overlaps, excess_b = [], np.zeros(len(positions_bav))
        for number, ion in enumerate(ions):
            rows_bik = polynomial_rows(positions_bav[:, ion.index], ion.box, ion.degrees_kv, excess_b)
            mean_bi = self._local[number].look_up(rows_bik, tables_baif[:, number])
            base_b += mean_bi[:, 0]
            base_gradient_bav[:, ion.index] += mean_bi[:, 1:]
            if ion.index in self._nonlocal:
                overlaps.append(self._nonlocal[ion.index].look_up(rows_bik))
        displacements_bl = self.one_electron.displacements(positions_bav)
        read_bl = self.first_order.displacements(positions_bav)
        cores = self.xc.place(positions_bav, base_b, base_gradient_bav)
        return Placed(
            positions_bav, excess_b, base_b, base_gradient_bav, displacements_bl, read_bl, tables_baif, overlaps, cores
        )

    def evaluate(self, placed: Placed, latent_bd: np.ndarray) -> Evaluated:
        """Return energies and their derivatives at padded latent coordinates (B, d)."""
        orbitals_bnk, inverse_bnn = self.orbitals.orthonormal(latent_bd)
        applied_bnk, energies_b = np.zeros(orbitals_bnk.shape), placed.base_b.copy()
        gradient_bav = placed.base_gradient_bav.copy()
        along_bx = self.one_electron.add(orbitals_bnk, placed.displacements_bl, applied_bnk, energies_b)
        gradient_bav += along_bx.reshape(gradient_bav.shape)
        for projectors, overlaps_bipk in zip(self._nonlocal.values(), placed.overlaps, strict=True):
            projectors.add(orbitals_bnk, overlaps_bipk, applied_bnk, energies_b, gradient_bav)
        state = orbitals_bnk, latent_bd
        charges_bf = self._add_density_terms(placed, state, applied_bnk, energies_b, gradient_bav)
        kernels.add_external_slopes(placed.tables_baif, charges_bf, self._moving, gradient_bav)
        slopes_bd = self.orbitals.pull(orbitals_bnk, inverse_bnn, applied_bnk)
        slopes_bd += self.first_order.slopes(placed.read_bl)
        return Evaluated(energies_b, slopes_bd, gradient_bav, charges_bf)

    def _add_density_terms(
        self,
        placed: Placed,
        state: tuple[np.ndarray, np.ndarray],
        applied_bnk: np.ndarray,
        energies_b: np.ndarray,
        gradient_bav: np.ndarray,
    ) -> np.ndarray:
        """Add the energies of the density, their Hamiltonian on the orbitals and what pulls at atoms; return c (B, f).

        The state is given by orbitals (B, n, k) and latent coordinates (B, d).
        """
        orbitals_bnk, latent_bd = state
        seen_bnq, changes_bq = self.reader.see(orbitals_bnk)
        charges_bf = self.reader.charges(changes_bq)
        response_bf = kernels.respond(charges_bf, placed.tables_baif, self.reader.interaction_f, energies_b)
        self.xc.add(charges_bf, response_bf, energies_b, placed.cores, gradient_bav)
        potential_bq = self.reader.potential(response_bf)
        along_bx = self.first_order.add(changes_bq, latent_bd, placed.read_bl, energies_b, potential_bq)
        gradient_bav += along_bx.reshape(gradient_bav.shape)
        self.reader.pull(potential_bq, seen_bnq, applied_bnk)
        return charges_bf

    def dipoles(self, positions_bav: np.ndarray, charges_bf: np.ndarray, steps_bd: np.ndarray) -> np.ndarray:
        """Return the dipole moments ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, shape (B, 3), atomic units.

        ``charges`` are c where the energy was evaluated, ``steps`` those from there to the minimum, both padded.
        """
        dipole = self.arrays.dipole
        electrons_bv = dipole.mean_v + charges_bf @ self._dipole_vf.T
        electrons_bv += steps_bd[:, : dipole.slopes_vd.shape[1]] @ dipole.slopes_vd.T
        return self.valences_a @ positions_bav - electrons_bv
