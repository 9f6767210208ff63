"""A one-electron Hamiltonian, put together by the energy terms and applied in one pass over the grid.

    h = t T + v(r) + Σ_pq |β_p> D_pq <β_q|,     E = w tr(P h) + c

with the kinetic energy T, a potential and projectors on the density's grid, and a constant c.
"""

from __future__ import annotations

from copy import copy

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.differences import Laplacian
from mpiqmd.kohnsham.electrons import OrbitalSpace
from mpiqmd.kohnsham.projectors import Projectors


class Hamiltonian:
    """Collects what the terms add; empty at first.  Not collective.

    Parameters
    ----------
    laplacian
        ``∇²`` on the grid of the orbitals.

    Attributes
    ----------
    constant
        c, Ha: energy that does not depend on the electrons.
    potential
        v, Ha, on the density's grid; None for none.
    """

    def __init__(self, laplacian: Laplacian) -> None:
        self.laplacian = laplacian
        self.kinetic_scale, self.constant = 0.0, 0.0
        self.potential: Field | None = None
        self.projectors: tuple[Projectors, ...] = ()

    def add_kinetic(self, scale: float = 1.0) -> None:
        """Add ``scale`` times the kinetic energy."""
        self.kinetic_scale += scale

    def add_potential(self, potential: Field) -> None:
        """Add a local potential (Ha) on the density's grid."""
        self.potential = potential if self.potential is None else _sum(self.potential, potential)

    def add_projectors(self, projectors: Projectors) -> None:
        """Add a nonlocal potential in separable form."""
        self.projectors = (*self.projectors, projectors)

    def add_constant(self, energy: float) -> None:
        """Add an energy (Ha) that does not depend on the electrons."""
        self.constant += energy

    def plus(self, potential: Field) -> Hamiltonian:
        """Return this Hamiltonian with one more potential, itself unchanged."""
        other = copy(self)
        other.add_potential(potential)
        return other

    def apply(self, space: OrbitalSpace) -> Orbitals:
        """Return ``h φ_i`` on the grid of the orbitals.  Collective."""
        orbitals, scale = space.orbitals, -0.5 * self.kinetic_scale
        values = None if self.potential is None else self.potential.local
        if space.refinement is None:
            result = Orbitals(orbitals.grid, self.laplacian.apply(orbitals, scale=scale, potential=values))
            self._add_nonlocal(space, result)
            return result
        dense = space.dense
        products = Orbitals(dense.grid, np.zeros_like(dense.local) if values is None else dense.local * values)
        self._add_nonlocal(space, products)
        result = space.refinement.restrict(products)
        result.local += self.laplacian.apply(orbitals, scale=scale)
        return result

    def matrix(self, space: OrbitalSpace) -> np.ndarray:
        """Return ``<φ_i|h|φ_j>``, symmetric, shape (n, n), Ha.  Collective."""
        matrix = self.kinetic_scale * space.kinetic_matrix(self.laplacian)
        if self.potential is not None:
            matrix = matrix + space.dense.matrix_elements(self.potential)
        for projectors in self.projectors:
            matrix = matrix + projectors.matrix(space.overlaps(projectors))
        return matrix

    def _add_nonlocal(self, space: OrbitalSpace, result: Orbitals) -> None:
        for projectors in self.projectors:
            projectors.add_applied(space.overlaps(projectors), result.local)


def _sum(first: Field, second: Field) -> Field:
    return Field(first.grid, first.local + second.local)
