"""Points of the grid that stand for all their images under commuting twofold operations.

What is known at the images of a point, or of every species at the point alone, is the same (``images``): functions of one
species are kept at one point of each orbit, and integrals are sums over these.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.chosen_points import global_points, scattered_order
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import image_points
from mpiqmd.grid.point_exchange import PointExchange
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.rom.learned.images import as_species
from mpiqmd.rom.learned.species import Species, blocks_of, parity

BLOCK = 2048
"""Grid points at a time."""


class Orbits:
    """Some points of a grid, with all their images.  Construction is collective.

    Parameters
    ----------
    grid, points_local
        The grid, and indices of this rank's points in its flattened block; those of all ranks are closed under the operations.
    species
        The operations.

    Attributes
    ----------
    first
        Indices in this rank's flattened block of its points that stand for all their images, which other ranks may have, (Q,).
    weights_q
        How many different images each has, itself included.
    n_images
        G, how many operations there are, identity and products included.
    """

    def __init__(self, grid: Grid, points_local: np.ndarray, species: Species) -> None:
        self.grid, self.points_local, self.n_images = grid, points_local, len(species)
        own = global_points(grid, points_local)
        orbit_gp = np.array([own, *(image_points(grid, own, g.axes, g.signs_v) for _, g in species.group())])
        # the one that comes first in no order stands for all: ranks share them
        keys_gp = scattered_order(orbit_gp)
        first = np.flatnonzero(keys_gp[0] == keys_gp.min(axis=0))
        self.first, self._orbit_gq = points_local[first], orbit_gp[:, first]
        # a point on a plane of symmetry is an image of itself
        self.weights_q = 1.0 + np.count_nonzero(np.diff(np.sort(self._orbit_gq, axis=0), axis=0), axis=0)
        self._exchange = PointExchange(grid, points_local, self._orbit_gq.ravel())

    def by_species(self, functions: np.ndarray) -> np.ndarray:
        """Return what functions (j, points) have of every species, shape (j, species, Q), in their unit.  Collective."""
        return as_species(self._exchange.fetch(functions).reshape(len(functions), self.n_images, len(self.first)))

    def everywhere(self, values_jgq: np.ndarray) -> np.ndarray:
        """Return functions (j, points) with these values at all images (j, images, Q), in their unit.  Collective."""
        return self._exchange.put(values_jgq.reshape(len(values_jgq), self.n_images * len(self.first)))

    def spread(self, functions: np.ndarray, labels_j: np.ndarray) -> np.ndarray:
        """Return functions of one species each (j, Q), whose labels are given, at all points (j, points).  Collective."""
        signs_jg = parity(labels_j[:, None], np.arange(self.n_images)).astype(functions.dtype)
        return self.everywhere(signs_jg[:, :, None] * functions[:, None])

    def at(self, functions: np.ndarray, labels_j: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return such functions (j, Q) at global grid points on every rank, shape (j, chosen).  Collective."""
        values = np.zeros((len(functions), len(chosen)))
        missing = np.ones(len(chosen), bool)
        for g, own_q in enumerate(self._orbit_gq):
            if not len(own_q):
                break
            order = np.argsort(own_q)
            places = order[np.minimum(np.searchsorted(own_q, chosen, sorter=order), len(own_q) - 1)]
            here = np.flatnonzero(missing & (own_q[places] == chosen))
            values[:, here] = parity(labels_j, g)[:, None] * functions[:, places[here]]
            missing[here] = False
        return sum_over_ranks(self.grid.comm, values)

    def gram(self, functions: np.ndarray) -> np.ndarray:
        """Return overlaps, shape (j, j), their unit squared bohr³, of functions (j, Q) of one species.  Collective."""
        total = np.zeros((len(functions), len(functions)))
        for start in range(0, len(self.first), BLOCK):
            block = functions[:, start : start + BLOCK] * np.sqrt(self.weights_q[start : start + BLOCK])
            total += block @ block.T
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, total)

    def overlaps(self, fields: np.ndarray, functions: np.ndarray, labels_j: np.ndarray) -> np.ndarray:
        """Return ``∫ v f dr``, shape (fields, j), of fields (., points) and functions of one species each (j, Q).  Collective.

        In the unit of both times bohr³.
        """
        return self.integrals(self.by_species(fields), functions, labels_j)

    def integrals(self, parts_vgq: np.ndarray, functions: np.ndarray, labels_j: np.ndarray) -> np.ndarray:
        """Return the same, shape (fields, j), given what fields have of every species (fields, species, Q).  Collective."""
        rows = np.zeros((len(parts_vgq), len(functions)))
        for block in blocks_of(labels_j):
            part_vq = parts_vgq[:, labels_j[block[0]]] * self.weights_q
            for start in range(0, len(self.first), BLOCK):
                piece = slice(start, start + BLOCK)
                rows[:, block] += part_vq[:, piece] @ functions[block, piece].T.astype(float)
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, rows)
