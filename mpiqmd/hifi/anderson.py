"""Anderson acceleration of a fixed-point iteration on blocks of functions.

Given iterates x_j and their steps f_j, the next iterate is ``x̄ + β f̄`` with

    x̄ = x - Σ_j θ_j (x - x_j),   f̄ = f - Σ_j θ_j (f - f_j),   θ minimising ||f̄||

(Anderson, J. ACM 12, 547 (1965); for ABPG: Fattebert, J. Comput. Phys. 229, 441 (2010)).  A damping β is applied by
the caller, to the steps it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.grid.kernels import inner_products, linear_combination
from mpiqmd.parallel.comm import decide, sum_over_ranks

if TYPE_CHECKING:
    from mpi4py import MPI

SMALLEST_DETERMINANT = 0.01
THETA_RANGE = (-3.0, 0.5)


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
    dual
        ``G f`` of a local step, for the inner product ``f·G f`` whose norm is minimised; the plain one by default.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        depth: int,
        theta_range: tuple[float, float] = THETA_RANGE,
        smallest_determinant: float = SMALLEST_DETERMINANT,
        dual: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.comm, self.depth, self.theta_range = comm, depth, theta_range
        self.smallest_determinant, self.dual = smallest_determinant, dual
        self._iterates: list[np.ndarray] = []
        self._steps: list[np.ndarray] = []

    def forget(self) -> None:
        """Drop the history.  Not collective."""
        self._iterates.clear()
        self._steps.clear()

    def next(self, iterate_local: np.ndarray, step_local: np.ndarray) -> np.ndarray:
        """Return the accelerated next iterate and remember this one.  Collective.  The arguments are kept, not copied."""
        theta = self._coefficients(step_local)
        own = 1.0 - float(theta.sum())
        coefficients = [own, own, *theta, *theta]
        count = len(theta)
        blocks = [iterate_local, step_local, *self._iterates[:count], *self._steps[:count]]
        result = linear_combination(coefficients, blocks)
        self._remember(iterate_local, step_local)
        return result

    def _coefficients(self, step_local: np.ndarray) -> np.ndarray:
        while self._steps:
            products = self._products([*self._steps, step_local])
            with_last = products[:-1, -1:]
            packed = np.empty((len(with_last), len(products)))
            packed[:, :-1] = products[-1, -1] - with_last - with_last.T + products[:-1, :-1]
            packed[:, -1] = products[-1, -1] - with_last[:, 0]
            theta = decide(self.comm, self._solve(sum_over_ranks(self.comm, packed)))
            if theta is not None:
                return theta
            self._iterates.pop()
            self._steps.pop()
        return np.zeros(0)

    def _products(self, steps: list[np.ndarray]) -> np.ndarray:
        """Return ``f_i·G f_j`` of local steps."""
        if self.dual is None:
            return inner_products(steps)
        return np.stack([step.ravel() for step in steps]) @ np.stack([self.dual(step).ravel() for step in steps]).T

    def _solve(self, packed: np.ndarray) -> np.ndarray | None:
        """Return θ, or None where the history is too dependent or asks for too long a step."""
        matrix, right = packed[:, :-1], packed[:, -1]
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

    def _remember(self, iterate_local: np.ndarray, step_local: np.ndarray) -> None:
        if self.depth == 0:
            return
        self._iterates.insert(0, iterate_local)
        self._steps.insert(0, step_local)
        del self._iterates[self.depth :], self._steps[self.depth :]
