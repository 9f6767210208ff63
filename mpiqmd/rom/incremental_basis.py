"""Orthonormal functions that span snapshots, grown geometry by geometry; the cheap companion of the basis in ``basis``.

A new geometry's orbitals and their images are made orthogonal to the functions there are, and what is left of them
is decomposed, so that adding costs one product with the span, not a decomposition of everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import image
from mpiqmd.grid.svd import decompose
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import decide

NEGLIGIBLE = 1e-4
"""Singular values of what is new that are left out: they change energies by their square."""


class IncrementalBasis:
    """The span of orbitals and their images.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid of the functions.
    symmetries
        Operations under which the span is closed, without the identity.

    Attributes
    ----------
    modes
        The orthonormal functions.
    """

    def __init__(self, grid: Grid, symmetries: Sequence[Symmetry] = ()) -> None:
        self.modes = Orbitals.zeros(grid, 0)
        self.symmetries = list(symmetries)
        self._coefficients: list[np.ndarray] = []

    def add(self, orbitals: Orbitals) -> None:
        """Extend the span by the orbitals of one geometry.  Collective."""
        self._extend(orbitals.copy())
        for symmetry in self.symmetries:
            self._extend(image(orbitals, symmetry.axes, symmetry.signs_v))
        self._coefficients.append(self.modes.gram(orbitals))

    @property
    def coefficients_smn(self) -> np.ndarray:
        """Projections of the orbitals added so far, shape (geometries, modes, orbitals), without unit.

        Modes that were added later hold nothing of them.
        """
        missing = [len(self.modes) - len(coefficients) for coefficients in self._coefficients]
        padded = [np.pad(c, ((0, rows), (0, 0))) for c, rows in zip(self._coefficients, missing, strict=True)]
        return np.array(padded)

    def _extend(self, functions: Orbitals) -> None:
        """Add what the functions have outside the span, orthogonalised twice."""
        if len(self.modes):
            for _ in range(2):
                functions.local -= self.modes.combine(self.modes.gram(functions)).local
        found = decompose(functions)
        kept = decide(functions.grid.comm, int(np.sum(found.singular_values_k > NEGLIGIBLE)))
        new = found.modes.local[:kept]
        self.modes = Orbitals(functions.grid, np.concatenate([self.modes.local, new]))
