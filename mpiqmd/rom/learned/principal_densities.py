"""Principal components of densities and all their images, species by species.

A set that is closed under commuting twofold operations falls into species: with ``P_χ = Π_i (1 ± g_i) / 2`` the parts
``P_χ f_s`` of few functions f_s have the components of all images of all of them.  Such a part is known from one point of each
orbit (``orbits``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.rom.learned.orbits import BLOCK, Orbits


@dataclass(frozen=True)
class Principal:
    """Principal components by descending singular value.

    Attributes
    ----------
    functions
        At this rank's points that stand for their images, orthonormal, shape (f, Q), in single precision.
    values_f, labels_f
        Singular values and species.
    """

    functions: np.ndarray
    values_f: np.ndarray
    labels_f: np.ndarray


def principal_densities(orbits: Orbits, parts_gsq: np.ndarray, smallest: float) -> Principal:
    """Return the principal components of samples and their images down to a singular value.  Collective.

    Of each species there are parts (species, s, Q), single precision, which are used up.
    """
    functions, values, labels = [], [], []
    for label, part_sq in enumerate(parts_gsq):
        found_j, vectors = eigh(orbits.grid.comm, orbits.gram(part_sq))
        kept = np.flatnonzero(found_j > smallest**2)[::-1]
        if not len(kept):
            continue
        combined = _combined(part_sq, vectors[:, kept] / np.sqrt(found_j[kept]))
        # the small ones are orthogonal to the square root of round-off only
        functions.append(_combined(combined, inverse_square_root(orbits.grid.comm, orbits.gram(combined))).copy())
        values.append(np.sqrt(found_j[kept]))
        labels.append(np.full(len(kept), label))
    order = np.argsort(-np.concatenate(values), kind="stable")
    values_f, labels_f = np.concatenate(values)[order], np.concatenate(labels)[order]
    return Principal(_in_order(functions, np.argsort(order)), values_f, labels_f)


def _in_order(blocks: list[np.ndarray], places: np.ndarray) -> np.ndarray:
    """Return all functions, each at its place; blocks are let go one by one, for two copies of all would not always fit."""
    result, filled = np.empty((len(places), blocks[0].shape[1]), np.float32), 0
    while blocks:
        block = blocks.pop(0)
        result[places[filled : filled + len(block)]] = block
        filled += len(block)
    return result


def _combined(functions: np.ndarray, combination: np.ndarray) -> np.ndarray:
    """Return ``C^T F``, made in the memory of F block by block."""
    count = combination.shape[1]
    for start in range(0, functions.shape[1], BLOCK):
        block = functions[:, start : start + BLOCK]
        block[:count] = combination.T @ block.astype(float)
    return functions[:count]
