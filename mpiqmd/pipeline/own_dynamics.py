"""Frames of a reduced model's own dynamics: the geometries that it is going to be asked for.

A few independent runs of constant energy start from the reference geometry with velocities of twice the temperature, half of
which ends in the potential energy, and leave a frame every so many steps.  They depend on the model and on the seed alone; one
that comes to where the model has no answer starts again with other velocities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import Nuclei, make_nuclei
from mpiqmd.md.thermostats.thermostat import NoThermostat
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import found
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.online import OnlineStage
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

MOST_RUNS = 8
"""At once; grid-free models are quicker for several."""
ATTEMPTS = 3
"""New starts that a run has, on the average."""
RUNS_OF_A_SEED = 100_000
"""Velocities of one seed of the input before those of the next begin."""


@dataclass(frozen=True)
class Pace:
    """Length of a step, atomic units of time, and steps between two frames of a run."""

    timestep: float
    steps: int


GRID_FREE = Pace(0.5 / ATOMIC_TIME_IN_FS, 200)
ON_GRID = Pace(1.0 / ATOMIC_TIME_IN_FS, 20)
"""A step costs a solve there."""


@dataclass(frozen=True, eq=False)
class OwnFrames:
    """Frames in the body frame, shape (frames, N, 3), bohr, and how many runs came to where the model has no answer."""

    positions_sav: np.ndarray
    left: int


def own_frames(stage: OnlineStage, reference: Molecule, temperature: float, count: int, seed: int, log: Log) -> OwnFrames:
    """Return ``count`` frames of a model's dynamics, fewer if it leads out of the model again and again.  Collective.

    Parameters
    ----------
    stage
        The model.
    reference
        The molecule at its reference geometry.
    temperature
        k_B T that the dynamics comes to, Ha.
    count, seed
        How many frames, and of which velocities.
    log
        Where progress goes.
    """
    if count == 0:
        return OwnFrames(np.empty((0, *reference.positions_av.shape)), 0)
    pace = ON_GRID if stage.grid_free is None else GRID_FREE
    runs = _Runs(stage, reference, 2.0 * temperature, pace, seed)
    runs.start(math.ceil(count / math.ceil(count / MOST_RUNS)))
    countdown = Countdown(log, count, "own dynamics, frame")
    while len(runs.frames) < count and runs.dynamics:
        kept = min(runs.step(), count - countdown.done)
        if kept:
            countdown.advance(count=kept)
    frames = decide(stage.model.grid.comm, runs.frames[:count])
    kelvin, apart = temperature / KELVIN_IN_HARTREE, pace.steps * pace.timestep * ATOMIC_TIME_IN_FS
    left = f"; {runs.left} starts led to where it has no answer" if runs.left else ""
    log(f"{len(frames)} frames of the model's own dynamics at {kelvin:.0f} K, {apart:.0f} fs apart{left}")
    return OwnFrames(np.array(frames).reshape(-1, *reference.positions_av.shape), runs.left)


class _Runs:
    """Independent runs of one model that go on together."""

    def __init__(self, stage: OnlineStage, reference: Molecule, temperature: float, pace: Pace, seed: int) -> None:
        self.stage, self.reference, self.temperature = stage, reference, temperature
        self.pace, self.seed = pace, seed
        self.surface = stage.surface.surface
        self.nuclei: Nuclei = make_nuclei(reference, (), remove_translation=True, remove_rotation=True)
        self.started, self.left, self.allowed = 0, 0, 0
        self.frames: list[np.ndarray] = []

    def start(self, count: int) -> None:
        """Start so many runs."""
        self.allowed = ATTEMPTS * count
        self.dynamics = [self._new() for _ in range(count)]
        self.memories = [self.surface.fresh(count) for _ in range(count)]

    def _new(self) -> Dynamics:
        seed, positions_av = RUNS_OF_A_SEED * self.seed + self.started, self.reference.positions_av
        velocities_av = maxwell_boltzmann(self.temperature, seed, positions_av, self.nuclei)
        self.started += 1
        return Dynamics(self.nuclei, positions_av, velocities_av, self.pace.timestep, NoThermostat())

    def step(self) -> int:
        """Move all runs by a step, or to their start, and return how many frames are kept of it.  Collective."""
        positions = decide(self.stage.model.grid.comm, [dynamics.propose() for dynamics in self.dynamics])
        answers, lost, before = self.surface.evaluate(positions, self.memories), [], len(self.frames)
        for k, answer in enumerate(answers):
            try:
                self._accept(self.dynamics[k], found(answer))
            except MpiqmdError:
                lost.append(k)
        self._replace(decide(self.stage.model.grid.comm, lost))
        return len(self.frames) - before

    def _accept(self, dynamics: Dynamics, evaluation: Evaluation) -> None:
        """Finish a run's step, and keep its frame in the body frame if it is time to."""
        dynamics.accept(evaluation)
        if dynamics.step and dynamics.step % self.pace.steps == 0:
            self.frames.append(self.stage.frame.align(dynamics.positions_av).body_positions_av)

    def _replace(self, lost: list[int]) -> None:
        """Start the runs anew that came to where there is no answer, or let them be where too many did."""
        self.left += len(lost)
        for k in reversed(lost):
            if self.started < self.allowed:
                self.dynamics[k] = self._new()
                self.memories[k].forget()
            else:
                del self.dynamics[k], self.memories[k]
