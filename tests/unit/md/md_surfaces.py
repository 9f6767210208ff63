"""Analytic potential energy surfaces for the tests of the dynamics."""

from __future__ import annotations

import numpy as np

from mpiqmd.md.provider import Evaluation
from mpiqmd.molecule.molecule import Molecule


def water() -> Molecule:
    half = np.radians(52.25)
    arms = 1.83 * np.array([[np.cos(half), np.sin(half), 0.0], [np.cos(half), -np.sin(half), 0.0]])
    return Molecule(("O", "H", "H"), np.vstack([np.zeros(3), arms]))


class SpringProvider:
    """Each atom tied to an anchor: ``E = k/2 sum_a |R_a - A_a|^2``."""

    def __init__(self, anchors_av, stiffness):
        self.anchors_av = np.array(anchors_av)
        self.stiffness = stiffness

    def evaluate(self, positions_av):
        displacement_av = positions_av - self.anchors_av
        return Evaluation(
            0.5 * self.stiffness * (displacement_av**2).sum(), -self.stiffness * displacement_av
        )

    def state(self):
        return {}

    def restore(self, state):
        assert state == {}


class FreeProvider(SpringProvider):
    """No forces at all."""

    def __init__(self):
        super().__init__(0.0, 0.0)


class PairProvider:
    """Bonds between all pairs: quartic wells that conserve momentum and angular momentum, water-like
    stiffness.

    ``E = sum_ij k/2 (d_ij - d0_ij)^2 (1 - (d_ij - d0_ij))``
    """

    def __init__(self, molecule, stiffness=0.5):
        self.stiffness = stiffness
        self.pairs = [(i, j) for i in range(len(molecule)) for j in range(i)]
        self.rest = [
            np.linalg.norm(molecule.positions_av[i] - molecule.positions_av[j]) for i, j in self.pairs
        ]

    def evaluate(self, positions_av):
        energy, forces_av = 0.0, np.zeros_like(positions_av)
        for (i, j), rest in zip(self.pairs, self.rest, strict=True):
            arm = positions_av[i] - positions_av[j]
            length = np.linalg.norm(arm)
            stretch = length - rest
            energy += 0.5 * self.stiffness * stretch**2 * (1 - stretch)
            slope = self.stiffness * (stretch - 1.5 * stretch**2)
            forces_av[i] -= slope * arm / length
            forces_av[j] += slope * arm / length
        return Evaluation(energy, forces_av, {"iterations": 3.0})

    def state(self):
        return {}

    def restore(self, state):
        pass


class ForgetfulProvider(PairProvider):
    """A surface with a memory: forces carry a small part that depends on all geometries before.

    This is what unconverged electrons extrapolated from step to step look like; a restart that loses the
    memory gives another trajectory.
    """

    def __init__(self, molecule, stop_at=None, error=None):
        super().__init__(molecule)
        self.memory_av = np.zeros_like(molecule.positions_av)
        self.calls = np.zeros(1, dtype=np.int64)
        self.stop_at, self.error = stop_at, error

    def evaluate(self, positions_av):
        if self.stop_at is not None and self.calls[0] == self.stop_at:
            raise self.error
        exact = super().evaluate(positions_av)
        self.memory_av = 0.7 * self.memory_av + 0.3 * np.sin(positions_av)
        self.calls = self.calls + 1
        return Evaluation(
            exact.energy, exact.forces_av + 1e-3 * self.memory_av, {"calls": float(self.calls[0])}
        )

    def state(self):
        return {"history/memory": self.memory_av, "calls": self.calls}

    def restore(self, state):
        self.memory_av = state["history/memory"].copy()
        self.calls = state["calls"].copy()


def advance(dynamics, provider, steps):
    """Move on by so many steps and return all frames, the present one first."""
    frames = [dynamics.frame()]
    for _ in range(steps):
        dynamics.accept(provider.evaluate(dynamics.propose()))
        frames.append(dynamics.frame())
    return frames
