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


@dataclass(frozen=True)
class PlacedEnergy:
    """What depends on the geometry alone.

    Attributes
    ----------
    base
        Energy that does not depend on P, Ha.
    linear_p, linear_mm
        Linear Hamiltonian on the pairs (nonlocal part included) and as a matrix, Ha.
    linear_slopes_avp
        Derivative of the local part with respect to the positions, Ha/bohr.
    overlaps_mp, coupling_pp, overlap_slopes
        Projector overlaps, their coupling, and the overlaps' derivatives per moving atom.
    base_gradient_av
        Derivative of ``base``, Ha/bohr.
    excess
        How far outside the tabulated boxes the geometry is, bohr; 0 inside.
    """

    base: float
    linear_p: np.ndarray
    linear_mm: np.ndarray
    linear_slopes_avp: np.ndarray
    overlaps_mp: np.ndarray
    coupling_pp: np.ndarray
    overlap_slopes: list[tuple[int, slice, np.ndarray]]
    base_gradient_av: np.ndarray
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

    def place(self, positions_av: np.ndarray) -> PlacedEnergy:
        """Return the geometry-dependent parts at body-frame positions."""
        arrays = self.arrays
        linear_p = arrays.linear_p.copy()
        slopes = np.zeros((len(positions_av), 3, len(arrays.pairs)))
        overlaps, couplings, overlap_slopes = [arrays.fixed_overlaps_mp], [arrays.fixed_coupling_pp], []
        first, excess = arrays.fixed_overlaps_mp.shape[1], 0.0
        for atom in arrays.atoms:
            position_v = positions_av[atom.index]
            excess = max(excess, atom.box.excess(position_v))
            atom.box.add_to(atom.local, position_v, linear_p, slopes[atom.index])
            count = len(atom.coupling_pp)
            if count:
                b, db = atom.box.evaluate(atom.overlaps, position_v)
                overlaps.append(b)
                couplings.append(atom.coupling_pp)
                overlap_slopes.append((atom.index, slice(first, first + count), db))
                first += count
        overlaps_mp = np.concatenate(overlaps, axis=1) if overlap_slopes else arrays.fixed_overlaps_mp
        coupling = _block_diagonal(couplings) if overlap_slopes else arrays.fixed_coupling_pp
        if len(coupling):
            linear_p += arrays.pairs.packed(overlaps_mp @ coupling @ overlaps_mp.T)
        base, base_gradient = self.ions.evaluate(positions_av)
        return PlacedEnergy(
            arrays.constant + base,
            linear_p,
            arrays.pairs.matrix(linear_p),
            slopes,
            overlaps_mp,
            coupling,
            overlap_slopes,
            base_gradient,
            excess,
        )

    def evaluate(self, placed: PlacedEnergy, density_matrix_mm: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the energy (without entropy, Ha) and ``H = dE/d(2P)`` at a density matrix."""
        arrays = self.arrays
        d = arrays.pairs.coefficients(density_matrix_mm)
        potential = np.empty_like(d)
        for part, matrix in zip(arrays.pairs.classes, arrays.interaction, strict=True):
            potential[part] = matrix @ d[part]
        energy = placed.base + 0.5 * float(d @ potential)
        energy += 2.0 * float(np.sum(density_matrix_mm * placed.linear_mm))
        hamiltonian = placed.linear_mm + arrays.pairs.matrix(potential)
        if self.remainder is not None:
            rest, matrix = self._rest(density_matrix_mm)
            energy += rest
            hamiltonian += matrix
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
        gradient_av = placed.base_gradient_av + placed.linear_slopes_avp @ d
        if placed.overlap_slopes:
            weights_mp = density_matrix_mm @ placed.overlaps_mp @ placed.coupling_pp
            for index, columns, slopes in placed.overlap_slopes:
                gradient_av[index] += 4.0 * np.einsum("vmp,mp->v", slopes, weights_mp[:, columns])
        return gradient_av

    def dipole(self, positions_av: np.ndarray, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return the dipole moment ``Σ Z_a x_a - ∫ r ρ dr`` in the body frame, atomic units, shape (3,)."""
        d = self.arrays.pairs.coefficients(density_matrix_mm)
        return self.valences_a @ positions_av - self.arrays.dipole_vp @ d


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    size = sum(len(block) for block in blocks)
    result, first = np.zeros((size, size)), 0
    for block in blocks:
        result[first : first + len(block), first : first + len(block)] = block
        first += len(block)
    return result
