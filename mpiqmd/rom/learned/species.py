"""Symmetry species: what is even or odd under commuting twofold operations of the molecule.

Operations g with g² = 1 that commute have common eigenvectors, even or odd under each.  The label of a species has bit i where
it is odd under operation i, and

    T = Σ_i 2^i (1 - D_i) / 2

has the labels as its eigenvalues; a product of two species has the exclusive or of their labels.  Where orbitals, displacements
and what follows from them belong to species, matrices have blocks: the rest is zero and need not be learned, kept or read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.molecule.symmetry import Symmetry, product_of
from mpiqmd.rom.learned.training_set import Operation, TrainingSet
from mpiqmd.rom.snapshots import SAME_GEOMETRY

MOST = 8
"""Species at most: three signed permutations of the axes are the most that are twofold, commute and are independent."""
EXACT = 1e-6
"""Largest element by which what an operation does to the modes may be off an orthogonal matrix."""


@dataclass(frozen=True)
class Species:
    """Commuting twofold operations.  Replicated, not collective.

    Attributes
    ----------
    operations
        The operations, none the product of others.
    over_modes_mm, over_positions_xx
        T of orbitals over the modes, and of flattened displacements of the atoms, without unit.
    """

    operations: list[Symmetry]
    over_modes_mm: np.ndarray
    over_positions_xx: np.ndarray

    def __len__(self) -> int:
        return 2 ** len(self.operations)

    @classmethod
    def of(cls, training: TrainingSet) -> Species:
        """Return those of the operations that leave the central geometry where it is."""
        central_av = training.positions_sav[training.central]
        kept = _commuting([each for each in training.operations if _keeps(each, central_av)])
        modes = training.orbitals_smn.shape[1]
        over_modes_mm, over_positions_xx = np.zeros((modes, modes)), np.zeros((central_av.size, central_av.size))
        for bit, operation in enumerate(kept):
            over_modes_mm += 2**bit * 0.5 * (np.eye(len(over_modes_mm)) - operation.matrix_mm)
            moved_xx = np.array([operation.symmetry.image(unit.reshape(-1, 3)).ravel() for unit in np.eye(central_av.size)])
            over_positions_xx += 2**bit * 0.5 * (np.eye(central_av.size) - moved_xx)
        return cls([operation.symmetry for operation in kept], over_modes_mm, over_positions_xx)

    def group(self) -> list[tuple[int, Symmetry]]:
        """Return all products of the operations, without the identity, each with the bits of those it is made of."""
        found: list[tuple[int, Symmetry]] = []
        for bit, new in enumerate(self.operations):
            found += [(2**bit, new), *((2**bit | bits, product_of(new, each)) for bits, each in found)]
        return found

    def distinct(self, positions_sav: np.ndarray) -> np.ndarray:
        """Return the numbers of geometries, of (samples, N, 3), bohr, that are no images of others before them; shape (s,)."""
        images_gsav = np.array([positions_sav, *(g.image(positions_sav) for _, g in self.group())])
        kept: list[int] = []
        for s in range(len(positions_sav)):
            away = np.abs(images_gsav[:, kept] - positions_sav[s]).max(axis=(2, 3), initial=0.0)
            if not (away < SAME_GEOMETRY).any():
                kept.append(s)
        return np.array(kept)

    def motion(self, positions_sav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean of flattened positions (x,), bohr, and their principal directions about it.

        These are spreads (l,), bohr, descending, directions (l, x), each of one species, and their labels (l,).  ``positions``
        (samples, N, 3), bohr, are closed under the operations.
        """
        flat = positions_sav.reshape(len(positions_sav), -1)
        mean_x = flat.mean(axis=0)
        basis_xj, labels_j = of_species(self.over_positions_xx, np.eye(len(mean_x)))
        spread_l, axes_lj, labels_l = principal((flat - mean_x) @ basis_xj, labels_j)
        return mean_x, spread_l, axes_lj @ basis_xj.T, labels_l


