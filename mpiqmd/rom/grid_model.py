"""The energy of a density matrix over the modes, evaluated on the grid (the published online stage).

    E(P) = 2 tr(P h) + E_H[ρ] + E_xc[ρ] + E_ii,    h = T + V_loc + B D B^T,    ρ = 2 Σ_ij P_ij ψ_i ψ_j,
    H(P) = h + <ψ_i|v_H + v_xc|ψ_j> = dE/d(2P)

T is computed once, V_loc and B once per geometry; every evaluation makes one density, solves one Poisson
problem, evaluates xc once, and projects one potential.  The modes are distributed, all matrices replicated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import DensityTerms, KohnShamModel, Problem
from mpiqmd.parallel.dense import eigh

NEGLIGIBLE = 1e-14
"""Natural occupations below this add nothing to a density in double precision."""


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
        self.model, self.modes = model, modes
        self.dense_modes = model.on_density_grid(modes)
        applied = Orbitals(model.grid, model.laplacian.apply(modes, scale=-0.5))
        kinetic = modes.gram(applied)
        self.kinetic_mm = 0.5 * (kinetic + kinetic.T)

    def place(self, body_positions_av: np.ndarray) -> PlacedGridModel:
        """Return the reduced energy with the nuclei at these body-frame positions (bohr).  Collective."""
        return PlacedGridModel(self, self.model.place(body_positions_av))


@dataclass(frozen=True)
class Electrons:
    """Occupied natural orbitals of a density matrix, occupations (descending), density and its terms."""

    orbitals: Orbitals
    occupations_n: np.ndarray
    density: Field
    terms: DensityTerms


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
        self.modes, self.dense_modes, self.problem = reduced.modes, reduced.dense_modes, problem
        self.comm = problem.grid.comm
        self.kinetic_mm = reduced.kinetic_mm
        self.local_mm = problem.local_matrix(self.dense_modes)
        overlaps = problem.projector_overlaps(self.dense_modes)
        self.nonlocal_mm = overlaps @ problem.projector_coupling @ overlaps.T
        self._latest: tuple[np.ndarray, Electrons] | None = None
        self.linear_mm = self.kinetic_mm + self.local_mm + 0.5 * (self.nonlocal_mm + self.nonlocal_mm.T)

    def evaluate(self, density_matrix_mm: np.ndarray) -> tuple[float, np.ndarray]:
        """Return E(P) without entropy (Ha) and H(P) (Ha, symmetric).  Collective."""
        electrons = self.electrons(density_matrix_mm)
        self._latest = (density_matrix_mm, electrons)
        terms = electrons.terms
        energy = (
            2.0 * float(np.sum(density_matrix_mm * self.linear_mm))
            + terms.hartree
            + terms.xc
            + self.problem.ion_ion
        )
        return energy, self.linear_mm + self.dense_modes.matrix_elements(terms.potential)

    def electrons(self, density_matrix_mm: np.ndarray) -> Electrons:
        """Return what P makes on the grid; that of the last evaluation is at hand.  Collective."""
        if self._latest is not None and self._latest[0] is density_matrix_mm:
            return self._latest[1]
        orbitals, occupations = self.natural_orbitals(density_matrix_mm)
        density = self.problem.density(orbitals, np.diag(occupations))
        return Electrons(orbitals, occupations, density, self.problem.density_terms(density))

    def natural_orbitals(self, density_matrix_mm: np.ndarray) -> tuple[Orbitals, np.ndarray]:
        """Return the occupied natural orbitals of P and their occupations, descending.  Collective."""
        occupations, vectors = eigh(self.comm, density_matrix_mm)
        kept = [k for k in range(len(occupations) - 1, -1, -1) if abs(occupations[k]) > NEGLIGIBLE]
        return self.modes.combine(vectors[:, kept]), occupations[kept]

    def components(self, density_matrix_mm: np.ndarray) -> dict[str, float]:
        """Return the energy by terms (Ha), without entropy.  Collective."""
        terms = self.electrons(density_matrix_mm).terms

        def expectation(matrix: np.ndarray) -> float:
            return 2.0 * float(np.sum(density_matrix_mm * matrix))

        return {
            "kinetic": expectation(self.kinetic_mm),
            "local": expectation(self.local_mm),
            "nonlocal": expectation(self.nonlocal_mm),
            "hartree": terms.hartree,
            "xc": terms.xc,
            "ion_ion": self.problem.ion_ion,
        }

    def gradient(self, density_matrix_mm: np.ndarray) -> np.ndarray:
        """Return ``∂E/∂x_a`` at fixed P, shape (N, 3), Ha/bohr.  Collective.

        The modes do not depend on the geometry, so at a minimum over P this is the whole derivative of the
        reduced energy in the body frame: there is no Pulay term.
        """
        electrons = self.electrons(density_matrix_mm)
        occupations_nn = np.diag(electrons.occupations_n)
        return self.problem.ion_gradient(electrons.density, electrons.orbitals, occupations_nn)
