"""The energy of a density matrix over the modes, evaluated on the grid (the published online stage).

    E(P) = w tr(P h) + Σ_t E_t[ρ] + c,    h = T + V_loc + B D B^T,    ρ = w Σ_ij P_ij ψ_i ψ_j,
    H(P) = h + <ψ_i|v|ψ_j> = dE/d(wP),    v = Σ_t δE_t/δρ

T is computed once, the rest of h once per geometry; every evaluation makes one density, solves one Poisson problem,
evaluates xc once, and projects one potential.  The modes are distributed, all matrices replicated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.model import KohnShamModel, Problem


class GridReducedModel:
    """The reduced energy at any geometry.  Construction is collective.

    Parameters
    ----------
    model
        The physics.
    modes
        Orthonormal modes on the model's grid, fixed in the body frame.
    """

    def __init__(self, model: KohnShamModel, modes: Orbitals) -> None:
        self.model, self.modes = model, model.space(modes)

    def place(self, body_positions_av: np.ndarray) -> PlacedGridModel:
        """Return the reduced energy with the nuclei at these body-frame positions (bohr).  Collective."""
        return PlacedGridModel(self, self.model.place(body_positions_av))


@dataclass(frozen=True)
class Filled:
    """What a density matrix over the modes makes on the grid.

    Attributes
    ----------
    density_matrix_mm
        P.
    electrons
        Its occupied natural orbitals, the most occupied first, and their density.
    energies, potential
        Of the terms of the density (Ha): each energy by name, and the sum of the potentials.
    """

    density_matrix_mm: np.ndarray
    electrons: Electrons
    energies: dict[str, float]
    potential: Field


class PlacedGridModel:
    """The reduced energy at one geometry.  Construction is collective.

    Attributes
    ----------
    problem
        The Kohn-Sham problem it is a restriction of.
    linear_mm
        h, Ha.
    """

    def __init__(self, reduced: GridReducedModel, problem: Problem) -> None:
        self.modes, self.problem = reduced.modes, problem
        self.comm = problem.grid.comm
        self.linear_mm = problem.linear.matrix(self.modes)
        self._latest: Filled | None = None

    def evaluate(self, density_matrix_mm: np.ndarray) -> tuple[float, np.ndarray]:
        """Return E(P) without entropy, Ha, and H(P), symmetric, shape (r, r), Ha.  Collective."""
        filled = self.fill(density_matrix_mm)
        hamiltonian_mm = self.linear_mm + self.modes.dense.matrix_elements(filled.potential)
        return self._energy(filled), hamiltonian_mm

    def fill(self, density_matrix_mm: np.ndarray) -> Filled:
        """Return what P makes on the grid; that of the last evaluation is at hand.  Collective."""
        if self._latest is None or not np.array_equal(self._latest.density_matrix_mm, density_matrix_mm):
            electrons = Electrons.natural(self.modes, density_matrix_mm)
            self._latest = Filled(density_matrix_mm, electrons, *self.problem.density_terms(electrons.density))
        return self._latest

    def components(self, density_matrix_mm: np.ndarray) -> dict[str, float]:
        """Return the energy by terms (Ha), without entropy.  Collective."""
        filled = self.fill(density_matrix_mm)
        return self.problem.components(filled.electrons, filled.energies, self._energy(filled))

    def gradient(self, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return ``∂E/∂x_a`` at fixed P, shape (N, 3), Ha/bohr.  Collective.

        The modes do not depend on the geometry, so at a minimum over P this is the whole derivative of the
        reduced energy in the body frame: there is no Pulay term.
        """
        return self.problem.gradient(self.fill(density_matrix_mm).electrons)

    def _energy(self, filled: Filled) -> float:
        linear = Electrons(self.modes, filled.density_matrix_mm).expectation(self.linear_mm)
        return linear + sum(filled.energies.values()) + self.problem.linear.constant
