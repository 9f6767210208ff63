"""The residual error estimate against the true error, inside and outside the sampled box."""

from __future__ import annotations

import numpy as np

from mpiqmd.pipeline.build import build_solver
from run.bench.reduced.common import Bench


def estimate(bench: Bench) -> dict[str, float]:
    """Share of geometries, half of them from a box 1.5 times as wide, estimated within a factor 2."""
    half = bench.arguments.estimates // 2
    geometries = np.concatenate([bench.geometries(half), bench.geometries(half, stretch=1.5)])
    solver = build_solver(bench.settings, bench.model, energy_tolerance=1e-10)
    truths, estimates = [], []
    for positions_av in geometries:
        reduced = bench.surface.ground_state(positions_av)
        exact = solver.solve(bench.model.place(positions_av), reduced.orbitals)
        truths.append(reduced.free_energy - exact.free_energy)
        estimates.append(bench.surface.error_estimate(positions_av, reduced.density_matrix_nn))
        bench.log.progress(f"estimate {len(truths)}/{len(geometries)}: {estimates[-1]:.2e} of {truths[-1]:.2e} Ha")
    ratio = np.array(estimates) / np.array(truths)
    return {
        "geometries": len(ratio),
        "within_factor_2": float(np.mean((ratio > 0.5) & (ratio < 2.0))),
        "ratio_lowest": float(ratio.min()),
        "ratio_median": float(np.median(ratio)),
        "ratio_highest": float(ratio.max()),
        "smallest_error": float(np.min(truths)),
        "largest_error": float(np.max(truths)),
    }
