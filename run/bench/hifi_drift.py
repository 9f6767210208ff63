"""Energy drift of Hi-Fi dynamics against tolerance and starting orbitals, and the iterations each takes.

    .venv/bin/python -m run.bench.hifi_drift --output results/bench/hifi_drift.json

NVE trajectories of water from 300 K, steps of 20 atomic units, LDA, GTH, order 8, a cube of 12 bohr (``--points`` a side).
Every row is one combination of ``scf.energy_tolerance`` and ``scf.extrapolation``.  The drift is the slope of the total energy
per atom, the fluctuation its standard deviation about the line.  The first row is solved so well that what is left is the
integrator's, an oscillation that looks like a drift in a run of half a picosecond; what a row's solver adds is the slope of
the difference of the energies from those of the first row, as long as the trajectories are the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.config import parse_input
from mpiqmd.md.observables import linear_drift
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.results import write_result
from run.bench.cases import WATER, Stopwatch, circumstances
from run.bench.hifi import trajectory

COMM = MPI.COMM_SELF
TIMESTEP = 20.0
"""Atomic units."""
RUNS = (
    (1e-12, "geometry"),
    (1e-9, "geometry"),
    (1e-8, "geometry"),
    (1e-7, "geometry"),
    (1e-9, "polynomial"),
    (1e-9, "aspc"),
    (1e-8, "aspc"),
    (1e-7, "aspc"),
    (1e-9, "none"),
)
"""Tolerance (Ha) and rule for the starting orbitals; the first is the reference, the second the default."""


def run(tolerance: float, rule: str, points: int, steps: int) -> dict[str, Any]:
    """Return drift, fluctuation and iterations of one trajectory."""
    told = {
        "system": WATER,
        "grid": {"cell": 12.0, "points": points},
        "scf": {"energy_tolerance": tolerance, "extrapolation": rule},
        "md": {"steps": steps, "timestep": TIMESTEP, "temperature": "300 K", "seed": 1},
    }
    settings = parse_input(told, Path())
    molecule = build_molecule(settings, COMM)
    model = build_model(settings, COMM, molecule)
    record = trajectory(settings, model, molecule, Stopwatch())
    model.grid.destroy()
    return record


def added_drift(row: dict[str, Any], reference: dict[str, Any]) -> float:
    """Return the slope per atom of a row's energies minus those of another of the same dynamics, Ha/atom/ps."""
    added = np.subtract(row["energies"], reference["energies"])
    return linear_drift(TIMESTEP * np.arange(len(added)), added, len(WATER["symbols"]))


def main() -> None:
    """Run all combinations, print a line each, and write the record as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=48)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs", type=int, nargs="+", default=list(range(len(RUNS))), help="rows of the table")
    parser.add_argument("--output", type=Path, default=Path("hifi_drift.json"))
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    log, rows = Log(COMM), []
    record = circumstances() | {"points": arguments.points}
    record |= {"timestep": TIMESTEP, "rows": rows}
    for tolerance, rule in (RUNS[index] for index in arguments.runs):
        found = run(tolerance, rule, arguments.points, arguments.steps)
        mean = float(np.mean(found["iterations_per_step"]))
        drift, fluctuation = found["drift_per_atom_ps"], found["fluctuation"]
        rows.append({"tolerance": tolerance, "rule": rule, "steps": arguments.steps, "iterations_per_step": mean})
        rows[-1] |= {"drift_per_atom_ps": drift, "fluctuation": fluctuation, "energies": found["totals"]}
        rows[-1]["added_drift_per_atom_ps"] = added_drift(rows[-1], rows[0])
        log(
            f"{tolerance:7.0e} {rule:11s} {mean:5.2f} iterations a step, drift {1e6 * drift:9.3f} microHa/atom/ps, "
            f"of which {1e6 * rows[-1]['added_drift_per_atom_ps']:9.3f} beyond the first row's, "
            f"fluctuation {1e6 * fluctuation:7.2f} microHa, {found['cpu_seconds_per_step']:.3f} s a step"
        )
        write_result(arguments.output, record)


if __name__ == "__main__":
    main()
