"""Regular lattices of bond lengths and angles of a bent XY2 molecule.

The published training set of water: ``L_i = 1.83 s_i`` bohr with scales 0.95, 1 and 1.05, ``theta = 104.5``
degrees and 5 degrees to either side.  Exchanging the two equal atoms gives the mirror image, so only ``s_2 <=
s_1`` is kept: 6 pairs of bonds times 3 angles are 18 geometries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.molecule.bent import water_positions
from mpiqmd.sampling.samples import Samples


def water_lattice(
    bond_length: float,
    bond_scales: Sequence[float],
    angle: float,
    angle_offsets: Sequence[float],
    vertex: int = 0,
) -> Samples:
    """Return the wedge ``s_2 <= s_1`` of a lattice of bond scales and angles. Not collective.

    Parameters
    ----------
    bond_length
        Reference bond length, bohr.
    bond_scales
        Factors of both bond lengths.
    angle
        Reference angle, radian.
    angle_offsets
        Angles added to it, radian.
    vertex
        Index of the central atom in the molecule.

    Returns
    -------
    Samples in the bisector frame labelled L1, L2 (bohr) and theta (radian), angles varying fastest:
    n (n + 1) / 2 pairs of bonds for n different scales, times the number of angles.
    """
    scales = sorted(set(bond_scales))
    points_sd = [
        (bond_length * scale_1, bond_length * scale_2, angle + offset)
        for scale_1 in scales
        for scale_2 in scales
        if scale_2 <= scale_1
        for offset in sorted(set(angle_offsets))
    ]
    return bent_samples(np.array(points_sd), "lattice", vertex)


def bent_samples(points_sd: np.ndarray, name: str, vertex: int = 0) -> Samples:
    """Return samples in the bisector frame at n points (L1, L2, theta), bohr and radian. Not collective."""
    labels = [{"L1": float(first), "L2": float(second), "theta": float(angle)} for first, second, angle in points_sd]
    positions_sav = np.array([water_positions(first, second, angle, vertex) for first, second, angle in points_sd])
    return Samples(positions_sav, labels, name)
