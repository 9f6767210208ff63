"""Thermostats: what changes the velocities besides the forces, and the energy book-keeping that goes with it.

Three hooks let each scheme act where it belongs in a step of velocity Verlet: ``before`` and ``after``
(Nose-Hoover half steps; Berendsen and stochastic rescaling act ``after``) and ``middle``, between the two
half drifts (Langevin in the BAOAB splitting).  Every scheme accumulates the energy it gave away, so that

    E_conserved = E_kinetic + E_potential + conserved_offset

is constant up to the integration error.  Thermostats live on rank 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.md.observables import kinetic_energy

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei


class Thermostat(Protocol):
    """What the dynamics asks of a thermostat; each hook returns the new velocities (N, 3)."""

    def before(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act for half a step before the first kick."""
        ...

    def middle(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act for a whole step between the two half drifts."""
        ...

    def after(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act after the second kick."""
        ...

    @property
    def conserved_offset(self) -> float:
        """What must be added to the total energy to make it constant, Ha."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return all that an exact restart needs."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned."""
        ...


class NoThermostat:
    """Constant energy; also the base class whose idle hooks the others override."""

    conserved_offset = 0.0

    def before(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def middle(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def after(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def state(self) -> dict[str, np.ndarray]:
        """Return an empty dictionary: there is no memory."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Accept an empty memory."""


class Berendsen(NoThermostat):
    """Weak coupling to a bath: ``dT/dt = (T_0 - T) / tau`` [Berendsen1984].

    After every step the velocities are multiplied by ``lambda = sqrt(1 + (dt / tau) (T_0 / T - 1))``, with T
    the instantaneous temperature.  It relaxes smoothly but does not sample the canonical distribution.  A
    molecule at rest (T = 0) has no velocities to scale and stays as it is.

    Parameters
    ----------
    temperature
        ``k_B T_0`` of the bath, Ha.
    relaxation_time
        ``tau``, atomic units of time; not shorter than the timestep.
    """

    def __init__(self, temperature: float, relaxation_time: float) -> None:
        self.temperature = temperature
        self.relaxation_time = relaxation_time
        self.heat = 0.0

    def after(self, velocities_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Rescale the velocities and book the heat given to the nuclei."""
        temperature = nuclei.temperature(velocities_av)
        if temperature <= 0.0:
            return velocities_av
        scale_squared = 1.0 + timestep / self.relaxation_time * (self.temperature / temperature - 1.0)
        self.heat += (scale_squared - 1.0) * float(kinetic_energy(velocities_av, nuclei.masses_a))
        return np.sqrt(scale_squared) * velocities_av

    @property
    def conserved_offset(self) -> float:
        """Minus the heat given to the nuclei since the start, Ha."""
        return -self.heat

    def state(self) -> dict[str, np.ndarray]:
        """Return the accumulated heat."""
        return {"heat": np.array(self.heat)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from an accumulated heat."""
        self.heat = float(state["heat"])


THERMOSTATS = ("none", "berendsen")
"""Names that :func:`make_thermostat` knows."""


def make_thermostat(name: str, temperature: float, relaxation_time: float, timestep: float) -> Thermostat:
    """Return the thermostat called ``name``.

    Raises
    ------
    ConfigError
        The name is unknown, or Berendsen's relaxation time is shorter than the timestep (the scale factor
        could become imaginary).
    """
    if name == "none":
        return NoThermostat()
    if name != "berendsen":
        raise ConfigError(
            f"md.thermostat = {name!r} is unknown; allowed: {', '.join(THERMOSTATS)}. Choose one of them."
        )
    if relaxation_time < timestep:
        raise ConfigError(
            f"md.relaxation_time = {relaxation_time:g} is shorter than md.timestep = {timestep:g}; "
            "allowed: at least one timestep. Use ten to a hundred timesteps."
        )
    return Berendsen(temperature, relaxation_time)
