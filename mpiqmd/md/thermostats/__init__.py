"""One file per thermostat: what it does, its name, its keys of the [md] section and the checks on them.

:mod:`~mpiqmd.md.thermostats.thermostat` says what a thermostat is and has the decorator that registers one.
"""

from __future__ import annotations

from mpiqmd.errors import ConfigError
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.keys.spec import Options
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.thermostats.thermostat import Thermostat


def make_thermostat(settings: DynamicsSettings) -> Thermostat:
    """Return the thermostat of a run.  Not collective.

    Raises
    ------
    ConfigError
        The name is unknown, or the thermostat does not take the settings: its relaxation time is shorter than the timestep
        where that matters (Berendsen's factor could become imaginary), Nose-Hoover chains are to hold a temperature of zero.
    """
    entry, options = THERMOSTATS.entry(settings.thermostat), settings.all_options
    problems = entry.check(Options(timestep=settings.timestep, temperature=settings.temperature, **vars(options)))
    if problems:
        raise ConfigError("\n".join(problems))
    random = {"seed": settings.seed} if "stochastic" in entry.flags else {}
    return entry.make(temperature=settings.temperature, **random, **THERMOSTATS.arguments(entry.name, options))
