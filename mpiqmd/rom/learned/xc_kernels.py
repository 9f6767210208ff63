"""The loops of the xc remainder at its points and their images, compiled to machine code."""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled


@compiled()
def to_images(rows: np.ndarray, n_images: int) -> None:
    """Turn what points have of every species into what their images have, or back: rows (B, images Q), in place.

    ``u_g = Σ_σ χ_σ(g) u_σ`` with the characters ±1 of commuting twofold operations (a Walsh-Hadamard transform): the matrix is
    its own transpose.
    """
    for row in rows:
        count, step = len(row) // n_images, 1
        while step < n_images:
            for first in range(n_images):
                if not first & step:
                    one, other = row[first * count : (first + 1) * count], row[(first + step) * count :]
                    for q in range(count):
                        one[q], other[q] = one[q] + other[q], one[q] - other[q]
            step *= 2


@compiled()
def weigh_remainder(
    values: tuple[np.ndarray, ...], mean: tuple[np.ndarray, ...], weights: np.ndarray, potential: np.ndarray
) -> float:
    """Return ``Σ_q w_q R(ρ_q)`` of a local functional and set ``w dR/dρ`` at the first points of ``potential``.

    ``values`` are ρ, e/ρ and de/dρ; ``mean`` those at which e is expanded: ρ̄, e, de/dρ and the expanded d²e/dρ².
    """
    rho, energy, slope = values
    rho0, energy0, slope0, curvature = mean
    total = 0.0
    for q in range(len(weights)):
        change = rho[q] - rho0[q]
        value = rho[q] * energy[q] - energy0[q] - change * (slope0[q] + 0.5 * curvature[q] * change)
        total += weights[q] * value
        potential[q] = weights[q] * (slope[q] - slope0[q] - curvature[q] * change)
    return total
