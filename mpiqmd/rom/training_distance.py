"""How far a geometry is from those that a reduced model was trained on, in units of how far these are from each other.

Coordinates are bond lengths and angle where the frame has a vertex (bent XY2), body coordinates otherwise, and are measured by
how they vary together over the training geometries (the distance of Mahalanobis): with their covariance C,

    d(x, y)² = (x - y)^T C^-1 (x - y),     distance(x) = min_s d(x, x_s) / max_s min_{s' ≠ s} d(x_s, x_s')

It is zero at a training geometry and its images, and 1 as far from the nearest as the loneliest training geometry is
from its own neighbour.  A direction that varied little counts as if it had by a twentieth of the one that varied most.  One
that did not vary at all, such as out of the plane in which all training geometries lie, counts as if it had by next to
nothing: whatever moves along it is outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.compiling import compiled
from mpiqmd.molecule.bent import bent_coordinates
from mpiqmd.molecule.symmetry import Symmetry, with_images

LEAST_VARIATION = 0.05
"""Standard deviation of a direction, in that of the direction that varied most, below which it counts as so large."""
WITHOUT_EXTENT = 1e-4
"""The same below which it did not vary, and counts as so large; round-off is smaller still."""
SMALLEST_VARIATION = 0.01
"""The same, in bohr or radian: for training geometries that are all but the same."""
SAME = 1e-6
"""Distance, before it is measured by the others, below which two geometries are one."""


class TrainingDistance:
    """The distance to a set of training geometries.  Replicated; not collective.

    Parameters
    ----------
    positions_sav
        The geometries in the body frame, shape (S, N, 3), bohr.
    vertex
        Central atom of a bent XY2 frame; None for body coordinates.
    symmetries
        Operations that the snapshots were closed under: images count as trained on.
    """

    def __init__(self, positions_sav: np.ndarray, vertex: int | None = None, symmetries: Sequence[Symmetry] = ()) -> None:
        self.vertex, self.symmetries = vertex, symmetries
        values_sk = np.array([self._values(positions_av) for positions_av in with_images(positions_sav, symmetries)])
        mean_k, scales_kq = values_sk.mean(axis=0), _scales(values_sk)
        points_sq = (values_sk - mean_k) @ scales_kq
        unit = _loneliest(points_sq)
        self._mean_k, self._scales_qk = mean_k, np.ascontiguousarray(scales_kq.T) / unit
        self._points_sq = np.ascontiguousarray(points_sq) / unit

    def distance(self, body_positions_av: np.ndarray) -> float:
        """Return the distance of a geometry in the body frame, shape (N, 3), bohr; without unit."""
        return _nearest(self._values(body_positions_av), self._mean_k, self._scales_qk, self._points_sq)

    def between(self, body_positions_av: np.ndarray, others_sav: np.ndarray) -> float:
        """Return the distance of a geometry to the nearest of others, (S, N, 3), bohr, or of their images, in the same unit."""
        values_sk = np.array([self._values(positions_av) for positions_av in with_images(others_sav, self.symmetries)])
        points_sq = np.ascontiguousarray((values_sk - self._mean_k) @ self._scales_qk.T)
        return _nearest(self._values(body_positions_av), self._mean_k, self._scales_qk, points_sq)

    def _values(self, body_positions_av: np.ndarray) -> np.ndarray:
        if self.vertex is None:
            return body_positions_av.ravel()
        return np.array(bent_coordinates(body_positions_av, self.vertex))


@compiled()
def _nearest(values: np.ndarray, mean: np.ndarray, scales: np.ndarray, points: np.ndarray) -> float:
    """Return the distance of coordinates (K,), less their mean and scaled (Q, K), to the nearest of points (S, Q).

    Plain loops: this runs in every step.
    """
    point = np.zeros(len(scales))
    for q in range(len(scales)):
        for k in range(len(values)):
            point[q] += scales[q, k] * (values[k] - mean[k])
    smallest = np.inf
    for s in range(len(points)):
        square = 0.0
        for q in range(len(point)):
            square += (points[s, q] - point[q]) ** 2
        smallest = min(smallest, square)
    return np.sqrt(smallest)


def _scales(values_sk: np.ndarray) -> np.ndarray:
    """Return the directions (coordinates, directions) that can vary, each over its standard deviation."""
    covariance_kk = np.atleast_2d(np.cov(values_sk.T, bias=True)) if len(values_sk) > 1 else np.zeros((values_sk.shape[1],) * 2)
    squares_k, directions_kk = np.linalg.eigh(covariance_kk)
    deviations_k = np.sqrt(np.maximum(squares_k, 0.0))
    largest = float(deviations_k.max())
    least = max(LEAST_VARIATION * largest, SMALLEST_VARIATION)
    if largest > SMALLEST_VARIATION:
        smallest = WITHOUT_EXTENT * largest
        return directions_kk / np.where(deviations_k < smallest, smallest, np.maximum(deviations_k, least))
    return directions_kk / least


def _loneliest(points_sq: np.ndarray) -> float:
    """Return the largest distance of a point to its nearest neighbour, 1 if there are no two different ones."""
    nearest = []
    for point_q in points_sq:
        distances_s = np.linalg.norm(points_sq - point_q, axis=1)
        others = distances_s[distances_s > SAME]
        nearest.append(float(others.min()) if len(others) else 0.0)
    return max(nearest) or 1.0
