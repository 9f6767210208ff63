"""Nearest images in a periodic cell: which copy of an atom is meant where only whole translations differ.

A vector d between two atoms of an orthogonal cell with edges L is taken to the nearest image, ``d - L round(d / L)``, each
component in [-L/2, L/2].  ``cell_v`` None stands for free space, where everything stays as it is.  Not collective.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

SAME_CELL = 2e-4
"""Bohr that edges of the same cell may differ by: files often have four decimals of an angstrom."""


def nearest_image(separations: np.ndarray, cell_v: np.ndarray | float | None) -> np.ndarray:
    """Return vectors (..., 3), or one component of them with its edge, to the nearest image, bohr."""
    return separations if cell_v is None else separations - cell_v * np.round(separations / cell_v)


def nearest_neighbours(positions_av: np.ndarray, cell_v: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each atom to its nearest one (bohr; infinite for a lone atom) and that one's index, shape (N,).

    Images of other atoms count, an atom's own do not.
    """
    if len(positions_av) < 2:
        return np.full(len(positions_av), np.inf), np.zeros(len(positions_av), int)
    points_av, edges = positions_av, None
    if cell_v is not None:
        points_av, edges = np.mod(positions_av, cell_v), np.asarray(cell_v, float)
        points_av = np.where(points_av < edges, points_av, 0.0)
    distances_ak, indices_ak = cKDTree(points_av, boxsize=edges).query(points_av, k=2)
    itself_a = indices_ak[:, 0] == np.arange(len(positions_av))
    # of two atoms in one place either may come first
    return distances_ak[:, 1], np.where(itself_a, indices_ak[:, 1], indices_ak[:, 0])


def whole(positions_av: np.ndarray, cell_v: np.ndarray | None) -> np.ndarray:
    """Return a molecule in one piece, shape (N, 3), bohr: atoms after the first in the image nearest to those before.

    Atoms are joined one after the other by the shortest distance of nearest images (a minimum spanning tree).
    """
    if cell_v is None:
        return positions_av
    joined_av = np.array(positions_av, float)
    missing = np.arange(1, len(joined_av))
    separation_av, squares_a = np.zeros_like(joined_av), np.full(len(joined_av), np.inf)
    parents_a, latest = np.zeros(len(joined_av), int), 0
    while len(missing):
        towards_av = nearest_image(joined_av[missing] - joined_av[latest], cell_v)
        closer = (towards_av**2).sum(axis=1) < squares_a[missing]
        atoms = missing[closer]
        separation_av[atoms], squares_a[atoms] = towards_av[closer], (towards_av[closer] ** 2).sum(axis=1)
        parents_a[atoms] = latest
        latest = int(missing[np.argmin(squares_a[missing])])
        joined_av[latest] = joined_av[parents_a[latest]] + separation_av[latest]
        missing = missing[missing != latest]
    return joined_av


def is_same_cell(cell_vv: np.ndarray, edges_v: np.ndarray) -> bool:
    """Return whether cell vectors, shape (3, 3), bohr, are those of a rectangular cell; NaN is not."""
    return bool(np.abs(cell_vv - np.diag(edges_v)).max() < SAME_CELL)
