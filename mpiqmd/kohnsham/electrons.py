"""The electrons: a block of orbitals on either grid, and a density matrix over them.

    ρ(r) = w Σ_ij P_ij φ_i(r) φ_j(r),     w tr P = N_e,     <h> = w Σ_ij P_ij <φ_i|h|φ_j>,     w = 2

Spins are paired: every spatial orbital holds up to w electrons.  This module is the only one that knows the number; all
others name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from scipy.linalg import null_space

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.refinement import Refinement
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh

SPIN_WEIGHT = 2.0
"""w, electrons that a spatial orbital holds."""
BRA_AND_KET = 2.0
"""An orbital, or a projector, stands on both sides of an expectation value, and both change with it."""
NEGLIGIBLE = 1e-14
"""Natural occupations below this add nothing to a density in double precision."""


class Projecting(Protocol):
    """What has overlaps with orbitals on the density's grid."""

    def overlaps(self, orbitals: Orbitals) -> np.ndarray:
        """Return ``<φ_i|β_p>``, shape (n, projectors), without unit.  Collective."""
        ...


class OrbitalSpace:
    """A block of orbitals and what has been worked out about it, each thing once.

    Parameters
    ----------
    orbitals
        On the grid of the orbitals; modes and trial functions as well.
    refinement
        From it to the grid of the density; None if that is the same.
    dense
        The same functions on the density's grid, where the caller has them already.
    """

    def __init__(self, orbitals: Orbitals, refinement: Refinement | None = None, dense: Orbitals | None = None) -> None:
        self.orbitals, self.refinement = orbitals, refinement
        self._dense = orbitals if refinement is None else dense
        self._kinetic: WeakKeyDictionary[Laplacian, np.ndarray] = WeakKeyDictionary()
        self._overlaps: WeakKeyDictionary[Projecting, np.ndarray] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self.orbitals)

    @property
    def dense(self) -> Orbitals:
        """The orbitals on the density's grid.  Collective the first time."""
        if self._dense is None:
            assert self.refinement is not None
            self._dense = self.refinement.refine(self.orbitals)
        return self._dense

    def kinetic_matrix(self, laplacian: Laplacian) -> np.ndarray:
        """Return ``<φ_i|-∇²/2|φ_j>``, shape (n, n), Ha.  Collective the first time."""
        if laplacian not in self._kinetic:
            applied = Orbitals(self.orbitals.grid, laplacian.apply(self.orbitals, scale=-0.5))
            matrix = self.orbitals.gram(applied)
            self._kinetic[laplacian] = 0.5 * (matrix + matrix.T)
        return self._kinetic[laplacian]

    def overlaps(self, projectors: Projecting) -> np.ndarray:
        """Return ``<φ_i|β_p>``, shape (n, projectors), without unit.  Collective the first time for these projectors."""
        if projectors not in self._overlaps:
            self._overlaps[projectors] = projectors.overlaps(self.dense)
        return self._overlaps[projectors]

    def combine(self, coefficients_nm: np.ndarray) -> OrbitalSpace:
        """Return the m combinations ``χ_j = Σ_i φ_i C_ij``, with all that is known of the φ carried over.  Not collective."""
        return self._carried(self.orbitals.combine(coefficients_nm), coefficients_nm)

    @contextmanager
    def combined_in_place(self, columns_nm: np.ndarray) -> Iterator[OrbitalSpace]:
        """Yield :meth:`combine` of orthonormal columns (n, m), made in the memory of the orbitals.  Collective.

        Until the end of the ``with`` block they are others; then they are back, but for round-off.
        """
        complete_nn = np.concatenate([columns_nm, null_space(columns_nm.T)], axis=1)
        rotation_nn = decide(self.orbitals.grid.comm, complete_nn)
        self.orbitals.rotate(rotation_nn)
        try:
            yield self._carried(self.orbitals.select(slice(0, columns_nm.shape[1])), columns_nm)
        finally:
            self.orbitals.rotate(rotation_nn.T)

    def _carried(self, combined: Orbitals, coefficients_nm: np.ndarray) -> OrbitalSpace:
        """Return combinations with all that is known of what they combine."""
        is_apart = self.refinement is not None and self._dense is not None
        dense = self.dense.combine(coefficients_nm) if is_apart else None
        other = OrbitalSpace(combined, self.refinement, dense)
        for laplacian, matrix_nn in self._kinetic.items():
            other._kinetic[laplacian] = coefficients_nm.T @ matrix_nn @ coefficients_nm
        for projectors, overlaps_np in self._overlaps.items():
            other._overlaps[projectors] = coefficients_nm.T @ overlaps_np
        return other


class Electrons:
    """Orthonormal orbitals filled by a density matrix.

    Parameters
    ----------
    space
        The orbitals.
    density_matrix_nn
        P in their basis, symmetric, eigenvalues in [0, 1], shape (n, n).
    """

    def __init__(self, space: OrbitalSpace, density_matrix_nn: np.ndarray) -> None:
        self.space, self.density_matrix_nn = space, density_matrix_nn

    @classmethod
    def natural(cls, space: OrbitalSpace, density_matrix_nn: np.ndarray, negligible: float = NEGLIGIBLE) -> Electrons:
        """Return the electrons in their natural orbitals, the most occupied first.  Collective.

        Orbitals whose occupation is at most ``negligible`` are left out.
        """
        occupations, vectors = eigh(space.orbitals.grid.comm, density_matrix_nn)
        kept = np.flatnonzero(np.abs(occupations) > negligible)[::-1]
        return cls(space.combine(vectors[:, kept]), np.diag(occupations[kept]))

    @property
    def orbitals(self) -> Orbitals:
        """The orbitals on their own grid."""
        return self.space.orbitals

    @property
    def occupations_n(self) -> np.ndarray:
        """``P_ii``, each in [0, 1] and without unit, shape (n,)."""
        return np.diag(self.density_matrix_nn)

    @cached_property
    def density(self) -> Field:
        """ρ on the density's grid, bohr⁻³.  Collective where the orbitals have to be refined for it."""
        orbitals = self.space.dense
        diagonal = self.occupations_n
        if not np.any(self.density_matrix_nn - np.diag(diagonal)):
            return orbitals.density(SPIN_WEIGHT * diagonal)
        rotated = orbitals.combine(self.density_matrix_nn)
        flat = SPIN_WEIGHT * np.einsum("ij,ij->j", orbitals.matrix_local, rotated.matrix_local)
        return Field(orbitals.grid, flat.reshape(orbitals.grid.local_shape))

    def expectation(self, matrix_nn: np.ndarray) -> float:
        """Return ``w Σ_ij P_ij h_ij`` of an operator's matrix in the orbitals.  Not collective."""
        return SPIN_WEIGHT * float(np.sum(self.density_matrix_nn * matrix_nn))

    def rotated(self, rotation_nn: np.ndarray) -> Electrons:
        """Return the same electrons in other orbitals ``Σ_i φ_i U_ij`` of the same span, U orthogonal.  Collective.

        The density is the same and is kept; values on a finer grid are left behind.
        """
        orbitals = OrbitalSpace(self.orbitals.combine(rotation_nn), self.space.refinement)
        other = Electrons(orbitals, rotation_nn.T @ self.density_matrix_nn @ rotation_nn)
        other.__dict__["density"] = self.density
        return other
