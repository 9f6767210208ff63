"""The Hartree energy and potential.

    E_H = ½ ∫ ρ v_H dr,     -∇²v_H = 4πρ

With a density on a finer grid, ``v_H = I G R ρ``: Poisson's equation is solved on the grid of the orbitals for the part
of the density that grid carries (:mod:`mpiqmd.grid.refinement`).  The cut, whose energy falls as the square of the density
beyond the Nyquist wave number over its square, moves with the molecule, and v_H stays the derivative of E_H.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.system import System
from mpiqmd.kohnsham.terms.term import DensityTerm


class Hartree(DensityTerm):
    """The Coulomb energy of the density, the same at every geometry.  Construction is collective."""

    name = "hartree"

    def __init__(self, system: System) -> None:
        self.poisson, self.refinement = system.poisson, system.refinement

    def at(self, positions_av: np.ndarray) -> Hartree:
        """Return the term itself."""
        return self

    def evaluate(self, density: Field) -> tuple[float, Field]:
        """Return E_H (Ha) and v_H (Ha) of a density on its grid.  Collective."""
        potential = self.potential(density)
        return 0.5 * density.inner(potential), potential

    def potential(self, density: Field) -> Field:
        """Return v_H (Ha) of a density (bohr⁻³), both on the density's grid.  Collective."""
        if self.refinement is None:
            return self.poisson.solve(density)
        return self.refinement.refine_field(self.poisson.solve(self.refinement.restrict_field(density)))

    def direct_potentials(self, densities: Orbitals) -> Orbitals:
        """Return the same for a block of densities by the direct solver, for work done once.  Collective."""
        if self.refinement is None:
            return Orbitals(densities.grid, self.poisson.operator.apply(densities.local))
        coarse = self.refinement.restrict(densities)
        return self.refinement.refine(Orbitals(coarse.grid, self.poisson.operator.apply(coarse.local)))
