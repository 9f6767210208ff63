"""What a thermostat is: something that changes the velocities besides the forces, and keeps book of the energy.

Three hooks let each scheme act where it belongs in a step of velocity Verlet: ``before`` and ``after``
(Nose-Hoover half steps; Berendsen and stochastic rescaling act ``after``) and ``middle``, between the two
half drifts (Langevin in the BAOAB splitting).  Every scheme accumulates the energy it gave away, so that

    E_conserved = E_kinetic + E_potential + conserved_offset

is constant up to the integration error.  Thermostats live on rank 0; :mod:`mpiqmd.md.thermostats` makes them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from mpiqmd.keys.kinds import POSITIVE_TIME
from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.keys.registry import Entry, no_problems
from mpiqmd.keys.spec import KeySpec, Options

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei

RELAXATION_TIME = KeySpec(POSITIVE_TIME, 800.0, "relaxation time; the friction of langevin is its inverse")
"""The key ``relaxation_time`` of thermostats that have one."""
Maker = TypeVar("Maker", bound=Callable[..., "Thermostat"])


class Thermostat(Protocol):
    """What the dynamics asks of a thermostat; each hook returns the new velocities at the present positions.  On rank 0."""

    def before(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act for half a step before the first kick: return the new velocities, shape (N, 3), a.u."""
        ...

    def middle(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act for a whole step between the two half drifts: return the new velocities, shape (N, 3), a.u."""
        ...

    def after(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Act after the second kick: return the new velocities, shape (N, 3), a.u."""
        ...

    @property
    def conserved_offset(self) -> float:
        """What must be added to the total energy to make it constant, Ha."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return all that an exact restart needs: arrays of any shape, in atomic units."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned."""
        ...


class NoThermostat:
    """Constant energy; also the base class whose idle hooks the others override."""

    def before(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return the velocities as they are, shape (N, 3), a.u."""
        return velocities_av

    def middle(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return the velocities as they are, shape (N, 3), a.u."""
        return velocities_av

    def after(self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float) -> np.ndarray:
        """Return the velocities as they are, shape (N, 3), a.u."""
        return velocities_av

    @property
    def conserved_offset(self) -> float:
        """Nothing: the total energy is constant."""
        return 0.0

    def state(self) -> dict[str, np.ndarray]:
        """Return no arrays, of whatever shape and unit: there is no memory."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Accept an empty memory."""


def thermostat(
    name: str,
    summary: str,
    *,
    keys: Mapping[str, KeySpec] | None = None,
    check: Callable[[Options], list[str]] = no_problems,
    canonical: bool = False,
    stochastic: bool = False,
    title: str = "",
) -> Callable[[Maker], Maker]:
    """Return a decorator that registers a thermostat: the input may choose it from then on.  Not collective.

    What is decorated is called with ``temperature`` (k_B T, Ha) and its keys by name, with ``seed`` too if ``stochastic``.

    Parameters
    ----------
    name, summary
        Its value of ``md.thermostat``, and what it does in a few words, for the help.
    keys
        What it adds to the [md] section.
    check
        Returns the problems of the values of [md], its keys among them, each a line for the user.
    canonical
        Averages over its trajectories are those of the canonical ensemble.
    stochastic
        It draws random numbers: two seeds give two trajectories from the same start.
    title
        Its name in figures.
    """
    flags = frozenset(flag for flag, holds in {"canonical": canonical, "stochastic": stochastic}.items() if holds)

    def register(make: Maker) -> Maker:
        THERMOSTATS.register(
            Entry(name=name, summary=summary, make=make, keys=keys or {}, check=check, flags=flags, title=title)
        )
        return make

    return register


def resolves_relaxation(md: Options) -> list[str]:
    """Return the problem of a relaxation within less than a timestep, for schemes that do not solve it exactly."""
    if md.relaxation_time >= md.timestep:
        return []
    return [
        f"[md] relaxation_time = {md.relaxation_time:g}: shorter than the time step of {md.timestep:g} a.u. "
        "Allowed: at least one time step. Use 10 to 100 time steps."
    ]


@thermostat("none", "conserves the energy", title="NVE")
def no_thermostat(temperature: float) -> Thermostat:
    """Return no thermostat.  Not collective."""
    return NoThermostat()
