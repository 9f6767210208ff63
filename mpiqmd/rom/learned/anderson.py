"""Anderson's acceleration of a few replicated numbers: one formula for the minimum over latent coordinates, online and offline.

    x̄ + f̄,     x̄ = x - Σ_j θ_j (x - x_j),   f̄ = f - Σ_j θ_j (f - f_j),   θ minimising |f̄|

(D. G. Anderson, J. ACM 12, 547 (1965)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RELATIVE_SHIFT, ABSOLUTE_SHIFT = 1e-12, 1e-300
"""Of the diagonal, so that steps which are all but the same have a solution."""


def accelerated(iterates: Sequence[np.ndarray], steps: Sequence[np.ndarray]) -> np.ndarray:
    """Return the next iterate, shape (n,), unit of all, after iterates x and steps f, the latest last.  Not collective."""
    earlier, last = np.array(steps[:-1]).reshape(-1, len(steps[-1])), steps[-1]
    differences_jn = last - earlier
    moved_jn = iterates[-1] - np.array(iterates[:-1]).reshape(differences_jn.shape)
    matrix_jj = differences_jn @ differences_jn.T
    matrix_jj[np.diag_indices_from(matrix_jj)] *= 1.0 + RELATIVE_SHIFT
    matrix_jj[np.diag_indices_from(matrix_jj)] += ABSOLUTE_SHIFT
    theta_j = np.linalg.solve(matrix_jj, differences_jn @ last)
    return iterates[-1] + last - theta_j @ (differences_jn + moved_jn)
