"""Principal components of densities and all their images, species by species.

A set that is closed under commuting twofold operations falls into species: with ``P_χ = Π_i (1 ± g_i) / 2`` the parts
``P_χ f_s`` of few functions f_s have the components of all images of all of them.  Such a part is known from one point of each
orbit, so overlaps are sums over these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.chosen_points import global_points, scattered_order
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import even_or_odd, image_points
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.rom.learned.species import Species

BLOCK = 2048
"""Grid points at a time."""
AT_ONCE = 32
"""Functions whose images are in memory at a time."""


class Closed:
    """Some of this rank's grid points, with all their images, and the operations that make these.

    Construction is not collective.

    Parameters
    ----------
    grid, points_local
        The grid, and indices of the points in this rank's flattened block.
    species
        The operations.
    """

    def __init__(self, grid: Grid, points_local: np.ndarray, species: Species) -> None:
        self.grid, self.points_local, self.species = grid, points_local, species
        own = global_points(grid, points_local)
        orbit = np.array([own, *(image_points(grid, own, g.axes, g.signs_v) for _, g in species.group())])
        # the one that comes first in no order stands for all: ranks share them
        keys = scattered_order(orbit)
        self.first = np.flatnonzero(keys[0] == keys.min(axis=0))
        # a point on a plane of symmetry is an image of itself
        self.weights_q = 1.0 + np.count_nonzero(np.diff(np.sort(orbit[:, self.first], axis=0), axis=0), axis=0)

    def part(self, functions: np.ndarray, label: int) -> np.ndarray:
        """Return what functions (j, points), of any unit, have of a species, in single precision.  Collective."""
        result = np.empty_like(functions)
        for start in range(0, len(functions), AT_ONCE):
            block = np.zeros((len(functions[start : start + AT_ONCE]), self.grid.local_size))
            block[:, self.points_local] = functions[start : start + AT_ONCE]
            whole = Orbitals(self.grid, block.reshape(-1, *self.grid.local_shape))
            for bit, operation in enumerate(self.species.operations):
                whole = even_or_odd(whole, operation.axes, operation.signs_v, -1 if label >> bit & 1 else 1)
            result[start : start + AT_ONCE] = whole.matrix_local[:, self.points_local]
        return result

    def gram(self, functions: np.ndarray) -> np.ndarray:
        """Return overlaps, shape (j, j), their unit squared bohr³, of functions (j, points) of one species.  Collective."""
        total = np.zeros((len(functions), len(functions)))
        for start in range(0, len(self.first), BLOCK):
            places = self.first[start : start + BLOCK]
            block = functions[:, places] * np.sqrt(self.weights_q[start : start + BLOCK])
            total += block @ block.T
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, total)


@dataclass(frozen=True)
class Principal:
    """Principal components by descending singular value.

    Attributes
    ----------
    functions
        At this rank's points, orthonormal, shape (f, points), in single precision.
    values_f, labels_f
        Singular values and species.
    """

    functions: np.ndarray
    values_f: np.ndarray
    labels_f: np.ndarray


def principal_densities(closed: Closed, samples: np.ndarray, smallest: float) -> Principal:
    """Return the principal components of samples (s, points) and their images down to a singular value.  Collective."""
    functions, values, labels = [], [], []
    for label in range(len(closed.species)):
        part = closed.part(samples, label)
        found_j, vectors = eigh(closed.grid.comm, closed.gram(part))
        kept = np.flatnonzero(found_j > smallest**2)[::-1]
        if not len(kept):
            continue
        combined = _combined(part, vectors[:, kept] / np.sqrt(found_j[kept]))
        # the small ones are orthogonal to the square root of round-off only
        functions.append(_combined(combined, inverse_square_root(closed.grid.comm, closed.gram(combined))).copy())
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
