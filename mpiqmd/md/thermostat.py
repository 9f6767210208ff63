"""What a thermostat is: something that changes the velocities besides the forces, and keeps book of the energy.

Three hooks let each scheme act where it belongs in a step of velocity Verlet: ``before`` and ``after``
(Nose-Hoover half steps; Berendsen and stochastic rescaling act ``after``) and ``middle``, between the two
half drifts (Langevin in the BAOAB splitting).  Every scheme accumulates the energy it gave away, so that

    E_conserved = E_kinetic + E_potential + conserved_offset

is constant up to the integration error.  Thermostats live on rank 0; :mod:`mpiqmd.md.thermostats` makes them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from mpiqmd.md.nuclei import Nuclei


class Thermostat(Protocol):
    """What the dynamics asks of a thermostat; each hook returns the new velocities (N, 3) at the present positions."""

    def before(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
        """Act for half a step before the first kick."""
        ...

    def middle(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
        """Act for a whole step between the two half drifts."""
        ...

    def after(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
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

    def before(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def middle(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def after(
        self, velocities_av: np.ndarray, positions_av: np.ndarray, nuclei: Nuclei, timestep: float
    ) -> np.ndarray:
        """Leave the velocities alone."""
        return velocities_av

    def state(self) -> dict[str, np.ndarray]:
        """Return an empty dictionary: there is no memory."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Accept an empty memory."""
