"""Analytic potential energy surfaces for the tests of the dynamics."""

from __future__ import annotations

import numpy as np

from mpiqmd.md.observables import angular_momentum, momentum
from mpiqmd.md.trajectory_writer import Frame
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Memory
from tests.helpers.toy_surfaces import ToySurface


def water() -> Molecule:
    half = np.radians(52.25)
    arms = 1.83 * np.array([[np.cos(half), np.sin(half), 0.0], [np.cos(half), -np.sin(half), 0.0]])
    return Molecule(("O", "H", "H"), np.vstack([np.zeros(3), arms]))


class SpringSurface(ToySurface):
    """Each atom tied to an anchor: ``E = k/2 sum_a |R_a - A_a|^2``."""

    def __init__(self, anchors_av, stiffness):
        self.anchors_av = np.array(anchors_av)
        self.stiffness = stiffness

    def at(self, positions_av, memory=None):
        displacement_av = positions_av - self.anchors_av
        return Evaluation(0.5 * self.stiffness * (displacement_av**2).sum(), -self.stiffness * displacement_av)


class FreeSurface(SpringSurface):
    """No forces at all."""

    def __init__(self):
        super().__init__(0.0, 0.0)


class PairSurface(ToySurface):
    """Bonds between all pairs: quartic wells that conserve momentum and angular momentum, water-like
    stiffness.

    ``E = sum_ij k/2 (d_ij - d0_ij)^2 (1 - (d_ij - d0_ij))``
    """

    def __init__(self, molecule, stiffness=0.5):
        self.stiffness = stiffness
        self.pairs = [(i, j) for i in range(len(molecule)) for j in range(i)]
        self.rest = [np.linalg.norm(molecule.positions_av[i] - molecule.positions_av[j]) for i, j in self.pairs]

    def at(self, positions_av, memory=None):
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


class Trace(Memory):
    """How often an owner has asked, and what is left of its geometries; an error once it has asked so often."""

    def __init__(self, shape, stop_at=None, error=None):
        self.memory_av = np.zeros(shape)
        self.calls = np.zeros(1, dtype=np.int64)
        self.stop_at, self.error = stop_at, error

    def state(self):
        return {"history/memory": self.memory_av, "calls": self.calls}

    def restore(self, state):
        self.memory_av = state["history/memory"].copy()
        self.calls = state["calls"].copy()


class ForgetfulSurface(PairSurface):
    """A surface with a memory: forces carry a small part that depends on all geometries before.

    This is what unconverged electrons extrapolated from step to step look like; a restart that loses the
    memory gives another trajectory.
    """

    def __init__(self, molecule, stop_at=None, error=None):
        super().__init__(molecule)
        self.shape, self.stop_at, self.error = molecule.positions_av.shape, stop_at, error

    def fresh(self, company=1):
        return Trace(self.shape, self.stop_at, self.error)

    def at(self, positions_av, memory=None):
        if memory.stop_at is not None and memory.calls[0] == memory.stop_at:
            raise memory.error
        exact = super().at(positions_av)
        memory.memory_av = 0.7 * memory.memory_av + 0.3 * np.sin(positions_av)
        memory.calls = memory.calls + 1
        return Evaluation(exact.energy, exact.forces_av + 1e-3 * memory.memory_av, {"calls": float(memory.calls[0])})


def advance(dynamics, surface, steps):
    """Move on by so many steps and return all frames, the present one first."""
    frames = [dynamics.frame()]
    for _ in range(steps):
        dynamics.accept(surface.at(dynamics.propose()))
        frames.append(dynamics.frame())
    return frames


def conserved_vectors(frames: list[Frame], masses_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Momenta and angular momenta of frames, (T, 3) each, atomic units."""
    momenta_tv = [momentum(frame.velocities_av, masses_a) for frame in frames]
    return np.array(momenta_tv), np.array([angular_momentum(f.positions_av, f.velocities_av, masses_a) for f in frames])