def _keeps(operation: Operation, central_av: np.ndarray) -> bool:
    """Return whether an operation is twofold, leaves a geometry where it is, and no mode leads out of the modes by it."""
    symmetry, matrix_mm = operation.symmetry, operation.matrix_mm
    if not _is_one(product_of(symmetry, symmetry)) or np.abs(symmetry.image(central_av) - central_av).max() > SAME_GEOMETRY:
        return False
    return bool(np.abs(matrix_mm @ matrix_mm - np.eye(len(matrix_mm))).max() < EXACT)


def _is_one(symmetry: Symmetry) -> bool:
    return symmetry.key == ((0, 1, 2), (1, 1, 1))


def _commuting(operations: Sequence[Operation]) -> list[Operation]:
    """Return the generators of a large group of commuting operations, none the product of others."""
    best: list[Operation] = []
    for first in range(len(operations)):
        found: list[Operation] = []
        group: list[Symmetry] = []
        for operation in [*operations[first:], *operations[:first]]:
            new = operation.symmetry
            if new.key in {each.key for each in group}:
                continue
            if all(product_of(new, each.symmetry).key == product_of(each.symmetry, new).key for each in found):
                found.append(operation)
                group += [new, *(product_of(new, each) for each in group)]
        best = max(best, found, key=len)
    return best


def parity(labels: np.ndarray, bits: int | np.ndarray) -> np.ndarray:
    """Return +1 or -1, as shaped: what an operation, given the bits of those it is made of, does to what has these labels."""
    odd = np.asarray(labels) & bits
    return 1.0 - 2.0 * ((odd ^ odd >> 1 ^ odd >> 2) & 1)


def n_species(labels: np.ndarray) -> int:
    """Return how many symmetry species there may be, given labels (any shape): a power of two.  Not collective."""
    return 1 << int(labels.max(initial=0)).bit_length()


def blocks_of(labels: np.ndarray) -> list[np.ndarray]:
    """Return the places of each species in labels of shape (j,), one array of numbers after the other."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def eigh_of_blocks(
    matrix_jj: np.ndarray, labels_j: np.ndarray, eigh: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = np.linalg.eigh
) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (j,), in the unit of the matrix, and eigenvectors (j, j) within each species, in its places.

    What a symmetric matrix has between species is taken for zero.  ``eigh`` does it for one; as collective as this.
    """
    values_j, vectors_jj = np.zeros(len(labels_j)), np.zeros(matrix_jj.shape)
    for block in blocks_of(labels_j):
        within = np.ix_(block, block)
        values_j[block], vectors_jj[within] = eigh(matrix_jj[within])
    return values_j, vectors_jj


def of_species(operator_ii: np.ndarray, columns_ij: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis (i, j), by label, of the span of columns, each of one species, and the labels (j,).

    The span is that of whole species but for round-off or for what the columns are off, which is projected out.
    """
    values, inside = np.linalg.eigh(columns_ij.T @ operator_ii @ columns_ij)
    labels_j, basis_ij = np.rint(values).astype(int), columns_ij @ inside
    for block in blocks_of(labels_j):
        basis_ij[:, block] = np.linalg.qr(_projected(operator_ii, basis_ij[:, block], int(labels_j[block[0]])))[0]
    return basis_ij, labels_j


def _projected(operator_ii: np.ndarray, columns_ij: np.ndarray, label: int) -> np.ndarray:
    """Return columns without what is of other species, whose labels are the other eigenvalues of T."""
    for other in range(MOST):
        if other != label:
            columns_ij = (operator_ii @ columns_ij - other * columns_ij) / (label - other)
    return columns_ij


def principal(rows_si: np.ndarray, labels_i: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return singular values (k,), descending, right singular vectors (k, i), each of one species, and their labels (k,).

    ``rows`` are closed under the operations: columns of different species are orthogonal.
    """
    values, vectors, labels = [], [], []
    for block in blocks_of(labels_i):
        _, found_k, directions = np.linalg.svd(rows_si[:, block], full_matrices=False)
        whole = np.zeros((len(found_k), len(labels_i)))
        whole[:, block] = directions
        values.append(found_k)
        vectors.append(whole)
        labels.append(np.full(len(found_k), labels_i[block[0]]))
    order = np.argsort(-np.concatenate(values), kind="stable")
    return np.concatenate(values)[order], np.concatenate(vectors)[order], np.concatenate(labels)[order]
