"""Internal coordinates of a bent triatomic XY2 such as water: two bond lengths and the angle between them."""

from __future__ import annotations

from math import atan2, cos, hypot, sin

import numpy as np


def bent_coordinates(positions_av: np.ndarray, vertex: int = 0) -> tuple[float, float, float]:
    """Return ``(L1, L2, theta)``: bond lengths in bohr, angle of the bonds in radian. Not collective.

    ``positions_av`` has shape (3, 3), bohr; ``vertex`` is the index of the central atom, and the other two
    count in their order.
    """
    # plain floats: this runs in every step, and for three numbers they are ten times quicker than arrays
    atoms = np.asarray(positions_av, dtype=float).tolist()
    x, y, z = atoms.pop(vertex)
    (x_1, y_1, z_1), (x_2, y_2, z_2) = ((u - x, v - y, w - z) for u, v, w in atoms)
    normal = (y_1 * z_2 - z_1 * y_2, z_1 * x_2 - x_1 * z_2, x_1 * y_2 - y_1 * x_2)
    # the arctangent keeps its digits near 0 and 180 degrees, where the arccosine loses them
    angle = atan2(hypot(*normal), x_1 * x_2 + y_1 * y_2 + z_1 * z_2)
    return hypot(x_1, y_1, z_1), hypot(x_2, y_2, z_2), angle


def water_positions(length_1: float, length_2: float, angle: float, vertex: int = 0) -> np.ndarray:
    """Return body-frame positions of a bent XY2, shape (3, 3), bohr. Not collective.

    The central atom, of index ``vertex``, is at the origin, the molecule in the plane z = 0, the first arm at
    ``+angle/2`` (radian) from the x axis and the second at ``-angle/2``.
    """
    cosine, sine = cos(0.5 * angle), sin(0.5 * angle)
    atoms = [[length_1 * cosine, length_1 * sine, 0.0], [length_2 * cosine, -length_2 * sine, 0.0]]
    atoms.insert(vertex, [0.0, 0.0, 0.0])
    return np.array(atoms)
