"""Whether a surface keeps its promises: forces are slopes of the energy, and nothing changes with a rigid motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.countdown import Countdown

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

STEP = 0.01
"""Displacement of the central differences, bohr."""
MOTIONS = 4
"""Random rigid motions of ``check frame``."""


def check_forces(owner: Owner, positions_av: np.ndarray, names: tuple[str, ...], log: Log) -> dict[str, Any]:
    """Compare every force component with ``-(E(+d) - E(-d)) / 2d``, extrapolated over d and 2d.  Collective."""
    forces_av = owner.at(positions_av).forces_av
    numerical_av = np.zeros_like(positions_av)
    countdown = Countdown(log, positions_av.size, "force")
    for a, v in np.ndindex(*positions_av.shape):
        slopes = [_central_difference(owner, positions_av, a, v, step) for step in (STEP, 2 * STEP)]
        numerical_av[a, v] = -(4.0 * slopes[0] - slopes[1]) / 3.0
        countdown.advance(f"{names[a]} {'xyz'[v]} {forces_av[a, v]:.8f}, difference {numerical_av[a, v]:.8f} Ha/bohr")
    error = float(np.abs(forces_av - numerical_av).max())
    log.afterwards(f"largest difference between forces and energy differences: {error:.2e} Ha/bohr")
    return {"forces": forces_av, "energy_differences": numerical_av, "largest_error": error, "step": STEP}


def _central_difference(owner: Owner, positions_av: np.ndarray, a: int, v: int, step: float) -> float:
    energies = []
    for sign in (1.0, -1.0):
        displaced = positions_av.copy()
        displaced[a, v] += sign * step
        energies.append(owner.at(displaced).energy)
    return (energies[0] - energies[1]) / (2.0 * step)


def check_frame(owner: Owner, positions_av: np.ndarray, log: Log) -> dict[str, Any]:
    """Rotate and shift the molecule at random and compare energies and co-rotated forces.  Collective."""
    reference = owner.at(positions_av)
    energy_errors, force_errors, countdown = [], [], Countdown(log, MOTIONS, "motion")
    for seed in range(MOTIONS):
        rotation_vv = Rotation.random(random_state=seed).as_matrix()
        shift_v = np.random.default_rng(seed).uniform(-0.1, 0.1, 3)
        moved = owner.at(positions_av @ rotation_vv.T + shift_v)
        energy_errors.append(abs(moved.energy - reference.energy))
        force_errors.append(float(np.abs(moved.forces_av @ rotation_vv - reference.forces_av).max()))
        countdown.advance(f"energy {energy_errors[-1]:.2e} Ha, forces {force_errors[-1]:.2e} Ha/bohr")
    log.afterwards(f"largest change of energy {max(energy_errors):.2e} Ha, of forces {max(force_errors):.2e} Ha/bohr")
    return {"energy_changes": energy_errors, "force_changes": force_errors}
