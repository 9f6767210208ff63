"""Velocities at the start: Maxwell-Boltzmann, zero or given, without net momentum or rotation on request.

Maxwell-Boltzmann: every component is normal with variance ``k_B T / M_a``; after the removals the whole set
is scaled so that its temperature is exactly the one asked for.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.md.nuclei import Nuclei
from mpiqmd.md.observables import angular_momentum, centre_of_mass, inertia_tensor, momentum


def remove_net_momentum(velocities_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return the velocities with the centre of mass at rest."""
    return velocities_av - momentum(velocities_av, masses_a) / masses_a.sum()


def remove_net_rotation(
    velocities_av: np.ndarray, positions_av: np.ndarray, masses_a: np.ndarray
) -> np.ndarray:
    """Return the velocities less the rigid rotation ``omega x (R_a - R_com)`` with ``I omega = L``.

    The pseudo-inverse of the inertia tensor leaves out the axis of a linear molecule.
    """
    inverse = np.linalg.pinv(inertia_tensor(positions_av, masses_a), rcond=1e-10, hermitian=True)
    omega_v = inverse @ angular_momentum(positions_av, velocities_av, masses_a)
    return velocities_av - np.cross(omega_v, positions_av - centre_of_mass(positions_av, masses_a))


def at_rest(
    velocities_av: np.ndarray,
    positions_av: np.ndarray,
    nuclei: Nuclei,
    remove_translation: bool,
    remove_rotation: bool,
) -> np.ndarray:
    """Return the velocities with pinned atoms at rest or, without any, less net momentum and rotation."""
    velocities_av = np.array(velocities_av, dtype=float)
    if nuclei.pinned:
        velocities_av[list(nuclei.pinned)] = 0.0
        return velocities_av
    if remove_translation:
        velocities_av = remove_net_momentum(velocities_av, nuclei.masses_a)
    if remove_rotation:
        velocities_av = remove_net_rotation(velocities_av, positions_av, nuclei.masses_a)
    return velocities_av


def maxwell_boltzmann(
    temperature: float,
    seed: int,
    positions_av: np.ndarray,
    nuclei: Nuclei,
    remove_translation: bool = True,
    remove_rotation: bool = False,
) -> np.ndarray:
    """Return random velocities (N, 3) whose temperature is exactly ``temperature`` (``k_B T``, Ha).

    The generator is PCG64 seeded with ``seed``; the same seed gives the same velocities.
    """
    normal_av = np.random.Generator(np.random.PCG64(seed)).standard_normal(positions_av.shape)
    velocities_av = normal_av * np.sqrt(temperature / nuclei.masses_a)[:, None]
    velocities_av = at_rest(velocities_av, positions_av, nuclei, remove_translation, remove_rotation)
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
    remove_translation: bool = True,
    remove_rotation: bool = False,
) -> np.ndarray:
    """Return the velocities (N, 3) that a run starts from.

    Parameters
    ----------
    choice
        ``"random"``, ``"zero"`` or an array (N, 3) in atomic units; the array is freed of net momentum and
        rotation where asked, but not scaled to the temperature.

    Raises
    ------
    ConfigError
        The choice is none of these, or the array has another shape or holds NaN or infinity.
    """
    if isinstance(choice, str) and choice == "random":
        return maxwell_boltzmann(temperature, seed, positions_av, nuclei, remove_translation, remove_rotation)
    if isinstance(choice, str) and choice == "zero":
        return np.zeros_like(positions_av)
    given_av = None if isinstance(choice, str) else np.asarray(choice, dtype=float)
    if given_av is None or given_av.shape != positions_av.shape or not np.isfinite(given_av).all():
        found = repr(choice) if given_av is None else f"an array of shape {given_av.shape}"
        raise ConfigError(
            f"md.initial_velocities is {found}; allowed: 'random', 'zero' or {len(positions_av)} rows of "
            "three finite numbers. Give one of these."
        )
    return at_rest(given_av, positions_av, nuclei, remove_translation, remove_rotation)
