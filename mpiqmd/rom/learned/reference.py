"""Coordinates of occupied subspaces about a reference, scaled by the curvature of the energy.

    U = C_o + C_v κ,     y_vn = sqrt(2 w (ε_v - ε_n)) κ_vn

Without the response of the density the energy curves by ``½ |y|²`` about the minimum, so distances in y are energies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT, Electrons, OrbitalSpace
from mpiqmd.kohnsham.model import Problem
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.learned.species import Species, eigh_of_blocks, of_species

SHIFT = 0.3
"""Distance of occupied levels from where empty ones of no kinetic energy are taken to be, Ha."""


@dataclass(frozen=True)
class Reference:
    """Occupied and empty orbitals over the modes at one geometry, canonical in their own spaces.  Replicated.

    Attributes
    ----------
    occupied_mn, empty_mv
        C_o and C_v, orthonormal columns.
    scale_vn
        ``sqrt(2 w (ε_v - ε_n))``, square roots of Ha.
    labels_n, labels_v
        Symmetry species of the orbitals (``species``).
    """

    occupied_mn: np.ndarray
    empty_mv: np.ndarray
    scale_vn: np.ndarray
    labels_n: np.ndarray
    labels_v: np.ndarray

    @classmethod
    def at(cls, problem: Problem, modes: OrbitalSpace, orbitals_mn: np.ndarray, species: Species) -> Reference:
        """Return the reference of orthonormal orbitals near the ground state of a problem that keeps species.  Collective."""
        n = orbitals_mn.shape[1]
        _, potential = problem.density_terms(Electrons(modes.combine(orbitals_mn), np.eye(n)).density)
        hamiltonian_mm = problem.linear.matrix(modes) + modes.dense.matrix_elements(potential)
        return on_rank_zero(problem.grid.comm, cls._canonical, hamiltonian_mm, orbitals_mn, species.over_modes_mm)

    @classmethod
    def of_kinetic(cls, kinetic_mm: np.ndarray, orbitals_mn: np.ndarray) -> Reference:
        """Return a reference that is good enough to find a minimum near its orbitals.  Not collective.

        The empty levels are taken to be ``<T> +`` :data:`SHIFT` above all occupied ones: no Hamiltonian is made.
        """
        empty_mv = null_space(orbitals_mn.T)
        levels_v, inside = np.linalg.eigh(empty_mv.T @ kinetic_mm @ empty_mv)
        gaps_vn = np.repeat(levels_v[:, None] + SHIFT, orbitals_mn.shape[1], axis=1)
        scale_vn = np.sqrt(BRA_AND_KET * SPIN_WEIGHT * gaps_vn)
        return cls(orbitals_mn, empty_mv @ inside, scale_vn, np.zeros(len(gaps_vn[0]), int), np.zeros(len(gaps_vn), int))

    @classmethod
    def _canonical(cls, hamiltonian_mm: np.ndarray, orbitals_mn: np.ndarray, operator_mm: np.ndarray) -> Reference:
        occupied_n, occupied_mn, labels_n = _levels(hamiltonian_mm, *of_species(operator_mm, orbitals_mn))
        empty_v, empty_mv, labels_v = _levels(hamiltonian_mm, *of_species(operator_mm, null_space(occupied_mn.T)))
        gaps_vn = np.maximum(empty_v[:, None] - occupied_n, 1e-2)
        return cls(occupied_mn, empty_mv, np.sqrt(BRA_AND_KET * SPIN_WEIGHT * gaps_vn), labels_n, labels_v)

    @property
    def labels_y(self) -> np.ndarray:
        """Symmetry species of the coordinates y, shape (y,), numbers without unit."""
        return (self.labels_v[:, None] ^ self.labels_n).ravel()

    def coordinates(self, orbitals_mn: np.ndarray) -> np.ndarray:
        """Return y, shape (empty occupied,), square roots of Ha, of the subspace of orbitals (modes, occupied)."""
        kappa_vn = (self.empty_mv.T @ orbitals_mn) @ np.linalg.inv(self.occupied_mn.T @ orbitals_mn)
        return (self.scale_vn * kappa_vn).ravel()

    def spanning(self, coordinates_y: np.ndarray) -> np.ndarray:
        """Return U, shape (modes, occupied), dimensionless, not orthonormal, of y."""
        return self.occupied_mn + self.change(coordinates_y)

    def change(self, coordinates_y: np.ndarray) -> np.ndarray:
        """Return ``C_v κ``, shape (modes, occupied), dimensionless, of y."""
        return self.empty_mv @ (coordinates_y.reshape(self.scale_vn.shape) / self.scale_vn)

    def weighed(self, columns_mc: np.ndarray, power: float = 1.0) -> np.ndarray:
        """Return changes of orbitals (modes, c) in the metric of the energy, ``sqrt(2 w (ε_v - ε))``, to a power.

        ε is the mean occupied level; what is occupied weighs as much as the highest empty orbital.
        """
        scale_v = np.sqrt(np.mean(self.scale_vn**2, axis=1)) ** power
        occupied = (scale_v.max() if power > 0.0 else scale_v.min()) * self.occupied_mn @ (self.occupied_mn.T @ columns_mc)
        empty = self.empty_mv @ (scale_v[:, None] * (self.empty_mv.T @ columns_mc))
        return empty + occupied

    def pull(self, orbitals_mn: np.ndarray, inverse_nn: np.ndarray, applied_mn: np.ndarray) -> np.ndarray:
        """Return dE/dy, shape (empty occupied,), square roots of Ha, of orthonormal ``Ũ = U L^-T`` given L^-1 and ``H Ũ``."""
        residual_mn = applied_mn - orbitals_mn @ (orbitals_mn.T @ applied_mn)
        slopes_vn = BRA_AND_KET * SPIN_WEIGHT * (self.empty_mv.T @ residual_mn) @ inverse_nn
        return (slopes_vn / self.scale_vn).ravel()


def _levels(
    hamiltonian_mm: np.ndarray, orbitals_mn: np.ndarray, labels_n: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return energies (n,), Ha, and orbitals (modes, n) that are canonical within each species, with their labels."""
    levels_n, inside_nn = eigh_of_blocks(orbitals_mn.T @ hamiltonian_mm @ orbitals_mn, labels_n)
    return levels_n, orbitals_mn @ inside_nn, labels_n


def orthonormalised(spanning_mn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``U L^-T`` (modes, occupied) and L^-1 (occupied, occupied), dimensionless, with ``U^T U = L L^T``."""
    inverse_nn = np.linalg.inv(np.linalg.cholesky(spanning_mn.T @ spanning_mn))
    return spanning_mn @ inverse_nn.T, inverse_nn
