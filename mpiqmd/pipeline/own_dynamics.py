"""Frames of a reduced model's own dynamics: the geometries that it is going to be asked for.

A few independent runs of Langevin dynamics start from the reference geometry with velocities of twice the temperature, half of
which goes into the potential energy, forget that, and leave a frame every so many steps.  Without friction each vibration would
keep what it began with, and far more of them be far out than at equilibrium: 25 in 1000 beyond 5 k_B T instead of 7.  The runs
depend on the model and on the seed alone.  One that comes to where the model has no answer turns back: it goes on from the step
before with random velocities.  Where it left the tables of a grid-free model is kept: that is what the training lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import Nuclei, make_nuclei
from mpiqmd.md.thermostats.langevin import Langevin
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import found
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.learned.body_solver import OutsideTablesError
from mpiqmd.rom.online import OnlineStage
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

MOST_RUNS = 8
"""At once; grid-free models are quicker for several."""
MOST_TURNS = 100
"""Times that runs turn back for a frame, or for as long before the first, on the average, before they are given up."""
MOST_LEFT = 60
"""Geometries outside of the tables that are kept."""
VELOCITIES_OF_A_SEED = 1_000_000
"""Random velocities of one seed of the input before those of the next begin."""


@dataclass(frozen=True)
class Pace:
    """Length of a step, atomic units of time, steps between two frames of a run, and before it begins."""

    timestep: float
    steps: int
    settling: int


GRID_FREE = Pace(0.5 / ATOMIC_TIME_IN_FS, 200, 1000)
ON_GRID = Pace(1.0 / ATOMIC_TIME_IN_FS, 20, 0)
"""A step costs a solve there."""
FRICTION = 100.0 / ATOMIC_TIME_IN_FS
"""Time in which velocities are forgotten, atomic units of time."""


@dataclass(frozen=True, eq=False)
class OwnFrames:
    """Frames of a model's dynamics, in the body frame.

    Attributes
    ----------
    positions_sav
        The frames, shape (frames, N, 3), bohr.
    turns
        How often a run came to where the model has no answer.
    left_sav
        Geometries at which runs left the tables, shape (left, N, 3), bohr.
    """

    positions_sav: np.ndarray
    turns: int
    left_sav: np.ndarray


def own_frames(stage: OnlineStage, reference: Molecule, temperature: float, count: int, seed: int, log: Log) -> OwnFrames:
    """Return ``count`` frames of a model's dynamics, fewer if it leads out of the model all the time.  Collective.

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
        nothing = np.empty((0, *reference.positions_av.shape))
        return OwnFrames(nothing, 0, nothing)
    pace = ON_GRID if stage.grid_free is None else GRID_FREE
    runs = _Runs(stage, reference, temperature, pace, seed)
    runs.start(math.ceil(count / math.ceil(count / MOST_RUNS)), count)
    countdown = Countdown(log, count, "own dynamics, frame")
    while len(runs.frames) < count and runs.dynamics:
        kept = min(runs.step(), count - countdown.done)
        if kept:
            countdown.advance(count=kept)
    frames = decide(stage.model.grid.comm, runs.frames[:count])
    kelvin, apart = temperature / KELVIN_IN_HARTREE, pace.steps * pace.timestep * ATOMIC_TIME_IN_FS
    turned = f"; {runs.turns} times it turned back from where there is no answer" if runs.turns else ""
    log(f"{len(frames)} frames of the model's own dynamics at {kelvin:.0f} K, {apart:.0f} fs apart{turned}")
    left, shape = decide(stage.model.grid.comm, runs.left), (-1, *reference.positions_av.shape)
    return OwnFrames(np.array(frames).reshape(shape), runs.turns, np.array(left).reshape(shape))


class _Runs:
    """Independent runs of one model that go on together."""

    def __init__(self, stage: OnlineStage, reference: Molecule, temperature: float, pace: Pace, seed: int) -> None:
        self.stage, self.reference, self.temperature = stage, reference, temperature
        self.pace, self.seed = pace, seed
        self.surface = stage.surface.surface
        self.nuclei: Nuclei = make_nuclei(reference, (), remove_translation=True, remove_rotation=True)
        self.drawn, self.turns, self.allowed = 0, 0, 0
        self.frames: list[np.ndarray] = []
        self.left: list[np.ndarray] = []

    def start(self, count: int, frames: int) -> None:
        """Start so many runs, for so many frames in all."""
        self.allowed = MOST_TURNS * (frames + count * self.pace.settling // self.pace.steps)
        self.dynamics = [self._new(self.reference.positions_av, 2.0 * self.temperature) for _ in range(count)]
        self.memories = [self.surface.fresh(count) for _ in range(count)]

    def _new(self, positions_av: np.ndarray, temperature: float) -> Dynamics:
        """Return a run from these positions with velocities that no other had."""
        seed = VELOCITIES_OF_A_SEED * self.seed + self.drawn
        velocities_av = maxwell_boltzmann(temperature, seed, positions_av, self.nuclei)
        self.drawn += 1
        friction = Langevin(self.temperature, FRICTION, seed)
        return Dynamics(self.nuclei, positions_av, velocities_av, self.pace.timestep, friction)

    def step(self) -> int:
        """Move all runs by a step, or to their start, and return how many frames are kept of it.  Collective."""
        positions = decide(self.stage.model.grid.comm, [dynamics.propose() for dynamics in self.dynamics])
        answers, lost, before = self.surface.evaluate(positions, self.memories), [], len(self.frames)
        for k, answer in enumerate(answers):
            try:
                self._accept(self.dynamics[k], found(answer))
            except MpiqmdError as error:
                lost.append(k)
                if isinstance(error, OutsideTablesError) and len(self.left) < MOST_LEFT:
                    self.left.append(self.stage.frame.align(positions[k]).body_positions_av)
        self._turn_back(decide(self.stage.model.grid.comm, lost))
        return len(self.frames) - before

    def _accept(self, dynamics: Dynamics, evaluation: Evaluation) -> None:
        """Finish a run's step, and keep its frame in the body frame if it is time to."""
        dynamics.accept(evaluation)
        made = dynamics.step - self.pace.settling
        if made > 0 and made % self.pace.steps == 0:
            self.frames.append(self.stage.frame.align(dynamics.positions_av).body_positions_av)

    def _turn_back(self, lost: list[int]) -> None:
        """Let runs that have no answer go on from the step before, or end where there is none or too many did."""
        self.turns += len(lost)
        for k in reversed(lost):
            before = self.dynamics[k]
            if before.evaluation is None or self.turns > self.allowed:
                del self.dynamics[k], self.memories[k]
                continue
            self.dynamics[k] = self._new(before.positions_av, self.temperature)
            self.dynamics[k].restore(before.state() | {"velocities": self.dynamics[k].velocities_av})
            self.memories[k].forget()
