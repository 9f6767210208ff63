"""Stochastic velocity rescaling: one random factor for all velocities after every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.md.observables import kinetic_energy
from mpiqmd.md.thermostats.bath import StochasticBath
from mpiqmd.md.thermostats.thermostat import RELAXATION_TIME, thermostat

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei


@thermostat(
    "csvr",
    "is canonical",
    keys={"relaxation_time": RELAXATION_TIME},
    canonical=True,
    stochastic=True,
    title="CSVR",
)
class StochasticRescaling(StochasticBath):
    """Canonical sampling by velocity rescaling (CSVR) [Bussi2007].

    The kinetic energy K of g degrees of freedom follows

        dK = (K_0 - K) dt / tau + 2 sqrt(K K_0 / (g tau)) dW,   K_0 = g k_B T_0 / 2,

    whose solution over a step is drawn exactly: with ``c = exp(-dt / tau)`` and g standard normal numbers R_i

        alpha^2 = c + (1 - c) K_0 / (g K) sum_i R_i^2 + 2 R_1 sqrt(c (1 - c) K_0 / (g K)),

    alpha taking the sign of ``R_1 + sqrt(c g K / ((1 - c) K_0))``.  Momentum and angular momentum that are zero stay
    zero.  A molecule at rest stays as it is.

    Parameters
    ----------
    temperature
        ``k_B T_0`` of the bath, Ha.
    relaxation_time
        ``tau``, atomic units of time.
    seed
        Seed of the noise.
    """

    def after(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return the rescaled velocities, shape (N, 3), a.u., and book the heat given to the nuclei."""
        kinetic, count = float(kinetic_energy(velocities_av, nuclei.masses_a)), nuclei.degrees_of_freedom
        if kinetic <= 0.0 or count == 0:
            return velocities_av
        factor = self._factor(kinetic, count, math.exp(-timestep / self.relaxation_time))
        self.heat += (factor**2 - 1.0) * kinetic
        return factor * velocities_av

    def _factor(self, kinetic: float, count: int, decay: float) -> float:
        """Draw alpha."""
        normal = float(self.generator.standard_normal())
        others = float(self.generator.chisquare(count - 1)) if count > 1 else 0.0
        spread = (1.0 - decay) * 0.5 * self.temperature / kinetic
        squared = decay + spread * (normal**2 + others) + 2.0 * normal * math.sqrt(decay * spread)
        return math.copysign(math.sqrt(max(squared, 0.0)), normal * math.sqrt(spread) + math.sqrt(decay))
