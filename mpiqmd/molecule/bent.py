"""Internal coordinates of a bent triatomic XY2 such as water: two bond lengths and the angle between them."""

from __future__ import annotations

import numpy as np


def internal_coordinates(positions_av: np.ndarray, vertex: int = 0) -> tuple[float, float, float]:
    """Return ``(L1, L2, theta)``: bond lengths in bohr, the angle between the bonds in radian. Not collective.

    ``positions_av`` has shape (3, 3), bohr; ``vertex`` is the index of the central atom, and the other two count in
    their order.
    """
    first_v, second_v = np.delete(np.asarray(positions_av, dtype=float), vertex, axis=0) - positions_av[vertex]
    length_1, length_2 = np.sqrt(first_v @ first_v), np.sqrt(second_v @ second_v)
    # the arctangent keeps its digits near 0 and 180 degrees, where the arccosine loses them
    sine = np.linalg.norm(np.cross(first_v, second_v))
    return float(length_1), float(length_2), float(np.arctan2(sine, first_v @ second_v))


def water_positions(length_1: float, length_2: float, angle: float, vertex: int = 0) -> np.ndarray:
    """Return body-frame positions of a bent XY2, shape (3, 3), bohr. Not collective.

    The central atom, of index ``vertex``, is at the origin, the molecule in the plane z = 0, the first arm at
    ``+angle/2`` (radian) from the x axis and the second at ``-angle/2``.
    """
    cosine, sine = np.cos(0.5 * angle), np.sin(0.5 * angle)
    arms_av = np.array([[length_1 * cosine, length_1 * sine, 0.0], [length_2 * cosine, -length_2 * sine, 0.0]])
    return np.insert(arms_av, vertex, 0.0, axis=0)
