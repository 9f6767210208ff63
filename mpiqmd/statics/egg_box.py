"""What the grid does to energy and net force as a molecule moves through it and turns: its egg-box, and a verdict on it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from mpiqmd.kohnsham.checks import COARSE
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.countdown import Countdown

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

SHIFTS = 12
"""Steps along x and along the diagonal, through one period of the grids, of ``check egg-box``."""
LONGEST_PERIOD = 2
"""Spacings after which orbitals' and density's grids coincide again at most; 1.5 times as many points need two."""
ROTATIONS = 6
"""Random rotations of ``check egg-box``."""
FINE_RIPPLE, FAIR_RIPPLE = 1e-4, 1e-3
"""Energy ripples (Ha) below which a grid is good enough for dynamics at room temperature, and for geometries."""
FINE_NET_FORCE = 0.1 * COARSE
"""Net force (Ha/bohr) of a grid that is good enough for dynamics."""


def egg_box_motions(positions_av: np.ndarray, spacing_v: np.ndarray, period: int = 1) -> dict[str, list[np.ndarray]]:
    """Return positions (N, 3), bohr, shifted through a period along x and along the diagonal, and turned.  Not collective.

    Shifts go as far back as forth, which keeps the molecule away from walls.
    """
    fractions = _fractions(period)
    shifts = {"x": np.array([1.0, 0.0, 0.0]), "diagonal": np.ones(3)}
    motions = {name: [positions_av + f * spacing_v * axis for f in fractions] for name, axis in shifts.items()}
    return motions | {"rotation": [positions_av, *(positions_av @ turn.as_matrix().T for turn in _turns())]}


def common_period(points_v: np.ndarray, density_points_v: np.ndarray) -> int:
    """Return the number of spacings after which the grids of orbitals and density lie on each other again.  Not collective."""
    ratio = float(np.max(np.asarray(density_points_v) / np.asarray(points_v)))
    return Fraction(ratio).limit_denominator(LONGEST_PERIOD).denominator


def _fractions(period: int) -> np.ndarray:
    """Return the shifts in spacings, 0 among them, and both ends, which look the same to the grids."""
    return period * (np.arange(SHIFTS + 1) / SHIFTS - 0.5)


def _turns() -> list[Rotation]:
    return [Rotation.random(random_state=seed) for seed in range(ROTATIONS)]


def check_egg_box(owner: Owner, positions_av: np.ndarray, spacing_v: np.ndarray, log: Log, period: int = 1) -> dict[str, Any]:
    """Evaluate the motions and return energies and net forces, their ripple and their largest, of each kind.  Collective.

    The ripple is the range of the energy, which is constant without a grid.  ``fractions`` are the shifts in spacings, over
    ``period`` of them, after which the grids repeat; the rotations have ``angles`` in degrees.  ``walls`` is the largest
    difference of energy from one end to the other: not the grid's, but that of the walls of the cell.
    """
    result: dict[str, Any] = {"fractions": _fractions(period), "period": period, "spacing": spacing_v}
    motions = egg_box_motions(positions_av, spacing_v, period)
    countdown = Countdown(log, sum(map(len, motions.values())), "geometry")
    through = "one grid spacing" if period == 1 else f"{period} grid spacings"
    log(f"{countdown.total} geometries: through {through} along x and the diagonal, and turned")
    for name, geometries in motions.items():
        evaluations = []
        for moved_av in geometries:
            evaluations.append(owner.at(moved_av))
            countdown.advance(name)
        energies = np.array([evaluation.energy for evaluation in evaluations])
        nets = np.array([evaluation.extras.get("net_force", _net(evaluation.forces_av)) for evaluation in evaluations])
        net = float(nets.max())
        result[name] = {"energies": energies, "net_forces": nets, "ripple": float(np.ptp(energies)), "net_force": net}
        log(f"{name:10s} energy ripple {1e3 * np.ptp(energies):8.4f} mHa, largest net force {1e3 * net:8.4f} mHa/bohr")
    ends = [result[name]["energies"][-1] - result[name]["energies"][0] for name in ("x", "diagonal")]
    result["walls"] = float(np.abs(ends).max())
    if result["walls"] > FINE_RIPPLE:
        log(
            f"of these, {1e3 * result['walls']:.3g} mHa are left after a whole period: they come from the walls of the cell. "
            "Use a larger grid.cell before a finer spacing"
        )
    result["rotation"]["angles"] = np.array([0.0, *(np.degrees(turn.magnitude()) for turn in _turns())])
    return result


def egg_box_verdict(found: dict[str, Any], density: str) -> dict[str, Any]:
    """Return ``ripple`` (Ha) and ``net_force`` (Ha/bohr), the largest of all motions, ``verdict`` (``"fine"``, ``"fair"`` or
    ``"coarse"``) and ``advice``: what the grid is good enough for and what to do; ``density`` is ``grid.density``.  Not
    collective.
    """
    motions = [motion for motion in found.values() if isinstance(motion, dict)]
    ripple, net = (max(motion[name] for motion in motions) for name in ("ripple", "net_force"))
    measured = f"ripple {1e3 * ripple:.3g} mHa, net force {1e3 * net:.3g} mHa/bohr"
    finer = f"grid.spacing = {0.8 * float(np.max(found['spacing'])):.2g}" + " or grid.density = 'finer'" * (density == "same")
    if ripple <= FINE_RIPPLE and net <= FINE_NET_FORCE:
        verdict, advice = "fine", "good enough for dynamics at room temperature and for training"
    elif ripple <= FAIR_RIPPLE and net <= COARSE:
        verdict = "fair"
        advice = (
            "good enough for geometries and for energies to 1 mHa. For dynamics and training, where 0.1 mHa and 0.5 mHa/bohr "
            f"are allowed, use {finer}; or scf.frame = 'body', which takes the molecule's own motion out"
        )
    else:
        verdict = "coarse"
        advice = (
            "too coarse: 1 mHa and 5 mHa/bohr are the most for geometries, 0.1 mHa and 0.5 mHa/bohr for dynamics. Use "
            f"{finer} and check again"
        )
    return {"ripple": ripple, "net_force": net, "verdict": verdict, "advice": f"{measured}: {advice}"}


def _net(forces_av: np.ndarray) -> float:
    return float(np.linalg.norm(forces_av.sum(axis=0)))
