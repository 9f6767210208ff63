"""The minimum over latent coordinates: a predicted start, and Newton's steps with the inverse Hessian of the reference.

    z <- z - B^-1 dE/dz,     E - E_min ≈ gap = ½ dE/dz · B^-1 dE/dz

The start is so good that one evaluation is mostly enough.  The energy there is that of a valid density matrix, above the
minimum by the gap, which is known; with the prediction's own derivative (``start``) the forces are its exact
gradient.  After further evaluations they are so up to the product of two errors, that of z and that of the derivative of z_p.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.rom.learned.anderson import accelerated
from mpiqmd.rom.learned.energy import Evaluated, LearnedEnergy, Placed
from mpiqmd.rom.learned.start import Start

GAIN_PER_TOLERANCE = 100.0
"""What a last step may gain (Ha) in units of ``rom.tolerance``: 1e-7 Ha by default, far below what modes and tables leave."""
TOGETHER = 3
"""Evaluations that a batch makes together."""


@dataclass(frozen=True)
class Minima:
    """Minima at a batch of geometries.

    Attributes
    ----------
    latent_bd
        z after a last step, padded.
    energies_b
        Energy before it, Ha.
    gradient_bav
        Its derivatives with respect to body-frame positions, Ha/bohr.
    dipoles_bv
        Dipole moments, atomic units.
    gaps_b
        Energy that the last step would gain, Ha.
    evaluations_b
        Evaluations of the energy.
    failures
        Why there is no minimum, for members that have none; their numbers mean nothing.
    """

    latent_bd: np.ndarray
    energies_b: np.ndarray
    gradient_bav: np.ndarray
    dipoles_bv: np.ndarray
    gaps_b: np.ndarray
    evaluations_b: np.ndarray
    failures: dict[int, ConvergenceError]


@dataclass(frozen=True)
class _Found:
    """Where minima were found: latent coordinates, the last step from there, what it gains (Ha), and evaluations."""

    latent_bd: np.ndarray
    steps_bd: np.ndarray
    gaps_b: np.ndarray
    evaluations_b: np.ndarray

    def put(self, members: np.ndarray, other: _Found) -> None:
        """Set some members, from all of them or from just those."""
        rows = slice(None) if len(other.gaps_b) < len(self.gaps_b) else members
        for field in fields(self):
            getattr(self, field.name)[members] = getattr(other, field.name)[rows]


class LearnedSolver:
    """Minimises the energy of a learned-grid model.  Replicated, not collective.

    Parameters
    ----------
    energy
        The energy.
    tolerance
        Largest energy that a last step may gain, Ha.
    max_iterations
        Evaluations after which there is a ConvergenceError.
    depth
        Depth of the Anderson acceleration.
    """

    def __init__(self, energy: LearnedEnergy, tolerance: float = 1e-9, max_iterations: int = 30, depth: int = 4) -> None:
        self.energy, self.tolerance = energy, tolerance
        self.max_iterations, self.depth = max_iterations, depth
        self.start = Start(energy.arrays.start)

    def solve_batch(self, placed: Placed, count: int | None = None) -> Minima:
        """Return the minima at a batch of placed geometries; at the first ``count``, the others only fill it up.

        All are evaluated together a few times, the first time at the predicted minimum, and each is taken where its own
        step gains too little; those that are then still too far from theirs go on by themselves.
        """
        latent_bd, products_bp = self.start.predict(placed.positions_bav)
        taken, found = self._evaluated(placed, latent_bd, 1)
        pending_b = ~(found.gaps_b < self.tolerance)  # so that NaN is not accepted
        pending_b[len(pending_b) if count is None else count :] = False
        for evaluation in range(2, TOGETHER + 1):
            if not pending_b.any():
                break
            moved_bd = found.latent_bd + found.steps_bd
            latent_bd = np.where(pending_b[:, None] & np.isfinite(moved_bd), moved_bd, found.latent_bd)
            evaluated, there = self._evaluated(placed, latent_bd, evaluation)
            taken.put(pending_b, evaluated)
            found.put(pending_b, there)
            pending_b &= ~(there.gaps_b < self.tolerance)
        failures = {b: e for b in np.flatnonzero(pending_b).tolist() if (e := self._go_on(placed, taken, found, b)) is not None}
        gradient_bav = taken.gradient_bav
        self.start.add_gradient(products_bp, taken.slopes_bd, gradient_bav)
        dipoles_bv = self.energy.dipoles(placed.positions_bav, taken.charges_bf, found.steps_bd)
        last_bd = found.latent_bd + found.steps_bd
        return Minima(last_bd, taken.energies_b, gradient_bav, dipoles_bv, found.gaps_b, found.evaluations_b, failures)

    def _evaluated(self, placed: Placed, latent_bd: np.ndarray, evaluation: int) -> tuple[Evaluated, _Found]:
        """Return what an evaluation finds, and the step from there."""
        evaluated = self.energy.evaluate(placed, latent_bd)
        steps_bd, gaps_b = self.start.steps(evaluated.slopes_bd)
        return evaluated, _Found(latent_bd.copy(), steps_bd, gaps_b, np.full(len(gaps_b), evaluation))

    def _go_on(self, placed: Placed, taken: Evaluated, found: _Found, b: int) -> ConvergenceError | None:
        """Put the minimum of one geometry of a batch, from where its last step led, or return why there is none."""
        member, place = np.array([b]), placed.chosen(np.array([b]))
        iterates: list[np.ndarray] = []
        steps: list[np.ndarray] = []
        latent_d, gap = found.latent_bd[b] + found.steps_bd[b], float(found.gaps_b[b])
        for evaluation in range(TOGETHER + 1, self.max_iterations + 1):
            if not np.isfinite(latent_d).all():
                break
            evaluated, there = self._evaluated(place, latent_d[None], evaluation)
            gap = float(there.gaps_b[0])
            if gap < self.tolerance:
                taken.put(member, evaluated)
                found.put(member, there)
                return None
            iterates, steps = [*iterates[1 - self.depth :], latent_d], [*steps[1 - self.depth :], there.steps_bd[0]]
            latent_d = accelerated(iterates, steps)
        found.latent_bd[b] = found.steps_bd[b] = 0.0
        return ConvergenceError(
            f"the reduced ground state did not converge: the last of {self.max_iterations} evaluations would gain {gap:.1e} "
            f"Ha, tolerance {self.tolerance:.1e}. The geometry may be far outside the model's box: see `mpiqmd info` of the "
            "model, or let rom.on_large_error = 'warn' solve it on the grid, or 'hifi' in full."
        )
