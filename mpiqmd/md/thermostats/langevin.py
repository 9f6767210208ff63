"""Langevin dynamics in the BAOAB splitting: friction and noise between the two half drifts of a step."""

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
    "langevin",
    "is canonical",
    keys={"relaxation_time": RELAXATION_TIME},
    canonical=True,
    stochastic=True,
    title="Langevin",
)
class Langevin(StochasticBath):
    """Friction ``1 / tau`` and the noise that balances it, solved exactly over a step [Leimkuhler2013]:

        v_a <- c v_a + sqrt(1 - c^2) sqrt(k_B T / M_a) R_a,   c = exp(-dt / tau),   R_a standard normal,

    between the two half drifts, which makes configurational averages accurate to higher order than any other splitting.
    What rests at the start (pinned atoms, and net momentum and rotation where they were removed) and what is constrained
    gets neither noise nor friction: the noise is projected, so that the rest is canonical with the same number of
    degrees of freedom that the temperature is computed from.

    Parameters
    ----------
    temperature
        ``k_B T`` of the bath, Ha.
    relaxation_time
        ``tau``, atomic units of time: velocities are forgotten in tau, kinetic energies in tau / 2.
    seed
        Seed of the noise.
    """

    def middle(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return damped velocities with noise, shape (N, 3), a.u., and book the heat given to the nuclei."""
        decay = math.exp(-timestep / self.relaxation_time)
        width_a = np.sqrt((1.0 - decay**2) * self.temperature / nuclei.masses_a)
        noise_av = width_a[:, None] * self.generator.standard_normal(velocities_av.shape)
        changed_av = nuclei.at_rest(decay * velocities_av + noise_av, positions_av)
        before, after = (kinetic_energy(each_av, nuclei.masses_a) for each_av in (velocities_av, changed_av))
        self.heat += float(after - before)
        return changed_av
