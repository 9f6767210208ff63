"""What a learned grid is made of: training geometries and their occupied subspaces over the modes, with all their images.

An operation g of the molecule takes orbitals over the modes to ``D_g C``, ``D_g = <ψ_m|g ψ_n>``, since the modes span what is
closed under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.images import image
from mpiqmd.molecule.symmetry import Symmetry, product_of, with_images
from mpiqmd.parallel.comm import decide
from mpiqmd.rom.snapshots import SAME_GEOMETRY

BLOCK = 32
"""Modes whose images are in memory at a time."""


@dataclass(frozen=True)
class TrainingSet:
    """Body-frame geometries (samples, N, 3), bohr, and orthonormal orbitals over the modes (samples, modes, occupied)."""

    positions_sav: np.ndarray
    orbitals_smn: np.ndarray

    @property
    def central(self) -> int:
        """Index of the geometry nearest the mean."""
        distances_s = ((self.positions_sav - self.positions_sav.mean(axis=0)) ** 2).sum(axis=(1, 2))
        return int(np.argmin(distances_s))


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
    images_sav, orbitals = with_images(positions_sav, symmetries), list(orbitals_smn)
    kept, operations = list(range(len(positions_sav))), represented(modes, symmetries)
    for s in range(len(positions_sav), len(images_sav)):
        if np.abs(images_sav[kept] - images_sav[s]).max(axis=(1, 2)).min() > SAME_GEOMETRY:
            operation, geometry = divmod(s, len(positions_sav))
            kept.append(s)
            orbitals.append(operations[operation - 1] @ orbitals_smn[geometry])
    left, _, right = np.linalg.svd(np.array(orbitals), full_matrices=False)
    return TrainingSet(images_sav[kept], decide(modes.grid.comm, left @ right))


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
