"""A molecule of springs: a surface known in closed form that counts how often it is asked."""

from __future__ import annotations

import numpy as np

from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.molecule import Molecule
from tests.helpers.toy_surfaces import ToySurface

LENGTH, ANGLE = 1.83, np.radians(104.5)
STRETCH, REPULSION = 0.54, 0.16
CHARGES = np.array([-0.66, 0.33, 0.33])
REST = {(0, 1): LENGTH, (0, 2): LENGTH, (1, 2): 2 * LENGTH * np.sin(ANGLE / 2)}
CONSTANTS = {(0, 1): STRETCH, (0, 2): STRETCH, (1, 2): REPULSION}


class Springs(ToySurface):
    """``E = sum k_ij (|R_i - R_j| - d_ij)^2 / 2`` of a water molecule, with point charges."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked, self.fails_after = 0, fails_after

    def at(self, positions_av: np.ndarray, memory: object = None) -> Evaluation:
        """Energy, forces and dipole; raises KeyboardInterrupt like a user once it was asked often enough."""
        if self.asked == self.fails_after:
            raise KeyboardInterrupt
        self.asked += 1
        energy, forces_av = 0.0, np.zeros_like(positions_av)
        for (i, j), rest in REST.items():
            separation_v = positions_av[i] - positions_av[j]
            distance = np.linalg.norm(separation_v)
            energy += 0.5 * CONSTANTS[i, j] * (distance - rest) ** 2
            pull_v = -CONSTANTS[i, j] * (distance - rest) * separation_v / distance
            forces_av[i] += pull_v
            forces_av[j] -= pull_v
        return Evaluation(energy, forces_av, dict(zip(DIPOLE, (CHARGES @ positions_av).tolist(), strict=True)))


def relaxed() -> Molecule:
    """The molecule at the minimum."""
    half = ANGLE / 2
    arms = LENGTH * np.array([[np.cos(half), np.sin(half), 0.0], [np.cos(half), -np.sin(half), 0.0]])
    return Molecule(("O", "H", "H"), np.vstack([np.zeros(3), arms]))


def distorted() -> Molecule:
    """The molecule somewhere else, out of any symmetry."""
    shifts_av = np.array([[0.1, -0.05, 0.2], [0.25, 0.1, -0.1], [-0.2, 0.15, 0.05]])
    molecule = relaxed()
    return molecule.with_positions(molecule.positions_av + shifts_av)
