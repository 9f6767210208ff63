"""Modes that grow with new orbitals: what these have outside the span there is joins it, and all modes are put into order anew.

With ψ_m, σ_m the modes and singular values there are and φ the new orbitals with all their images under a group G,

    [ψ σ, g φ] = [ψ, χ] K,     K K^T = diag(σ², 0) + Σ_g D_g W W^T D_g^T,     W = <ψ, χ|φ>,     D_g = <ψ, χ|g (ψ, χ)>,

χ the principal functions of what ``φ`` and its images have outside the span of ψ: the eigenvectors of ``K K^T`` turn the modes,
and its eigenvalues are the squares of the new singular values (M. Brand, Lin. Alg. Appl. 415, 20 (2006)).  The old orbitals are
not needed; their projections turn with the modes.  All of the old span is kept, so that no geometry is described worse than
before, and of χ so much that in the mean as little of a new orbital is left out as of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh
from mpiqmd.rom.basis import CRITERIA, EQUAL, ReducedBasis, rank_for
from mpiqmd.rom.closed_set import ClosedSet
from mpiqmd.rom.learned.species import eigh_of_blocks
from mpiqmd.rom.learned.training_set import represented

NEGLIGIBLE = 1e-5
"""Singular values of what is new that are left out in any case: they change energies by their square."""


@dataclass(frozen=True, eq=False)
class GrownBasis:
    """A basis, and the projections ``<ψ_m|φ_n>`` of all training orbitals on it, the new ones last, (geometries, modes, n)."""

    basis: ReducedBasis
    orbitals_smn: np.ndarray


def grown_basis(
    basis: ReducedBasis, symmetries: Sequence[Symmetry], orbitals_smn: np.ndarray, new: Sequence[Orbitals]
) -> GrownBasis:
    """Return the basis with new orbitals in its span, in the mean as well as those before.  Collective.

    Parameters
    ----------
    basis, symmetries
        The modes there are, and the group without its identity that they are closed under.
    orbitals_smn
        Projections of the training orbitals on them.
    new
        Orthonormal orbitals of new geometries, as many of each as of those before.
    """
    modes, kept_k = basis.modes, basis.singular_values_k[: basis.rank]
    outside, left_out_k = _outside(basis, symmetries, new)
    joined = Orbitals(modes.grid, np.concatenate([modes.local, outside.local]))
    new_smn = np.array([joined.gram(orbitals) for orbitals in new])
    values_m, rotation_mm = _in_order(joined, symmetries, kept_k, new_smn)
    known_smn = np.pad(orbitals_smn, ((0, 0), (0, len(outside)), (0, 0)))
    projections_smn = np.einsum("ml,smn->sln", rotation_mm, np.concatenate([known_smn, new_smn]))
    left_out = np.concatenate([basis.singular_values_k[basis.rank :], left_out_k])
    grown = replace(
        basis,
        modes=orthonormalised(joined.combine(rotation_mm)),
        singular_values_k=np.sort(np.concatenate([values_m, left_out]))[::-1],
        n_snapshots=basis.n_snapshots + sum(map(len, new)),
    )
    ranks = {name: rank_for(grown.singular_values_k, basis.energy_fraction, name) for name in CRITERIA}
    grown = replace(grown, rank_sigma=ranks["sigma"], rank_sigma2=ranks["sigma2"])
    return GrownBasis(grown, decide(modes.grid.comm, projections_smn))


def _outside(basis: ReducedBasis, symmetries: Sequence[Symmetry], new: Sequence[Orbitals]) -> tuple[Orbitals, np.ndarray]:
    """Return what new orbitals have outside the modes, orthonormal, each of one parity, and the values left out.

    Collective.
    """
    modes = basis.modes
    rest = Orbitals(modes.grid, np.concatenate([orbitals.local for orbitals in new]))
    # the span is closed, so that the images of what is outside are what the images have outside
    closed = ClosedSet(_without(modes, rest), symmetries)
    smallest = _smallest(np.concatenate([sector.singular_values_k for sector in closed.sectors]), basis, len(rest))
    counts = [int(np.sum(sector.singular_values_k > (1.0 - EQUAL) * smallest)) for sector in closed.sectors]
    found = [closed.decomposed(sector, count) for sector, count in zip(closed.sectors, counts, strict=True) if count]
    left_out = [sector.singular_values_k[count:] for sector, count in zip(closed.sectors, counts, strict=True)]
    parts = [modes.select(slice(0, 0)), *(part.modes for part in found)]
    outside = Orbitals(modes.grid, np.concatenate([part.local for part in parts]))
    return orthonormalised(_without(modes, outside)), np.concatenate(left_out)


def _smallest(singular_values: np.ndarray, basis: ReducedBasis, count: int) -> float:
    """Return the smallest singular value of what is new that is kept: as much is left out of an orbital as of those before."""
    left_out = float(np.sum(basis.singular_values_k[basis.rank :] ** 2)) * count / basis.n_snapshots
    rising = np.sort(singular_values)
    first = int(np.searchsorted(np.cumsum(rising**2), left_out, side="right"))
    return max(float(rising[first]), NEGLIGIBLE) if first < len(rising) else np.inf


def _without(modes: Orbitals, functions: Orbitals) -> Orbitals:
    """Return what functions have outside orthonormal modes, taken out twice against round-off.  Collective."""
    for _ in range(2):
        functions = Orbitals(modes.grid, functions.local - modes.combine(modes.gram(functions)).local)
    return functions


def _in_order(
    joined: Orbitals, symmetries: Sequence[Symmetry], singular_values_k: np.ndarray, new_smn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the new singular values, descending, and the rotation (joined, modes) to their modes.  Collective."""
    matrices = represented(joined, symmetries)
    columns_mj = np.concatenate(list(new_smn), axis=1)
    square_mm = np.zeros((len(joined), len(joined)))
    known = np.arange(len(singular_values_k))
    square_mm[known, known] = singular_values_k**2
    for image_mj in (columns_mj, *(matrix_mm @ columns_mj for matrix_mm in matrices)):
        square_mm += image_mj @ image_mj.T
    labels_m = np.zeros(len(joined), int)
    flips = [matrix_mm for symmetry, matrix_mm in zip(symmetries, matrices, strict=True) if symmetry.is_flip]
    for bit, matrix_mm in enumerate(flips):
        labels_m |= (np.diag(matrix_mm) < 0.0).astype(int) << bit
    comm = joined.grid.comm
    squares_m, rotation_mm = eigh_of_blocks(square_mm, decide(comm, labels_m), partial(eigh, comm))
    order = decide(comm, np.argsort(-squares_m, kind="stable"))
    return np.sqrt(np.maximum(squares_m[order], 0.0)), rotation_mm[:, order]
