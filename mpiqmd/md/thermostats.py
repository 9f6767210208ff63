"""Thermostats by the names they have in an input file."""

from __future__ import annotations

from mpiqmd.errors import ConfigError
from mpiqmd.md.langevin import Langevin
from mpiqmd.md.nose_hoover import NoseHoover
from mpiqmd.md.rescaling import Berendsen, StochasticRescaling
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.thermostat import NoThermostat, Thermostat

THERMOSTATS = ("none", "berendsen", "langevin", "csvr", "nose-hoover")
"""Names that :func:`make_thermostat` knows."""

NEEDS_RESOLUTION = ("berendsen", "nose-hoover")
"""Schemes that go wrong when they relax within less than a timestep; the others solve their equation exactly."""


def make_thermostat(settings: DynamicsSettings) -> Thermostat:
    """Return the thermostat of a run.

    Raises
    ------
    ConfigError
        The name is unknown, the relaxation time is shorter than the timestep where that matters (Berendsen's factor
        could become imaginary), or Nose-Hoover chains are to hold a temperature of zero.
    """
    name, temperature, relaxation_time = settings.thermostat, settings.temperature, settings.relaxation_time
    if name not in THERMOSTATS:
        raise ConfigError(
            f"md.thermostat = {name!r} is unknown; allowed: {', '.join(THERMOSTATS)}. Choose one of them."
        )
    if name in NEEDS_RESOLUTION and relaxation_time < settings.timestep:
        raise ConfigError(
            f"md.relaxation_time = {relaxation_time:g} is shorter than md.timestep = {settings.timestep:g}; "
            "allowed: at least one timestep. Use ten to a hundred timesteps."
        )
    if name == "nose-hoover" and temperature <= 0.0:
        raise ConfigError(
            f"md.temperature = {temperature:g} Ha with md.thermostat = 'nose-hoover'; allowed: above zero, since the masses "
            "of the chain are proportional to it. Use 'langevin' or 'csvr' to cool to zero."
        )
    if name == "berendsen":
        return Berendsen(temperature, relaxation_time)
    if name == "langevin":
        return Langevin(temperature, relaxation_time, settings.seed)
    if name == "csvr":
        return StochasticRescaling(temperature, relaxation_time, settings.seed)
    if name == "nose-hoover":
        return NoseHoover(temperature, relaxation_time, settings.chain_length)
    return NoThermostat()
