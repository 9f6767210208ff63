"""Time per MD step, all included, beside the Hi-Fi step of the same input."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from mpiqmd.md.record import Record
from mpiqmd.md.run import run_dynamics
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.build import build_hifi_surface
from mpiqmd.pipeline.md import dynamics_settings
from run.bench.reduced.common import COMM, Bench


def cost(bench: Bench) -> dict[str, float]:
    """Median seconds per step of ``mpiqmd md`` on either surface, output every 10 steps, one core, one run."""
    reduced = _seconds(bench, Owner(bench.surface.surface), bench.arguments.timing_steps, 10)
    surface = build_hifi_surface(bench.settings, bench.model, bench.molecule, bench.settings.scf.extrapolation)
    hifi = _seconds(bench, Owner(surface), bench.arguments.hifi_steps, 1)
    return {
        "seconds_per_step": reduced["seconds_per_step"],
        "evaluations_per_step": reduced["iterations_per_step"],
        "steps": reduced["steps"],
        "hifi_seconds_per_step": hifi["seconds_per_step"],
        "hifi_iterations_per_step": hifi["iterations_per_step"],
        "ratio": hifi["seconds_per_step"] / reduced["seconds_per_step"],
    } | operations(bench)


def _seconds(bench: Bench, owner: Owner, steps: int, output_every: int) -> dict[str, float]:
    settings = dynamics_settings(bench.settings, steps)
    settings = dataclasses.replace(settings, output_every=output_every)
    molecule = bench.molecule.with_positions(bench.reduced.reference_av)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "trajectory.h5", Path(folder) / "checkpoint.h5")
        return run_dynamics(molecule, owner, settings, COMM, silent(COMM), record)


def operations(bench: Bench) -> dict[str, float]:
    """Multiplications of one step with one evaluation of the energy, by what they are for; zeros do not count."""
    arrays, uses_gradient = bench.surface.grid_free.solver.energy.arrays, bench.model.functional.uses_gradient
    directions, n, active = arrays.subspaces.directions_dnk.shape
    functions, points = arrays.points.reading_fq.shape
    xc = (4 if uses_gradient else 1) * len(arrays.xc.weights_q)
    slopes = 4  # a table is read with its derivatives along x, y and z
    tables = sum(ion.left_kj.size + ion.right_jf.size + ion.overlaps_kx.size for ion in arrays.ions)
    matrices = np.count_nonzero(arrays.one_electron.constant_kk) + np.count_nonzero(arrays.one_electron.first_order_lkk)
    counts = {
        "tables of moving atoms": slopes * tables,
        "orbitals at points, and back": 2 * n * points * active,
        "charges and potentials": 2 * functions * (points + xc),
        "one-electron matrices": n * matrices,
        "first order of the ions at points": 2 * arrays.first_order.at_points_lq.size,
        "latent directions": 2 * np.count_nonzero(arrays.subspaces.directions_dnk),
        "predicted start": 2 * np.count_nonzero(arrays.start.coefficients_td),
        "step": directions**2,
    }
    sizes = {"modes": len(arrays.subspaces.active_mk), "density_functions": functions, "points": points + xc}
    return sizes | {"multiplications": counts, "multiplications_per_step": int(np.sum(list(counts.values())))}
