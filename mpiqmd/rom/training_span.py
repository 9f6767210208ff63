"""The directions in which training geometries hardly differ from each other: a model knows nothing of them.

With all geometries in a plane one of them is out of it; with one bond stretched alone nearly all are, and so is every
coordinate of an atom that never moves.  Those that the body frame fixes are among them, and never left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.molecule.symmetry import Symmetry, with_images

THIN = 1e-3
"""Standard deviation of a direction (bohr) below which geometries hardly differ in it; vibrations are wider even at 10 K."""
FARTHEST = 2.0
"""Off their mean in such a direction, in what training geometries are at most."""
ROUND_OFF = 1e-6
"""Bohr that count for nothing there."""


class TrainingSpan:
    """What geometries may not leave.  Replicated; not collective.

    Parameters
    ----------
    place_k
        Some place on the span, of flattened positions, shape (3 N,), bohr.
    missing_dk
        Orthonormal directions off it, shape (directions, 3 N).
    values_sk
        Geometries on it, shape (S, 3 N), bohr, up to the little that they differ in these directions.
    """

    def __init__(self, place_k: np.ndarray, missing_dk: np.ndarray, values_sk: np.ndarray) -> None:
        self.missing_dk = np.ascontiguousarray(missing_dk)
        self._places_d = self.missing_dk @ place_k
        self._allowed_d = FARTHEST * np.abs(values_sk @ self.missing_dk.T - self._places_d).max(axis=0) + ROUND_OFF

    @classmethod
    def of_coordinates(cls, lower_av: np.ndarray, upper_av: np.ndarray) -> TrainingSpan:
        """Return what coordinates leave that have one value alone: where both bounds, shape (N, 3), bohr, are the same."""
        fixed = np.flatnonzero(lower_av == upper_av)
        return cls(lower_av.ravel(), np.eye(lower_av.size)[fixed], lower_av.reshape(1, -1))

    @classmethod
    def of_geometries(cls, positions_sav: np.ndarray, symmetries: Sequence[Symmetry] = ()) -> TrainingSpan:
        """Return what geometries (S, N, 3), bohr, in the body frame, and their images span.

        Where they are too few to span all directions, only the coordinates that no geometry has moved count as missing.
        """
        images = with_images(positions_sav, symmetries)
        values_sk = images.reshape(len(images), -1)
        mean_k = values_sk.mean(axis=0)
        _, sizes_k, directions_kk = np.linalg.svd(values_sk - mean_k)
        deviations_k = np.zeros(len(mean_k))
        deviations_k[: len(sizes_k)] = sizes_k / np.sqrt(len(values_sk))
        missing = deviations_k < THIN
        if np.count_nonzero(~missing) >= len(values_sk) - 1:
            return cls(mean_k, np.eye(len(mean_k))[np.ptp(values_sk, axis=0) < ROUND_OFF], values_sk)
        return cls(mean_k, directions_kk[missing], values_sk)

    def off(self, body_positions_av: np.ndarray) -> np.ndarray | None:
        """Return by how much a geometry (N, 3), bohr, is off, shape (N, 3), bohr; None if by no more than training."""
        off_d = self.missing_dk @ body_positions_av.ravel() - self._places_d
        if (np.abs(off_d) <= self._allowed_d).all():
            return None
        return (off_d @ self.missing_dk).reshape(body_positions_av.shape)
