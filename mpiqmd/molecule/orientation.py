"""How a molecule lies when a reduced model of it is made, and the frame about that orientation."""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import BisectorFrame, make_frame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_mirrors, standard_orientation, symmetrised

ALMOST_SYMMETRIC = 0.02
"""Distance (bohr) up to which a molecule is taken to be symmetric."""
EQUAL_MOMENTS = (1e-3, 3e-2)
"""Relative differences up to which two moments of inertia are taken to be equal; what shows more mirrors is kept."""


def oriented(molecule: Molecule) -> Molecule:
    """Return the molecule in the body frame of its training: as symmetric as it nearly is, mirror planes along the axes.

    Not collective.  Raises GeometryError if it has no body frame.
    """
    frame = make_frame(molecule)
    if isinstance(frame, BisectorFrame) or len(molecule) < 3:
        return molecule.with_positions(frame.align(molecule.positions_av).body_positions_av)
    candidates = [standard_orientation(molecule, tolerance) for tolerance in EQUAL_MOMENTS]
    mirrors, standard = max(((grid_mirrors(m, ALMOST_SYMMETRIC), m) for m in candidates), key=lambda pair: len(pair[0]))
    return symmetrised(standard, mirrors)


def moving_frame(molecule: Molecule, cell_v: np.ndarray | None) -> MovingFrame:
    """Return the body frame of a molecule, which takes out the grid's dependence on its orientation.

    Not collective.  A molecule that is spread over the images of a periodic cell with edges ``cell_v`` is put together first.
    """
    return MovingFrame(make_frame(oriented(molecule.with_positions(whole(molecule.positions_av, cell_v)))), cell_v)
