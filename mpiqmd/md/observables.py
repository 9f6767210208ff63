"""What is measured along a trajectory.  Replicated pure functions; the last axes are atom and xyz.

Positions, velocities and forces may carry leading axes (frames), which the results keep.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.units import ATOMIC_TIME_IN_FS

SEEN = 2.0
"""Change of the energy by its slope, in standard deviations, from which on the slope is a drift."""
SHORTEST = 0.1
"""Picoseconds in which a drift can be seen at all."""


def kinetic_energy(velocities_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return ``K = 1/2 sum_a M_a |v_a|^2``, Ha, of the shape of the leading axes: (frames,), or a scalar."""
    return 0.5 * (masses_a @ (velocities_av * velocities_av)).sum(axis=-1)


def momentum(velocities_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return the net momentum ``sum_a M_a v_a``, shape (3,), a.u."""
    return np.einsum("...av,a->...v", velocities_av, masses_a)


def centre_of_mass(positions_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return the centre of mass, shape (3,), bohr."""
    return np.einsum("...av,a->...v", positions_av, masses_a) / masses_a.sum()


def angular_momentum(positions_av: np.ndarray, velocities_av: np.ndarray, masses_a: np.ndarray) -> np.ndarray:
    """Return ``sum_a M_a (R_a - R_com) x v_a``, shape (3,), a.u."""
    arms_av = positions_av - centre_of_mass(positions_av, masses_a)[..., None, :]
    return np.einsum("...av,a->...v", np.cross(arms_av, velocities_av), masses_a)


def net_force(forces_av: np.ndarray) -> np.ndarray:
    """Return ``sum_a F_a``, shape (3,), Ha/bohr."""
    return forces_av.sum(axis=-2)


def linear_drift(times_t: np.ndarray, energies_t: np.ndarray, n_atoms: int) -> float | None:
    """Return the least-squares slope of an energy against time per atom, in Ha/atom/ps.

    Parameters
    ----------
    times_t, energies_t
        Times (atomic units) and the conserved quantity (Ha).
    n_atoms
        Number of atoms to divide by.

    Returns
    -------
    The slope, or None with fewer than three frames or in no time at all, where a slope says nothing.
    """
    if len(times_t) < 3:
        return None
    elapsed_t = (times_t - times_t.mean()) * ATOMIC_TIME_IN_FS * 1e-3
    spread = elapsed_t @ elapsed_t
    if spread == 0.0:
        return None
    return float(elapsed_t @ (energies_t - energies_t.mean()) / spread / n_atoms)


def drift_is_seen(drift: float, picoseconds: float, fluctuation: float) -> bool:
    """Return whether a slope of the conserved energy (Ha/ps) is a drift, and not the oscillation of the integrator.

    It is when it changes the energy in the time of the run by more than it fluctuates (standard deviation, Ha): a straight
    line alone changes it by sqrt(12) standard deviations.
    """
    return picoseconds >= SHORTEST and abs(drift) * picoseconds > SEEN * fluctuation
