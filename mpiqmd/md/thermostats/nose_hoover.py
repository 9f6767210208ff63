"""Nose-Hoover chains: deterministic canonical sampling with a time-reversible integrator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.datafiles import Shapes
from mpiqmd.keys.spec import KeySpec, Options
from mpiqmd.keys.values import Bounds, Integer
from mpiqmd.md.observables import kinetic_energy
from mpiqmd.md.thermostats.thermostat import RELAXATION_TIME, NoThermostat, resolves_relaxation, thermostat

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei

_WEIGHT = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
SUZUKI_YOSHIDA = (_WEIGHT, 1.0 - 2.0 * _WEIGHT, _WEIGHT)
"""Pieces of a half step that raise the order of its splitting from two to four [Yoshida1990]."""

SUBSTEPS = 2
"""Each half step is cut into so many, since the chain can be faster than the nuclei."""


def _problems(md: Options) -> list[str]:
    """Return the problems of the [md] section for a chain."""
    cold = [
        f"[md] temperature = {md.temperature:g} Ha with thermostat = 'nose-hoover'; allowed: above zero, since the masses of "
        "the chain are proportional to it. Use 'langevin' or 'csvr' to cool to zero."
    ]
    return resolves_relaxation(md) + (cold if md.temperature <= 0.0 else [])


@thermostat(
    "nose-hoover",
    "is canonical and deterministic",
    keys={
        "relaxation_time": RELAXATION_TIME,
        "chain_length": KeySpec(Integer(Bounds(1, 100)), 3, "thermostats in the chain"),
    },
    check=_problems,
    canonical=True,
    title="Nosé–Hoover",
)
class NoseHoover(NoThermostat):
    """A chain of thermostats, each controlling the one before [Martyna1992, Martyna1996].

    The first one drives the kinetic energy of the g degrees of freedom; with ``xi_k`` and ``eta_k`` the coordinates and
    velocities of the chain

        dv/dt = F / M - eta_1 v,   d xi_k/dt = eta_k,   Q_k d eta_k/dt = G_k - Q_k eta_k eta_(k+1),
        G_1 = 2 K - g k_B T,   G_k = Q_(k-1) eta_(k-1)^2 - k_B T,   Q_1 = g k_B T tau^2,   Q_k = k_B T tau^2,

    which conserves ``E + sum_k Q_k eta_k^2 / 2 + g k_B T xi_1 + k_B T sum_(k>1) xi_k``.  The chain starts at rest.

    Parameters
    ----------
    temperature
        ``k_B T`` of the bath, Ha; positive.
    relaxation_time
        ``tau``, atomic units of time: the chain oscillates with a period of about ``2 pi tau / sqrt(2)``.
    chain_length
        Number of thermostats in the chain; one is the plain Nose-Hoover thermostat, which is not ergodic for stiff or
        small systems.
    """

    def __init__(self, temperature: float, relaxation_time: float, chain_length: int) -> None:
        self.temperature = temperature
        self.relaxation_time = relaxation_time
        self.coordinates_k = np.zeros(chain_length)
        self.velocities_k = np.zeros(chain_length)
        self._degrees_of_freedom = 0

    def before(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Move the chain for half a step and return the scaled velocities, shape (N, 3), a.u."""
        return self._half_step(velocities_av, nuclei, 0.5 * timestep)

    def after(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Move the chain for the other half and return the scaled velocities, shape (N, 3), a.u."""
        return self._half_step(velocities_av, nuclei, 0.5 * timestep)

    @property
    def conserved_offset(self) -> float:
        """Kinetic and potential energy of the chain, Ha."""
        masses_k = self._masses(self._degrees_of_freedom)
        weights_k = np.ones_like(masses_k)
        weights_k[0] = self._degrees_of_freedom
        kinetic = 0.5 * float(masses_k @ self.velocities_k**2)
        return kinetic + self.temperature * float(weights_k @ self.coordinates_k)

    def state(self) -> dict[str, np.ndarray]:
        """Return ``coordinates`` and ``velocities`` of the chain, shape (thermostats,), a.u., and the count of freedoms."""
        return {
            "coordinates": self.coordinates_k,
            "velocities": self.velocities_k,
            "degrees_of_freedom": np.array(self._degrees_of_freedom),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a chain."""
        shapes = Shapes(k=len(self.velocities_k))
        self.coordinates_k = shapes.numbers("coordinates", state["coordinates"], "k").copy()
        self.velocities_k = shapes.numbers("velocities", state["velocities"], "k").copy()
        count = shapes.numbers("degrees_of_freedom", state["degrees_of_freedom"], "", integer=True)
        self._degrees_of_freedom = int(count)

    def _masses(self, count: int) -> np.ndarray:
        """Return the chain's masses ``g k_B T tau²`` and ``k_B T tau²``, shape (thermostats,), a.u."""
        masses_k = np.full(len(self.velocities_k), self.temperature * self.relaxation_time**2)
        masses_k[0] *= count
        return masses_k

    def _half_step(self, velocities_av: np.ndarray, nuclei: Nuclei, interval: float) -> np.ndarray:
        """Move the chain by ``interval`` in Suzuki-Yoshida pieces and return the scaled velocities, shape (N, 3), a.u."""
        count = self._degrees_of_freedom = nuclei.degrees_of_freedom
        if count == 0:
            return velocities_av
        # Plain floats: a chain of three is far too short for arrays to pay.
        chain = _Chain(self.coordinates_k.tolist(), self.velocities_k.tolist(), self._masses(count).tolist())
        kinetic, scale = float(kinetic_energy(velocities_av, nuclei.masses_a)), 1.0
        for piece in SUBSTEPS * SUZUKI_YOSHIDA:
            factor = chain.advance(kinetic, count, self.temperature, interval * piece / SUBSTEPS)
            scale, kinetic = scale * factor, kinetic * factor**2
        self.coordinates_k, self.velocities_k = np.array(chain.coordinates), np.array(chain.velocities)
        return scale * velocities_av


class _Chain:
    """The chain's variables during one half step."""

    def __init__(self, coordinates: list[float], velocities: list[float], masses: list[float]) -> None:
        self.coordinates, self.velocities, self.masses = coordinates, velocities, masses

    def advance(self, kinetic: float, count: int, temperature: float, interval: float) -> float:
        """Move the chain by ``interval`` and return the factor that the nuclei's velocities take; symmetric in time."""
        last = len(self.velocities) - 1
        for k in range(last, -1, -1):
            self._kick(k, kinetic, count, temperature, interval)
        factor = math.exp(-interval * self.velocities[0])
        for k, velocity in enumerate(self.velocities):
            self.coordinates[k] += interval * velocity
        for k in range(last + 1):
            self._kick(k, kinetic * factor**2, count, temperature, interval)
        return factor

    def _kick(self, k: int, kinetic: float, count: int, temperature: float, interval: float) -> None:
        """Change one chain velocity by its force over half the interval, damped by the next one on both sides."""
        if k == 0:
            force = 2.0 * kinetic - count * temperature
        else:
            force = self.masses[k - 1] * self.velocities[k - 1] ** 2 - temperature
        damping = math.exp(-0.25 * interval * self.velocities[k + 1]) if k + 1 < len(self.velocities) else 1.0
        self.velocities[k] = damping * (damping * self.velocities[k] + 0.5 * interval * force / self.masses[k])
