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
from mpiqmd.rom.learned.energy import Evaluated, LearnedEnergy, Placed
from mpiqmd.rom.learned.start import Start


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

        All are evaluated at the predicted minimum together; those too far from theirs go on by themselves.
        """
        latent_bd, terms_bt = self.start.predict(placed.positions_bav)
        evaluated = self.energy.evaluate(placed, latent_bd)
        steps_bd = -(evaluated.slopes_bd @ self.start.inverse_hessian_dd)
        gaps_b = -0.5 * np.einsum("bd,bd->b", steps_bd, evaluated.slopes_bd)
        gradient_bav = self.energy.gradients(placed, evaluated)
        self.start.add_gradient(terms_bt, evaluated.slopes_bd, gradient_bav)
        minima = Minima(
            latent_bd + steps_bd,
            evaluated.energies_b - gaps_b,
            gradient_bav,
            self.energy.subspaces.orthonormal(latent_bd + steps_bd)[0],
            gaps_b,
            np.ones(len(latent_bd), int),
            {},
        )
        # written so that NaN is not accepted
        for b in np.flatnonzero(~(gaps_b[:count] < self.tolerance)).tolist():
            self._go_on(placed.chosen(np.array([b])), terms_bt[b : b + 1], minima, b)
        return minima

    def _go_on(self, placed: Placed, terms_bt: np.ndarray, minima: Minima, b: int) -> None:
        """Put the minimum of one geometry of a batch, from where its first step led, or why there is none."""
        latent_d = minima.latent_bd[b]
        iterates: list[np.ndarray] = []
        steps: list[np.ndarray] = []
        for evaluation in range(2, self.max_iterations + 1):
            evaluated = self.energy.evaluate(placed, latent_d[None])
            step_d = -(evaluated.slopes_bd[0] @ self.start.inverse_hessian_dd)
            gap = -0.5 * float(step_d @ evaluated.slopes_bd[0])
            if not np.isfinite(gap):
                break
            if gap < self.tolerance:
                minima.latent_bd[b], minima.evaluations_b[b] = latent_d + step_d, evaluation
                self._finish(placed, terms_bt, evaluated, gap, minima, b)
                return
            iterates, steps = [*iterates[1 - self.depth :], latent_d], [*steps[1 - self.depth :], step_d]
            latent_d = anderson(np.array(iterates), np.array(steps), len(steps))
        minima.failures[b] = ConvergenceError(
            f"the reduced ground state did not converge: the last of {self.max_iterations} evaluations would gain {gap:.1e} "
            f"Ha, tolerance {self.tolerance:.1e}. The geometry may be far outside the model's box: see `mpiqmd info` of the "
            "model, or let rom.on_large_error = 'hifi' solve it in full."
        )

    def _finish(self, placed: Placed, terms_bt: np.ndarray, evaluated: Evaluated, gap: float, minima: Minima, b: int) -> None:
        """Put energy, gradient and orbitals of a minimum that was found."""
        gradient_bav = self.energy.gradients(placed, evaluated)
        self.start.add_gradient(terms_bt, evaluated.slopes_bd, gradient_bav)
        minima.gradient_bav[b], minima.energies_b[b], minima.gaps_b[b] = gradient_bav[0], evaluated.energies_b[0] - gap, gap
        minima.orbitals_bnk[b] = self.energy.subspaces.orthonormal(minima.latent_bd[b][None])[0][0]
