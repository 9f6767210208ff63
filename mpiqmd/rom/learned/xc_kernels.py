"""The loop of a local xc remainder over its points, compiled to machine code."""

from __future__ import annotations

import numpy as np

from mpiqmd.compiling import compiled


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
