"""Velocity Verlet in kick and drift pieces, with room for a thermostat in the middle of the drift.

One step of length dt is ``B(dt/2) A(dt/2) [O(dt)] A(dt/2) B(dt/2)`` with

    B(t): v_a <- v_a + t F_a / M_a          A(t): R_a <- R_a + t v_a

which without the thermostat piece ``O`` is velocity Verlet [Swope1982].  Its positions obey

    R(t + dt) = 2 R(t) - R(t - dt) + dt^2 F(t) / M,

the position Verlet recursion [Verlet1967] of the paper, and its velocities at half steps are those of
leapfrog: the three are one trajectory written in three ways.  Second order, time-reversible, symplectic; the
momentum is kept, and the angular momentum too, to round-off, when net force and torque vanish.
"""

from __future__ import annotations

import numpy as np


def kick(velocities_av: np.ndarray, forces_av: np.ndarray, intervals_a1: np.ndarray) -> np.ndarray:
    """Return ``v_a + F_a t / M_a``, shape (N, 3), a.u.; ``t / M_a``, shape (N, 1), is zero for a pinned atom, which rests."""
    return velocities_av + intervals_a1 * forces_av


def drift(positions_av: np.ndarray, velocities_av: np.ndarray, interval: float) -> np.ndarray:
    """Return ``R_a + interval v_a``, shape (N, 3), bohr."""
    return positions_av + interval * velocities_av
