"""What thermostats that couple the nuclei to a heat bath share: they keep book of the heat, and some of their noise."""

from __future__ import annotations

import numpy as np

from mpiqmd.datafiles import Shapes
from mpiqmd.md.noise import generator_state, restore_generator, thermostat_generator
from mpiqmd.md.thermostats.thermostat import NoThermostat


class HeatBath(NoThermostat):
    """A bath of one temperature; schemes add to ``heat`` the energy that they give to the nuclei.

    Parameters
    ----------
    temperature
        ``k_B T_0`` of the bath, Ha.
    relaxation_time
        ``tau`` of the coupling, atomic units of time.
    """

    def __init__(self, temperature: float, relaxation_time: float) -> None:
        self.temperature = temperature
        self.relaxation_time = relaxation_time
        self.heat = 0.0

    @property
    def conserved_offset(self) -> float:
        """Minus the heat given to the nuclei since the start, Ha."""
        return -self.heat

    def state(self) -> dict[str, np.ndarray]:
        """Return the accumulated ``heat``, Ha, an array of shape ()."""
        return {"heat": np.array(self.heat)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from an accumulated heat."""
        self.heat = float(Shapes().numbers("heat", state["heat"], ""))


class StochasticBath(HeatBath):
    """A heat bath that draws random numbers from ``generator``.

    Parameters
    ----------
    temperature, relaxation_time
        As for :class:`HeatBath`.
    seed
        Seed of the noise.
    """

    def __init__(self, temperature: float, relaxation_time: float, seed: int) -> None:
        super().__init__(temperature, relaxation_time)
        self.generator = thermostat_generator(seed)

    def state(self) -> dict[str, np.ndarray]:
        """Return the accumulated ``heat``, Ha, shape (), and the state of the ``generator``, integers of shape (6,)."""
        return super().state() | {"generator": generator_state(self.generator)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a heat and a generator's state."""
        super().restore(state)
        restore_generator(self.generator, state["generator"])
