"""Non-negative weights of a few points that fulfil many equations, by least squares.

The equations are compressed by their singular vectors and solved by non-negative least squares (C. L. Lawson and R. J. Hanson,
Solving Least Squares Problems (1974), by QR), which leaves as many points as the equations have rank.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import qr, qr_delete, qr_insert, solve_triangular

WINDOW, LEAST_GAIN = 100, 0.05
"""So many steps more must make the residual smaller by such a share, or there are enough."""


def nonnegative_weights(equations: np.ndarray, exact: np.ndarray, points: int) -> np.ndarray:
    """Return non-negative weights with at most ``points`` non-zeros.  Rank 0 only."""
    left = _leading_left_vectors(equations, 2 * points)
    return early_stopped_nnls(left.T @ equations, left.T @ exact, points)


def _leading_left_vectors(matrix: np.ndarray, count: int) -> np.ndarray:
    """Return orthonormal columns that span the leading left singular vectors of a matrix.

    Randomised subspace iteration (N. Halko, P.-G. Martinsson, J. A. Tropp, SIAM Rev. 53, 217 (2011), algorithm 4.4):
    a full decomposition of all equations would cost more than the rest of the offline stage.
    """
    count = min(count, *matrix.shape)
    sketch = np.random.default_rng(0).normal(size=(matrix.shape[1], min(count + 50, *matrix.shape)))
    basis, _ = np.linalg.qr(matrix @ sketch)
    right, _ = np.linalg.qr(matrix.T @ basis)
    basis, _ = np.linalg.qr(matrix @ right)
    inside, _, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ inside[:, :count]


def early_stopped_nnls(matrix: np.ndarray, right: np.ndarray, points: int) -> np.ndarray:
    """Return w >= 0 that reduces ``|A w - b|`` with at most ``points`` non-zeros.

    Lawson and Hanson's active-set algorithm, stopped when enough columns are in use or the residual all but stops falling; the
    inner least-squares problems are solved by QR, updated column by column.
    """
    weights = np.zeros(matrix.shape[1])
    columns = _Columns(matrix, right)
    smallest, residual, sizes = 1e-14 * np.abs(matrix.T @ right).max(), right, [float(np.linalg.norm(right))]
    # as many columns as rows solve everything
    points = min(points, len(matrix))
    while len(sizes) <= WINDOW or sizes[-1] < (1.0 - LEAST_GAIN) * sizes[-1 - WINDOW]:
        dual = matrix.T @ residual
        dual[columns.used] = -np.inf
        newest = int(np.argmax(dual))
        if dual[newest] <= smallest or len(columns.used) >= points:
            break
        columns.append(newest)
        _make_feasible(columns, weights)
        residual = columns.residual()
        sizes.append(float(np.linalg.norm(residual)))
    return weights


class _Columns:
    """The columns of a matrix in use, factorised."""

    def __init__(self, matrix: np.ndarray, right: np.ndarray) -> None:
        self.matrix, self.right = matrix, right
        self.used: list[int] = []
        self.q, self.r = np.zeros((len(matrix), 0)), np.zeros((0, 0))

    def append(self, column: int) -> None:
        """Use one more."""
        new = self.matrix[:, column]
        if self.used:
            self.q, self.r = qr_insert(self.q, self.r, new, len(self.used), which="col")
        else:
            self.q, self.r = qr(new[:, None], mode="economic")
        self.used.append(column)

    def keep(self, kept: np.ndarray) -> None:
        """Drop those that are not kept."""
        for place in np.flatnonzero(~kept)[::-1].tolist():
            self.q, self.r = qr_delete(self.q, self.r, place, which="col")
            del self.used[place]
            # of as many columns as rows, the factors that are left have a row and a column too many
            self.q, self.r = self.q[:, : len(self.used)], self.r[: len(self.used)]

    def solve(self) -> np.ndarray:
        """Return the least-squares solution."""
        return solve_triangular(self.r, self.q.T @ self.right)

    def residual(self) -> np.ndarray:
        """Return what the least-squares solution leaves of the right-hand side."""
        return self.right - self.q @ (self.q.T @ self.right)


def _make_feasible(columns: _Columns, weights: np.ndarray) -> None:
    """Solve on the used columns and drop those whose weights reach zero; ``weights`` is updated in place."""
    while columns.used:
        trial = columns.solve()
        current = weights[columns.used]
        negative = trial <= 0.0
        if not negative.any():
            weights[columns.used] = trial
            return
        ratio = current[negative] / np.maximum(current[negative] - trial[negative], 1e-300)
        moved = current + float(ratio.min()) * (trial - current)
        kept = ~(negative & (moved <= 1e-14 * np.abs(moved).max()))
        if kept.all():
            kept[np.argmin(np.where(negative, moved, np.inf))] = False
        weights[columns.used] = np.where(kept, moved, 0.0)
        columns.keep(kept)
