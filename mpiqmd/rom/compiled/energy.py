"""The compiled free energy as a function of the density matrix and the body-frame positions.

    A(P, x) = d·l(x) + ½ d·K d + 2 tr(P b(x) D b(x)^T) + Σ_q w_q R(u_q[P]) + E_ii(x) + const,     d = d(P)

Its Hamiltonian ``H = dA/d(2P)`` and its gradient in x are exact derivatives of this function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.kohnsham.xc import Functional
from mpiqmd.rom.compiled.data import CompiledArrays
from mpiqmd.rom.compiled.ions import IonTables
from mpiqmd.rom.compiled.remainder import Remainder
from mpiqmd.rom.compiled.tables import PositionTables


@dataclass(frozen=True)
class PlacedEnergy:
    """What depends on the geometry alone.

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
        Projector overlaps, pinned atoms first.
    excess
        How far outside the tabulated boxes the geometry is, bohr; 0 inside.
    """

    positions_av: np.ndarray
    base: float
    base_gradient_av: np.ndarray
    linear_p: np.ndarray
    slopes_kv: np.ndarray
    overlaps_mp: np.ndarray
    excess: float


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
        """Return the geometry-dependent parts at body-frame positions."""
        arrays, tables = self.arrays, self.tables
        weights_k, slopes_kv, excess = tables.weights(positions_av)
        linear_p = self.linear_p + tables.local(weights_k)
        overlaps_mp = arrays.fixed_overlaps_mp
        if tables.overlaps:
            n_modes = arrays.pairs.n_modes
            moving = [(weights_k[part] @ table).reshape(n_modes, -1) for _, part, table in tables.overlaps]
            nonlocal_mm = sum(b @ c @ b.T for b, c in zip(moving, self._couplings, strict=True))
            linear_p += arrays.pairs.packed(nonlocal_mm)
            overlaps_mp = np.concatenate([overlaps_mp, *moving], axis=1)
        base, base_gradient = self.ions.evaluate(positions_av)
        return PlacedEnergy(
            positions_av, arrays.constant + base, base_gradient, linear_p, slopes_kv, overlaps_mp, excess
        )

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
        return self.gradient_of(placed, np.eye(len(density_matrix_mm)), density_matrix_mm, d)

    def gradient_of(
        self, placed: PlacedEnergy, orbitals_mn: np.ndarray, dual_mn: np.ndarray, coefficients_p: np.ndarray
    ) -> np.ndarray:
        """Return the same for ``P = W U^T`` with its pair coefficients at hand."""
        gradient_av = placed.base_gradient_av.copy()
        self.tables.add_gradient(placed.slopes_kv, coefficients_p, gradient_av)
        if self.tables.overlaps:
            weights_mp = 4.0 * (dual_mn @ (orbitals_mn.T @ placed.overlaps_mp @ self.coupling_pp))
            first = self.arrays.fixed_overlaps_mp.shape[1]
            for index, part, table in self.tables.overlaps:
                count = table.shape[1] // len(weights_mp)
                pull_k = table @ weights_mp[:, first : first + count].ravel()
                gradient_av[index] += pull_k @ placed.slopes_kv[part]
                first += count
        return gradient_av

    def dipole(self, positions_av: np.ndarray, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return the dipole moment ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, atomic units, shape (3,)."""
        return self.dipole_of(positions_av, self.arrays.pairs.coefficients(density_matrix_mm))

    def dipole_of(self, positions_av: np.ndarray, coefficients_p: np.ndarray) -> np.ndarray:
        """Return the same from pair coefficients."""
        return self.valences_a @ positions_av - self.arrays.dipole_vp @ coefficients_p


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    size = sum(len(block) for block in blocks)
    result, first = np.zeros((size, size)), 0
    for block in blocks:
        result[first : first + len(block), first : first + len(block)] = block
        first += len(block)
    return result
