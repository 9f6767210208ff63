"""The minimum over latent coordinates: a predicted start, and Newton's steps with the inverse Hessian of the reference.

    z <- z - B^-1 dE/dz,     E_min ≈ E - ½ dE/dz · B^-1 dE/dz

The start is so good that one evaluation is mostly enough: what is left, ``gap = ½ g·B^-1 g``, is subtracted, and its own
error, of third order, is far below it.  With the prediction's own derivative (``start``) the forces at z are those of the
minimum up to the product of two errors, that of z and that of the derivative of z_p.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.rom.compiled.orbital_kernels import anderson
from mpiqmd.rom.compiled.products import shared_product
from mpiqmd.rom.learned.energy import Evaluated, LearnedEnergy, Placed
from mpiqmd.rom.learned.start import Start

TOGETHER = 3
"""Evaluations that a batch makes together."""


@dataclass(frozen=True)
class Minima:
    """Minima at a batch of geometries.

    Attributes
    ----------
    latent_bd
        z.
    energies_b
        Ha.
    gradient_bav
        Their derivatives with respect to body-frame positions, Ha/bohr.
    orbitals_bnk
        Orthonormal orbitals over the active modes.
    gaps_b
        Energy that the last step gained, Ha.
    evaluations_b
        Evaluations of the energy.
    failures
        Why there is no minimum, for members that have none; their numbers mean nothing.
    """

    latent_bd: np.ndarray
    energies_b: np.ndarray
    gradient_bav: np.ndarray
    orbitals_bnk: np.ndarray
    gaps_b: np.ndarray
    evaluations_b: np.ndarray
    failures: dict[int, ConvergenceError]


@dataclass(frozen=True)
class _Found:
    """Where minima were found: latent coordinates after the last step, what it gained (Ha), and evaluations."""

    latent_bd: np.ndarray
    gaps_b: np.ndarray
    evaluations_b: np.ndarray

    def put(self, members: np.ndarray, latent_bd: np.ndarray, gaps_b: np.ndarray, evaluation: int) -> None:
        """Set some members, from arrays of all of them or of just those."""
        rows = slice(None) if len(latent_bd) < len(self.latent_bd) else members
        self.latent_bd[members], self.gaps_b[members] = latent_bd[rows], gaps_b[rows]
        self.evaluations_b[members] = evaluation


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
        latent_bd, terms_bt = self.start.predict(placed.positions_bav)
        size, (n, k) = len(latent_bd), self.energy.subspaces.origin_nk.shape
        taken = Evaluated.empty(size, latent_bd.shape[1], n, k, len(self.energy.points.interaction_f))
        found = _Found(latent_bd.copy(), np.full(size, np.inf), np.zeros(size, int))
        pending_b = np.arange(size) < (size if count is None else count)
        for evaluation in range(1, TOGETHER + 1):
            evaluated = self.energy.evaluate(placed, latent_bd)
            steps_bd, gaps_b = self._steps(evaluated)
            # written so that NaN is not accepted
            done = pending_b & (gaps_b < self.tolerance) if evaluation < TOGETHER else pending_b
            taken.put(done, evaluated)
            found.put(done, latent_bd + steps_bd, gaps_b, evaluation)
            pending_b = pending_b & ~(gaps_b < self.tolerance)
            if not pending_b.any():
                break
            latent_bd = np.where(pending_b[:, None] & np.isfinite(steps_bd), latent_bd + steps_bd, latent_bd)
        failures = {b: e for b in np.flatnonzero(pending_b).tolist() if (e := self._go_on(placed, taken, found, b)) is not None}
        gradient_bav = self.energy.gradients(placed, taken)
        self.start.add_gradient(terms_bt, taken.slopes_bd, gradient_bav)
        orbitals_bnk = self.energy.subspaces.orthonormal(found.latent_bd)[0]
        energies_b = taken.energies_b - found.gaps_b
        return Minima(found.latent_bd, energies_b, gradient_bav, orbitals_bnk, found.gaps_b, found.evaluations_b, failures)

    def _steps(self, evaluated: Evaluated) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps (B, d) and what they gain (B,), Ha."""
        slopes_bd = evaluated.slopes_bd
        steps_bd = -shared_product(slopes_bd, self.start.inverse_hessian_dd, len(slopes_bd))
        return steps_bd, -0.5 * np.einsum("bd,bd->b", steps_bd, slopes_bd)

    def _go_on(self, placed: Placed, taken: Evaluated, found: _Found, b: int) -> ConvergenceError | None:
        """Put the minimum of one geometry of a batch, from where its last step led, or return why there is none."""
        member, place = np.array([b]), placed.chosen(np.array([b]))
        iterates: list[np.ndarray] = []
        steps: list[np.ndarray] = []
        latent_d, gap = found.latent_bd[b].copy(), float(found.gaps_b[b])
        for evaluation in range(TOGETHER + 1, self.max_iterations + 1):
            if not np.isfinite(latent_d).all():
                break
            evaluated = self.energy.evaluate(place, latent_d[None])
            (step_d,), (gap,) = self._steps(evaluated)
            if gap < self.tolerance:
                taken.put(member, evaluated)
                found.put(member, (latent_d + step_d)[None], np.array([gap]), evaluation)
                return None
            iterates, steps = [*iterates[1 - self.depth :], latent_d], [*steps[1 - self.depth :], step_d]
            latent_d = anderson(np.array(iterates), np.array(steps), len(steps))
        found.latent_bd[b] = 0.0
        return ConvergenceError(
            f"the reduced ground state did not converge: the last of {self.max_iterations} evaluations would gain {gap:.1e} "
            f"Ha, tolerance {self.tolerance:.1e}. The geometry may be far outside the model's box: see `mpiqmd info` of the "
            "model, or let rom.on_large_error = 'warn' solve it on the grid, or 'hifi' in full."
        )
