"""What the online solver finds: a minimum of the compiled energy, or those of a batch of geometries."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mpiqmd.errors import ConvergenceError


@dataclass(frozen=True)
class Solution:
    """A minimum of the compiled energy.

    Attributes
    ----------
    kappa
        Its coordinates.
    orbitals_mn, dual_mn
        U and W, ``P = W U^T``, shape (modes, occupied).
    coefficients_p
        Pair coefficients of P.
    energy
        Ha.
    evaluations
        Evaluations of the energy's gradient.
    error
        Estimated largest error of κ.
    """

    kappa: np.ndarray
    orbitals_mn: np.ndarray
    dual_mn: np.ndarray
    coefficients_p: np.ndarray
    energy: float
    evaluations: int
    error: float

    @property
    def density_matrix_mm(self) -> np.ndarray:
        """P, shape (modes, modes)."""
        return self.dual_mn @ self.orbitals_mn.T


@dataclass(frozen=True)
class Minima:
    """Minima at a batch of geometries: the arrays of :class:`Solution` with a leading axis.

    Attributes
    ----------
    failures
        Why there is no minimum, for members that have none; their numbers mean nothing, but are finite.
    """

    kappa_bk: np.ndarray
    orbitals_bmn: np.ndarray
    dual_bmn: np.ndarray
    coefficients_bp: np.ndarray
    energies_b: np.ndarray
    evaluations_b: np.ndarray
    errors_b: np.ndarray
    failures: dict[int, ConvergenceError]

    def put(self, b: int, solution: Solution) -> None:
        """Replace one member."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        for array, field in zip(arrays, fields(solution), strict=False):
            array[b] = getattr(solution, field.name)

    def density_matrix(self, b: int) -> np.ndarray:
        """P of one member, shape (modes, modes)."""
        return self.dual_bmn[b] @ self.orbitals_bmn[b].T
