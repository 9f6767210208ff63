"""Velocities at the start: Maxwell-Boltzmann, zero or given, less everything that does not move in the run.

Maxwell-Boltzmann: every component is normal with variance ``k_B T / M_a``; after the removals the whole set
is scaled so that its temperature is exactly the one asked for.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.md.nuclei import Nuclei


def maxwell_boltzmann(temperature: float, seed: int, positions_av: np.ndarray, nuclei: Nuclei) -> np.ndarray:
    """Return random velocities (N, 3) whose temperature is exactly ``temperature`` (``k_B T``, Ha).

    The generator is PCG64 seeded with ``seed``; the same seed gives the same velocities.
    """
    normal_av = np.random.Generator(np.random.PCG64(seed)).standard_normal(positions_av.shape)
    velocities_av = normal_av * np.sqrt(temperature / nuclei.masses_a)[:, None]
    velocities_av = nuclei.at_rest(velocities_av, positions_av)
    present = nuclei.temperature(velocities_av)
    if temperature == 0.0 or present == 0.0:
        return np.zeros_like(velocities_av)
    return velocities_av * np.sqrt(temperature / present)


def initial_velocities(
    choice: str | np.ndarray,
    temperature: float,
    seed: int,
    positions_av: np.ndarray,
    nuclei: Nuclei,
) -> np.ndarray:
    """Return the velocities (N, 3) that a run starts from.

    Parameters
    ----------
    choice
        ``"random"``, ``"zero"`` or an array (N, 3) in atomic units; the array loses what does not move in this run
        (:meth:`Nuclei.at_rest`), but is not scaled to the temperature.

    Raises
    ------
    ConfigError
        The choice is none of these, or the array has another shape or holds NaN or infinity.
    """
    if isinstance(choice, str) and choice == "random":
        return maxwell_boltzmann(temperature, seed, positions_av, nuclei)
    if isinstance(choice, str) and choice == "zero":
        return np.zeros_like(positions_av)
    given_av = None if isinstance(choice, str) else np.asarray(choice, dtype=float)
    if given_av is None or given_av.shape != positions_av.shape or not np.isfinite(given_av).all():
        found = repr(choice) if given_av is None else f"an array of shape {given_av.shape}"
        raise ConfigError(
            f"md.initial_velocities is {found}; allowed: 'random', 'zero' or {len(positions_av)} rows of "
            "three finite numbers. Give one of these."
        )
    return nuclei.at_rest(given_av, positions_av)
