"""Anderson acceleration of a fixed-point iteration on blocks of functions.

Given iterates x_j and their steps f_j, the next iterate is ``x̄ + β f̄`` with

    x̄ = x - Σ_j θ_j (x - x_j),   f̄ = f - Σ_j θ_j (f - f_j),   θ minimising ||f̄||

(Anderson, J. ACM 12, 547 (1965); for ABPG: Fattebert, J. Comput. Phys. 229, 441 (2010)).  A damping β is applied by
the caller, to the steps it passes.  An iterate may have several parts, arrays that are combined with the same θ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.grid.kernels import inner_products, linear_combination
from mpiqmd.parallel.comm import decide, sum_over_ranks

if TYPE_CHECKING:
    from mpi4py import MPI

SMALLEST_DETERMINANT = 0.01
"""Steps whose matrix of cosines has a smaller determinant are too much alike to be told apart."""
THETA_RANGE = (-3.0, 0.5)
"""Coefficients of earlier iterates outside this range mean that the next one would be far from all of them."""

Parts = Sequence[np.ndarray]
Products = Callable[[list[Parts]], np.ndarray]
"""``products(steps)`` returns ``<f_i, f_j>`` of several steps, shape (steps, steps), the same on every rank.  Collective."""


class Anderson:
    """History of iterates and steps, at most ``depth`` pairs.

    Parameters
    ----------
    comm
        Ranks that share the distributed arrays.
    depth
        Pairs kept; 0 switches the acceleration off.
    theta_range
        Coefficients outside this range drop the history for that step.
    smallest_determinant
        Smallest determinant of the steps' matrix of cosines; the oldest steps are dropped until it is met.
    products
        The inner products of steps whose norm is minimised; by default those of their first part, which is distributed.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        depth: int,
        theta_range: tuple[float, float] = THETA_RANGE,
        smallest_determinant: float = SMALLEST_DETERMINANT,
        products: Products | None = None,
    ) -> None:
        self.comm, self.depth, self.theta_range = comm, depth, theta_range
        self.smallest_determinant, self.products = smallest_determinant, products
        self._iterates: list[Parts] = []
        self._steps: list[Parts] = []

    def forget(self) -> None:
        """Drop the history.  Not collective."""
        self._iterates.clear()
        self._steps.clear()

    def next(self, iterate: Parts, step: Parts) -> list[np.ndarray]:
        """Return the accelerated next iterate and remember this one.  Collective.  The arguments are kept, not copied.

        Its parts have the shape and the unit of those of ``iterate``.
        """
        theta = self._coefficients(step)
        own = 1.0 - float(theta.sum())
        iterates, steps = [iterate, *self._iterates[: len(theta)]], [step, *self._steps[: len(theta)]]
        coefficients = [own, *theta] * 2
        result = [
            linear_combination(coefficients, [x[part] for x in iterates] + [f[part] for f in steps])
            for part in range(len(iterate))
        ]
        self._remember(iterate, step)
        return result

    def _coefficients(self, step: Parts) -> np.ndarray:
        """Return θ, (pairs,), without unit, of as much of the history as is independent; the rest is dropped.  Collective."""
        if not self._steps:
            return np.zeros(0)
        steps = [*self._steps, step]
        products = self._plain_products(steps) if self.products is None else self.products(steps)
        while self._steps:
            with_last = products[:-1, -1:]
            matrix = products[-1, -1] - with_last - with_last.T + products[:-1, :-1]
            theta = decide(self.comm, self._solve(matrix, products[-1, -1] - with_last[:, 0]))
            if theta is not None:
                return theta
            self._iterates.pop()
            self._steps.pop()
            products = np.delete(np.delete(products, -2, axis=0), -2, axis=1)
        return np.zeros(0)

    def _plain_products(self, steps: list[Parts]) -> np.ndarray:
        """Return the inner products of the first parts of steps, (steps, steps), volume element left out.  Collective."""
        return sum_over_ranks(self.comm, inner_products([step[0] for step in steps]))

    def _solve(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray | None:
        """Return θ, or None where the history is too dependent or asks for too long a step."""
        scale = np.sqrt(np.diag(matrix))
        if not scale.all():
            return None
        unit = matrix / np.outer(scale, scale)
        if len(unit) > 1 and np.linalg.det(unit) < self.smallest_determinant:
            return None
        theta = np.linalg.solve(unit, right / scale) / scale
        low, high = self.theta_range
        if len(theta) > 1 and ((theta < low) | (theta > high)).any():
            return None
        return np.clip(theta, low, high)

    def _remember(self, iterate: Parts, step: Parts) -> None:
        """Put a pair at the head of the history.  Not collective."""
        if self.depth == 0:
            return
        self._iterates.insert(0, iterate)
        self._steps.insert(0, step)
        del self._iterates[self.depth :], self._steps[self.depth :]
