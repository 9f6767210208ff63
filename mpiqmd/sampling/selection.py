"""Few geometries that represent many: farthest-point selection.

Starting from the geometry nearest the mean, the one farthest from all chosen so far is added again and again (T. F.
Gonzalez, Theor. Comput. Sci. 38, 293 (1985)): the largest distance of any geometry from a chosen one is at most twice the
smallest possible for their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.molecule.symmetry import Symmetry, with_images

SAME = 1e-9
"""Geometries nearer to a chosen one than this (bohr) are not chosen too."""


def farthest_points(positions_sav: np.ndarray, count: int, symmetries: Sequence[Symmetry] = ()) -> list[int]:
    """Return the indices of at most ``count`` geometries that cover all of them, in the order they were chosen.

    Not collective.  Fewer are returned if the others are copies of them.

    Parameters
    ----------
    positions_sav
        Positions in one body frame, shape (samples, N, 3), bohr; distances are root sums of squares over atoms.
    count
        How many.
    symmetries
        Operations of the molecule: a geometry is as near as the nearest of its images.
    """
    nearest = int(np.argmin(((positions_sav - positions_sav.mean(axis=0)) ** 2).sum(axis=(1, 2))))
    chosen, distances_s = [nearest], np.full(len(positions_sav), np.inf)
    while True:
        for image_av in with_images(positions_sav[chosen[-1:]], symmetries):
            distances_s = np.minimum(distances_s, np.linalg.norm(positions_sav - image_av, axis=(1, 2)))
        farthest = int(np.argmax(distances_s))
        if len(chosen) >= count or distances_s[farthest] <= SAME:
            return chosen
        chosen.append(farthest)
