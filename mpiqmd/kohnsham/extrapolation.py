"""Density matrices extrapolated over the steps of a trajectory, in a fixed orthonormal basis.

The predictor of the always stable predictor-corrector method, K = k + 2 terms (Kolafa, J. Comput. Chem. 25,
335 (2004)),

    P(t+1) = Σ_{j=1}^{K} (-1)^{j+1} j C(2K, K-j) / C(2K-2, K-1) P(t+1-j),

is accurate to low order and reversible in time to a much higher one, which is what keeps the energy from
drifting.  The sum of density matrices is then made one again.  Replicated data.
"""

from __future__ import annotations

from math import comb as binomial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from mpiqmd.errors import DataFileError
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.parallel.dense import eigh

if TYPE_CHECKING:
    from mpi4py import MPI


def aspc_coefficients(terms: int) -> np.ndarray:
    """Return the weights of the last matrices, newest first, shape (terms,), without unit; they sum to 1.  Not collective."""
    scale = binomial(2 * terms - 2, terms - 1)
    return np.array([(-1) ** (j + 1) * j * binomial(2 * terms, terms - j) / scale for j in range(1, terms + 1)])


def purify(comm: MPI.Comm, matrix_mm: np.ndarray, n_electrons: float, integer: bool = True) -> np.ndarray:
    """Return the density matrix nearest to a symmetric matrix, eigenvalues in [0, 1], trace ``n_electrons / w``.

    Shape (m, m), without unit.  Collective.  ``integer`` keeps the ``n_electrons / w`` most occupied natural orbitals, as at
    zero temperature; otherwise the natural occupations are shifted and cut.
    """
    occupations, orbitals = eigh(comm, matrix_mm)
    pairs = n_electrons / SPIN_WEIGHT
    if integer and abs(pairs - round(pairs)) < 1e-9:
        kept = orbitals[:, len(orbitals) - round(pairs) :]
        return kept @ kept.T

    def excess(shift: float) -> float:
        return float(np.clip(occupations + shift, 0.0, 1.0).sum() - pairs)

    # Shifted so far, all occupations are 0 at one end and 1 at the other: the root lies between.
    shift = brentq(excess, -occupations.max() - 1e-3, 1.0 - occupations.min() + 1e-3, xtol=1e-15, rtol=1e-15)
    return (orbitals * np.clip(occupations + shift, 0.0, 1.0)) @ orbitals.T


class AspcExtrapolation:
    """Predicts the next density matrix from the converged ones of the last steps.

    Parameters
    ----------
    comm
        Communicator on which the matrices are replicated.
    n_electrons
        Number of electrons, both spins.
    order
        k of ASPC(k): ``k + 2`` steps are kept; the first steps of a run use what there is.
    integer
        Whether occupations are integers (zero electronic temperature).
    """

    def __init__(self, comm: MPI.Comm, n_electrons: float, order: int = 2, integer: bool = True) -> None:
        self.comm = comm
        self.n_electrons = n_electrons
        self.terms = order + 2
        self.integer = integer
        self._history: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._history)

    def append(self, density_matrix_mm: np.ndarray) -> None:
        """Take the converged density matrix of one more step.  Not collective."""
        self._history = [density_matrix_mm.copy(), *self._history][: self.terms]

    def predict(self) -> np.ndarray | None:
        """Return the density matrix of the next step, shape (m, m), without unit; None before the first.  Collective."""
        if not self._history:
            return None
        if len(self._history) == 1:
            return self._history[0].copy()
        weights = aspc_coefficients(len(self._history))
        return purify(self.comm, np.tensordot(weights, self._history, axes=1), self.n_electrons, self.integer)

    def clear(self) -> None:
        """Forget all steps, after a jump.  Not collective."""
        self._history = []

    def state(self) -> dict[str, np.ndarray]:
        """Return what a bitwise restart needs.  Not collective.

        ``density_matrices``, newest first, shape (steps, m, m), without unit.
        """
        size = len(self._history[0]) if self._history else 0
        return {"density_matrices": np.array(self._history).reshape(len(self._history), size, size)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what :meth:`state` returned.  Not collective.

        Raises DataFileError if it is not a stack of square matrices.
        """
        matrices = np.asarray(state.get("density_matrices", np.empty((0, 0, 0))), float)
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
            raise DataFileError(
                f"the checkpoint's density matrices have shape {matrices.shape}; (steps, modes, modes) is "
                "needed. Restart from an older checkpoint."
            )
        self._history = [matrix.copy() for matrix in matrices[: self.terms]]
