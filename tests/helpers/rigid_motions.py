"""Rigid motions: any rotation, and the way back from a body frame."""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.rigid import Alignment, rotation_from_quaternion


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation drawn uniformly from all rotations, shape (3, 3)."""
    quaternion = rng.normal(size=4)
    return rotation_from_quaternion(quaternion / np.linalg.norm(quaternion))


def laboratory_positions(alignment: Alignment) -> np.ndarray:
    """The aligned geometry carried back to the laboratory, in laboratory order, shape (N, 3), bohr."""
    positions_av = np.empty((len(alignment.permutation_a), 3))
    positions_av[alignment.permutation_a] = alignment.body_positions_av @ alignment.rotation_vv + alignment.origin_v
    return positions_av
