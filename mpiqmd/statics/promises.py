"""Whether a surface keeps its promises: forces are slopes of the energy, and nothing changes with a rigid motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from mpiqmd.errors import GeometryError
from mpiqmd.findings import Finding, closing
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.countdown import Countdown

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

STEP = 0.01
"""Displacement of the central differences, bohr."""
EXACT, RIPPLE = 1e-5, 1e-3
"""Errors of forces beyond which the energy drifts, Ha/bohr, and ripple of the grid that is fair, Ha and Ha/bohr."""
MOTIONS = 4
"""Random rigid motions of ``check frame``."""


def check_forces(owner: Owner, positions_av: np.ndarray, names: tuple[str, ...], log: Log) -> dict[str, Any]:
    """Compare every force component with ``-(E(+d) - E(-d)) / 2d``, extrapolated over d and 2d.  Collective.

    Raises GeometryError if some of these energies would be found in another way than the forces.
    """
    here = owner.at(positions_av)
    numerical_av = np.zeros_like(positions_av)
    countdown = Countdown(log, positions_av.size, "force")
    for a, v in np.ndindex(*positions_av.shape):
        slopes = [_central_difference(owner, positions_av, (a, v, step), here, names[a]) for step in (STEP, 2 * STEP)]
        numerical_av[a, v] = -(4.0 * slopes[0] - slopes[1]) / 3.0
        countdown.advance(f"{names[a]} {'xyz'[v]} {here.forces_av[a, v]:.8f}, difference {numerical_av[a, v]:.8f} Ha/bohr")
    error = float(np.abs(here.forces_av - numerical_av).max())
    log.afterwards(f"largest difference between forces and energy differences: {error:.2e} Ha/bohr")
    verdict = closing(
        "dynamics that conserves its energy", [_within(error, EXACT, "forces are slopes of the energy to", "Ha/bohr")]
    )
    log.afterwards(verdict["words"])
    numbers = {"forces": here.forces_av, "energy_differences": numerical_av, "largest_error": error, "step": STEP}
    return numbers | {"verdict": verdict}


def _central_difference(
    owner: Owner, positions_av: np.ndarray, move: tuple[int, int, float], here: Evaluation, name: str
) -> float:
    """Return the slope of the energy as one coordinate of an atom is moved by so much to either side."""
    a, v, step = move
    energies = []
    for sign in (1.0, -1.0):
        displaced = positions_av.copy()
        displaced[a, v] += sign * step
        found = owner.at(displaced)
        if _way(found) != _way(here):
            raise GeometryError(
                f"the geometry is too near the edge of what the model was made for: with atom {name} moved by "
                f"{sign * step:+.2f} bohr along {'xyz'[v]} the energy is that of {_way(found)}, the forces are those of "
                f"{_way(here)}, and differences of both tell nothing. Choose a geometry further inside, or train on a wider "
                "range."
            )
        energies.append(found.energy)
    return (energies[0] - energies[1]) / (2.0 * step)


def _way(evaluation: Evaluation) -> str:
    """Return how a surface that watches its errors found an energy, in words."""
    if evaluation.extras.get("hifi"):
        return "the full solution"
    return "the grid in the reduced basis" if evaluation.extras.get("on_grid") else "the surface itself"


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
    energy, force = max(energy_errors), max(force_errors)
    log.afterwards(f"largest change of energy {energy:.2e} Ha, of forces {force:.2e} Ha/bohr")
    found = [
        _within(energy, RIPPLE, "moved and turned, the energy changes by", "Ha"),
        _within(force, RIPPLE, "forces by", "Ha/bohr"),
    ]
    verdict = closing("a molecule that moves and turns", found)
    log.afterwards(verdict["words"])
    return {"energy_changes": energy_errors, "force_changes": force_errors, "verdict": verdict}


def _within(error: float, bound: float, words: str, unit: str) -> Finding:
    """Return whether an error is within a bound."""
    return Finding(error <= bound, f"{words} {error:.1e} {unit}" + ("" if error <= bound else f", more than {bound:.0e}"))
