"""What a learned grid is made of: training geometries and their occupied subspaces over the modes, with all their images.

An operation g of the molecule takes orbitals over the modes to ``D_g C``, ``D_g = <ψ_m|g ψ_n>``, since the modes span what is
closed under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.images import image
from mpiqmd.molecule.symmetry import Symmetry, product_of, with_images
from mpiqmd.parallel.comm import decide
from mpiqmd.rom.snapshots import SAME_GEOMETRY

BLOCK = 32
"""Modes whose images are in memory at a time."""


@dataclass(frozen=True)
class Operation:
    """An operation of the molecule, and what it does to the modes: ``<ψ_m|g ψ_n>``, shape (modes, modes)."""

    symmetry: Symmetry
    matrix_mm: np.ndarray


@dataclass(frozen=True)
class TrainingSet:
    """Geometries and what was found there, closed under the operations.

    Attributes
    ----------
    positions_sav
        Body-frame geometries (samples, N, 3), bohr.
    orbitals_smn
        Orthonormal occupied orbitals over the modes (samples, modes, occupied).
    operations
        Of the molecule, without the identity.
    """

    positions_sav: np.ndarray
    orbitals_smn: np.ndarray
    operations: list[Operation] = field(default_factory=list)

    @property
    def central(self) -> int:
        """Index of the geometry nearest the mean."""
        distances_s = ((self.positions_sav - self.positions_sav.mean(axis=0)) ** 2).sum(axis=(1, 2))
        return int(np.argmin(distances_s))

    def images(self, positions_av: np.ndarray, orbitals_mn: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return a geometry (N, 3), bohr, and its occupied orbitals (modes, occupied), and all their images that differ."""
        found = [(positions_av, orbitals_mn)]
        _, *images = with_images(positions_av[None], [operation.symmetry for operation in self.operations])
        for image_av, operation in zip(images, self.operations, strict=True):
            if all(np.abs(image_av - known_av).max() > SAME_GEOMETRY for known_av, _ in found):
                found.append((image_av, operation.matrix_mm @ orbitals_mn))
        return found


def closed_training_set(
    modes: Orbitals, symmetries: Sequence[Symmetry], positions_sav: np.ndarray, orbitals_smn: np.ndarray
) -> TrainingSet:
    """Return geometries and occupied orbitals together with their images.  Collective.

    Parameters
    ----------
    modes, symmetries
        The modes, and the group that they are closed under.
    positions_sav, orbitals_smn
        Geometries in the body frame, bohr, and the projections ``<ψ_m|φ_n>`` of their occupied orbitals.
    """
    matrices = represented(modes, symmetries)
    operations = [Operation(symmetry, matrix_mm) for symmetry, matrix_mm in zip(symmetries, matrices, strict=True)]
    images_sav, orbitals = with_images(positions_sav, symmetries), list(orbitals_smn)
    kept = list(range(len(positions_sav)))
    for s in range(len(positions_sav), len(images_sav)):
        if np.abs(images_sav[kept] - images_sav[s]).max(axis=(1, 2)).min() > SAME_GEOMETRY:
            operation, geometry = divmod(s, len(positions_sav))
            kept.append(s)
            orbitals.append(matrices[operation - 1] @ orbitals_smn[geometry])
    left, _, right = np.linalg.svd(np.array(orbitals), full_matrices=False)
    return TrainingSet(images_sav[kept], decide(modes.grid.comm, left @ right), operations)


def represented(modes: Orbitals, symmetries: Sequence[Symmetry]) -> list[np.ndarray]:
    """Return ``<ψ_m|g ψ_n>``, shape (modes, modes), for every operation g of a group.  Collective.

    Those of generators are made on the grid, the others are their products.
    """
    found: list[tuple[Symmetry, np.ndarray]] = []
    for symmetry in symmetries:
        if symmetry.key in {other.key for other, _ in found}:
            continue
        fresh = [(symmetry, _on_modes(modes, symmetry))]
        while fresh:
            found += fresh
            pairs = [(one, other) for one in found for other in found]
            products = {product_of(g, h).key: (product_of(g, h), g_mm, h_mm) for (g, g_mm), (h, h_mm) in pairs}
            for known in (((0, 1, 2), (1, 1, 1)), *(other.key for other, _ in found)):
                products.pop(known, None)
            fresh = [(operation, g_mm @ h_mm) for operation, g_mm, h_mm in products.values()]
    matrices = {symmetry.key: matrix_mm for symmetry, matrix_mm in found}
    return [matrices[symmetry.key] for symmetry in symmetries]


def _on_modes(modes: Orbitals, symmetry: Symmetry) -> np.ndarray:
    """Return ``<ψ_m|g ψ_n>`` of one operation, some modes at a time.  Collective."""
    blocks = [modes.select(slice(start, start + BLOCK)) for start in range(0, len(modes), BLOCK)]
    return np.concatenate([modes.gram(image(block, symmetry.axes, symmetry.signs_v)) for block in blocks], axis=1)
