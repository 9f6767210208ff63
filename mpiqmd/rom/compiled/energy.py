"""The compiled free energy as a function of the density matrix and the body-frame positions.

    A(P, x) = d·l(x) + ½ d·K d + 2 tr(P b(x) D b(x)^T) + Σ_q w_q R(u_q[P]) + E_ii(x) + const,     d = d(P)

Its Hamiltonian ``H = dA/d(2P)`` and its gradient in x are exact derivatives of this function.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.compiled.data import CompiledArrays
from mpiqmd.rom.compiled.tables import PositionTables
from mpiqmd.rom.learned.ion_repulsion import IonTables
from mpiqmd.rom.learned.products import shared_product
from mpiqmd.rom.learned.remainder import Remainder


@dataclass(frozen=True)
class PlacedEnergy:
    """What depends on the geometry alone, for one geometry, or for a batch with a leading axis in everything.

    Attributes
    ----------
    positions_av
        The body-frame positions, bohr.
    base, base_gradient_av
        Energy that does not depend on P (Ha) and its derivative (Ha/bohr).
    linear_p
        Linear Hamiltonian on the pairs, nonlocal part included, Ha.
    slopes_kv
        Derivatives of the tables' polynomials with respect to the position of their atom, 1/bohr.
    overlaps_mp
        Projector overlaps, pinned atoms first; empty where no atom with projectors moves.
    excess
        How far outside the tabulated boxes the geometry is, bohr; 0 inside.
    """

    positions_av: np.ndarray
    base: float | np.ndarray
    base_gradient_av: np.ndarray
    linear_p: np.ndarray
    slopes_kv: np.ndarray
    overlaps_mp: np.ndarray
    excess: float | np.ndarray

    def member(self, b: int) -> PlacedEnergy:
        """Return one geometry of a batch."""
        return PlacedEnergy(*(getattr(self, field.name)[b] for field in fields(self)))


class CompiledEnergy:
    """Evaluates the compiled model.  Replicated, not collective.

    Parameters
    ----------
    arrays
        The compiled arrays.
    functional
        The density functional of the model.
    valences_a
        Charges of the ions.
    cell_v
        Cell edges for a periodic model, None for an isolated one.
    """

    def __init__(
        self, arrays: CompiledArrays, functional: Functional, valences_a: np.ndarray, cell_v: np.ndarray | None
    ) -> None:
        self.arrays, self.valences_a = arrays, valences_a
        q = arrays.quadrature
        slope0 = q.slope0_vq if q is not None and functional.uses_gradient else None
        self.remainder = None if q is None else Remainder(functional, q.rho0_q, slope0)
        self.ions = IonTables(valences_a, cell_v, arrays.boxes)
        self.tables = PositionTables(arrays.atoms, arrays.pairs.classes)
        moving = {atom.index: atom.coupling_pp for atom in arrays.atoms}
        self._couplings = [moving[index] for index, _, _ in self.tables.overlaps]
        self.coupling_pp = _block_diagonal([arrays.fixed_coupling_pp, *self._couplings])
        fixed = arrays.fixed_overlaps_mp @ arrays.fixed_coupling_pp @ arrays.fixed_overlaps_mp.T
        self.linear_p = arrays.linear_p + arrays.pairs.packed(fixed)

    def place(self, positions_av: np.ndarray) -> PlacedEnergy:
        """Return the geometry-dependent parts at body-frame positions (N, 3), bohr."""
        return self.place_batch(positions_av[None]).member(0)

    def place_batch(self, positions_bav: np.ndarray) -> PlacedEnergy:
        """Return the same at several geometries (B, N, 3), bohr, with a leading axis."""
        weights_bk, slopes_bkv, excess_b = self.tables.weights(positions_bav)
        linear_bp = self.tables.local(weights_bk)
        linear_bp += self.linear_p
        overlaps_bmp = self._add_nonlocal(weights_bk, linear_bp)
        base_b, base_gradient_bav = self.ions.evaluate(positions_bav)
        base_b += self.arrays.constant
        return PlacedEnergy(positions_bav, base_b, base_gradient_bav, linear_bp, slopes_bkv, overlaps_bmp, excess_b)

    def _add_nonlocal(self, weights_bk: np.ndarray, linear_bp: np.ndarray) -> np.ndarray:
        """Add the projectors of the moving atoms to the Hamiltonians and return all overlaps, shape (B, modes, projectors)."""
        size, pairs, tables = len(weights_bk), self.arrays.pairs, self.tables
        if not tables.overlaps:
            return np.empty((size, pairs.n_modes, 0))
        moving = [
            shared_product(weights_bk[:, part], table, size).reshape(size, pairs.n_modes, -1)
            for _, part, table in tables.overlaps
        ]
        for overlaps_bmp, coupling_pp in zip(moving, self._couplings, strict=True):
            nonlocal_bmm = overlaps_bmp @ coupling_pp @ overlaps_bmp.transpose(0, 2, 1)
            linear_bp += nonlocal_bmm[:, pairs.rows, pairs.columns]
        fixed_mp = self.arrays.fixed_overlaps_mp
        return np.concatenate([np.broadcast_to(fixed_mp, (size, *fixed_mp.shape)), *moving], axis=2)

    def evaluate(self, placed: PlacedEnergy, density_matrix_mm: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the energy (without entropy, Ha) and ``H = dE/d(2P)`` at a density matrix."""
        arrays = self.arrays
        d = arrays.pairs.coefficients(density_matrix_mm)
        potential = arrays.interaction.apply(d)
        energy = placed.base + float(d @ (placed.linear_p + 0.5 * potential))
        hamiltonian = arrays.pairs.matrix(placed.linear_p + potential)
        if self.remainder is not None:
            rest, matrix = self._rest(density_matrix_mm)
            energy += rest
            hamiltonian += arrays.pairs.matrix(arrays.pairs.packed(matrix))
        return energy, hamiltonian

    def _rest(self, density_matrix_mm: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the quadrature of the remainder and its derivative."""
        q = self.arrays.quadrature
        half = q.modes_qm @ density_matrix_mm
        rho = 2.0 * np.einsum("qm,qm->q", half, q.modes_qm)
        if self.remainder.slope0 is None:
            value, d_rho, _ = self.remainder.evaluate(rho)
            matrix = (q.modes_qm.T * (q.weights_q * d_rho)) @ q.modes_qm
            return float(q.weights_q @ value), matrix
        slope = 4.0 * np.einsum("qm,qvm->vq", half, q.slopes_qvm)
        value, d_rho, d_slope = self.remainder.evaluate(rho, slope)
        pull = np.einsum("vq,qvm->qm", q.weights_q * d_slope, q.slopes_qvm)
        pull += (0.5 * q.weights_q * d_rho)[:, None] * q.modes_qm
        matrix = q.modes_qm.T @ pull
        return float(q.weights_q @ value), matrix + matrix.T

    def gradient(self, placed: PlacedEnergy, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return ``∂A/∂x_a`` at fixed P, shape (N, 3), Ha/bohr; with a minimising P the total derivative."""
        d = self.arrays.pairs.coefficients(density_matrix_mm)
        batch = PlacedEnergy(*(np.asarray(getattr(placed, field.name))[None] for field in fields(placed)))
        return self.gradients_of(batch, np.eye(len(density_matrix_mm))[None], density_matrix_mm[None], d[None])[0]

    def gradients_of(
        self, placed: PlacedEnergy, orbitals_bmn: np.ndarray, dual_bmn: np.ndarray, coefficients_bp: np.ndarray
    ) -> np.ndarray:
        """Return the same, shape (B, N, 3), for a batch, ``P = W U^T``, with the pair coefficients at hand."""
        gradient_bav = placed.base_gradient_av.copy()
        self.tables.add_gradient(placed.slopes_kv, coefficients_bp, gradient_bav)
        if self.tables.overlaps:
            pulls = placed.overlaps_mp @ self.coupling_pp
            weights_bmp = 4.0 * (dual_bmn @ (orbitals_bmn.transpose(0, 2, 1) @ pulls))
            self._add_nonlocal_gradient(placed.slopes_kv, weights_bmp, gradient_bav)
        return gradient_bav

    def _add_nonlocal_gradient(self, slopes_bkv: np.ndarray, weights_bmp: np.ndarray, gradient_bav: np.ndarray) -> None:
        """Add ``Σ weights·d overlaps`` of the moving atoms."""
        size, n_modes, _ = weights_bmp.shape
        first = self.arrays.fixed_overlaps_mp.shape[1]
        for index, part, table in self.tables.overlaps:
            count = table.shape[1] // n_modes
            weights_bk = weights_bmp[:, :, first : first + count].reshape(size, -1)
            pull_bk = shared_product(weights_bk, table.T, size)
            gradient_bav[:, index] += (pull_bk[:, None] @ slopes_bkv[:, part])[:, 0]
            first += count

    def dipole(self, positions_av: np.ndarray, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return the dipole moment ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, atomic units, shape (3,)."""
        return self.dipole_of(positions_av, self.arrays.pairs.coefficients(density_matrix_mm))

    def dipole_of(self, positions_av: np.ndarray, coefficients_p: np.ndarray) -> np.ndarray:
        """Return the same from pair coefficients; either may have a leading axis."""
        electrons = (coefficients_p[..., None, :] @ self.arrays.dipole_vp.T)[..., 0, :]
        return self.valences_a @ positions_av - electrons


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    size = sum(len(block) for block in blocks)
    result, first = np.zeros((size, size)), 0
    for block in blocks:
        result[first : first + len(block), first : first + len(block)] = block
        first += len(block)
    return result
