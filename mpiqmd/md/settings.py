"""What a run of dynamics is told, and the checks on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.keys.spec import Options
from mpiqmd.keys.values import Unacceptable

MAY_CHANGE = ("steps", "checkpoint_every", "checkpoint_seconds", "checkpoint_minutes", "flush_seconds")
"""Settings on which no number of a run depends."""


@dataclass(frozen=True, eq=False)
class DynamicsSettings:
    """Parameters of one run, atomic units.

    Parameters
    ----------
    steps
        Number of steps from the very start; a longer one extends a finished run.
    timestep
        Length of a step.
    thermostat
        A name of ``mpiqmd.keys.registries.THERMOSTATS``: ``"none"``, ``"langevin"``, ...
    temperature
        ``k_B T`` in Ha, of the initial velocities and of the bath.
    options
        Keys of thermostats, such as ``{"relaxation_time": 800.0}``; defaults for those not given.
    seed
        Seed of everything random.
    output_every
        A frame is written every so many steps, the start included.
    checkpoint_every
        A checkpoint is considered every so many steps, and written at the end.
    checkpoint_seconds
        Least wall time between two checkpoints, so that fast steps are not spent waiting for the disk.
    checkpoint_minutes
        A checkpoint is written at least so often, whatever the number of steps.
    flush_seconds
        Frames wait at most so long for others before they are written to the file.
    pinned
        Atoms that never move.
    constraints
        Pairs of atoms whose initial distance is kept.
    constraint_tolerance
        Largest relative deviation of a constrained distance.
    remove_translation, remove_rotation
        Take net momentum and net rotation out of the initial velocities; ignored where atoms are pinned.
    initial_velocities
        ``"random"`` (Maxwell-Boltzmann), ``"zero"`` or an array (N, 3).
    """

    steps: int = 500
    timestep: float = 40.0
    thermostat: str = "none"
    temperature: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    output_every: int = 1
    checkpoint_every: int = 50
    checkpoint_seconds: float = 1.0
    checkpoint_minutes: float = 10.0
    flush_seconds: float = 5.0
    pinned: tuple[int, ...] = ()
    constraints: tuple[tuple[int, int], ...] = ()
    constraint_tolerance: float = 1e-10
    remove_translation: bool = True
    remove_rotation: bool = False
    initial_velocities: str | np.ndarray = "random"

    @property
    def all_options(self) -> Options:
        """The thermostats' keys that there are with this thermostat, as attributes."""
        return THERMOSTATS.options(self.thermostat, self.options)

    def shared_by(self, count: int) -> DynamicsSettings:
        """Return the same for one of several runs in one process: together they go to the disk no more often than one."""
        seconds = {name: count * getattr(self, name) for name in ("checkpoint_seconds", "flush_seconds")}
        return replace(self, **seconds)

    def check(self) -> None:
        """Raise ConfigError, naming every number that is impossible."""
        problems = []
        least_numbers = {"steps": 0, "output_every": 1, "checkpoint_every": 1, "seed": 0}
        for name, least in least_numbers.items():
            if getattr(self, name) < least:
                problems.append(f"md.{name} = {getattr(self, name)}; allowed: at least {least}")
        for name in ("timestep", "checkpoint_minutes", "constraint_tolerance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                problems.append(f"md.{name} = {value}; allowed: positive")
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            problems.append(f"md.temperature = {self.temperature} Ha; allowed: zero or positive")
        problems += self._option_problems()
        if problems:
            raise ConfigError("; ".join(problems) + ". Correct the [md] section.")

    def identity(self) -> dict[str, str]:
        """Return what must not change when a run is continued, as text by name."""
        deciding = [item for item in fields(self) if item.name not in (*MAY_CHANGE, "options")]
        known = {f"md.{item.name}": _text(getattr(self, item.name), item.type) for item in deciding}
        specs, values = THERMOSTATS.keys_with(self.thermostat), vars(self.all_options)
        compared = {name: values[name] for name in values if THERMOSTATS.role_of(specs[name]) != "free"}
        return known | {f"md.{name}": value if isinstance(value, str) else repr(value) for name, value in compared.items()}

    def _option_problems(self) -> list[str]:
        """Return the options that no thermostat has, and the numbers among them that are out of their range."""
        specs = THERMOSTATS.keys_with(self.thermostat)
        problems = [f"md.{name}: no key; allowed: {', '.join(specs)}" for name in self.options if name not in specs]
        for name, value in vars(self.all_options).items():
            try:
                if isinstance(value, int | float):
                    specs[name].kind.read(value, Path())
            except Unacceptable as problem:
                problems.append(f"md.{name} = {value}: {problem}; allowed: {specs[name].kind.allowed}")
        return problems


def _text(value: Any, kind: object) -> str:
    """Return a setting as text, the same for numbers that are the same."""
    if isinstance(value, np.ndarray):
        return repr(np.asarray(value, dtype=float).tolist())
    if isinstance(value, tuple):
        return repr([list(item) if isinstance(item, tuple) else int(item) for item in value])
    return value if isinstance(value, str) else repr(float(value) if kind == "float" else value)
