"""Berendsen's thermostat: all velocities are multiplied by one factor after every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.md.observables import kinetic_energy
from mpiqmd.md.thermostats.bath import HeatBath
from mpiqmd.md.thermostats.thermostat import RELAXATION_TIME, resolves_relaxation, thermostat

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei


@thermostat(
    "berendsen",
    "relaxes the temperature smoothly",
    keys={"relaxation_time": RELAXATION_TIME},
    check=resolves_relaxation,
    title="Berendsen",
)
class Berendsen(HeatBath):
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

    def after(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return the rescaled velocities, shape (N, 3), a.u., and book the heat given to the nuclei."""
        kinetic, count = float(kinetic_energy(velocities_av, nuclei.masses_a)), nuclei.degrees_of_freedom
        if kinetic <= 0.0 or count == 0:
            return velocities_av
        temperature = 2.0 * kinetic / count
        scale_squared = 1.0 + timestep / self.relaxation_time * (self.temperature / temperature - 1.0)
        self.heat += (scale_squared - 1.0) * kinetic
        return math.sqrt(scale_squared) * velocities_av
