"""Error of energy and forces against grid spacing, order and density grid, and what it costs.

    .venv/bin/python -m run.bench.accuracy --output results/bench

Periodic water, GTH, LDA, in a cube of 12 bohr against ABINIT's plane waves extrapolated to infinite cutoff
(tests/reference/water: bonds of 1.9215 and 1.7385 bohr, 109.5 degrees).  Plane waves do not see where a molecule lies; here
it is placed at several points between those of the grid, and the worst is kept.  The net force is removed as by default.
Writes ``accuracy.json`` and the figure.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.config import parse_input
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.evaluation import remove_net_force
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.results import write_result
from mpiqmd.plots.style import save_figure, style
from run.bench.cases import Stopwatch, circumstances
from run.bench.drawing import accuracy_figure

EDGE = 12.0
KINDS: dict[str, dict[str, Any]] = {
    "order 4": {"order": 4},
    "order 8": {"order": 8},
    "order 12": {"order": 12},
    "order 12, finer density": {"order": 12, "density": "finer"},
    "order 12, doubled density": {"order": 12, "density": "doubled"},
}
PLACES = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.31, 0.17, 0.43]])
"""Shifts in units of the spacing."""
REFERENCE = Path(__file__).parents[2] / "tests/reference/water/value.json"


def reference() -> tuple[np.ndarray, float, np.ndarray]:
    """Return positions (bohr), energy (Ha) and forces (Ha/bohr) of the reference calculation."""
    values = json.loads(REFERENCE.read_text())
    shape, known = values["geometries"]["G1"], values["periodic LDA G1"]
    positions_av = water_positions(shape["length_1"], shape["length_2"], np.radians(shape["angle"]))
    return positions_av, known["energy"], np.array(known["forces"])


def measure(kind: str, points: int) -> dict[str, float]:
    """Return the worst errors over the places, and CPU seconds per ground state."""
    positions_av, energy, forces_av = reference()
    grid = {"cell": EDGE, "points": points, "boundary": "periodic"} | KINDS[kind]
    system = {"symbols": ["O", "H", "H"], "positions": positions_av.tolist()}
    settings = parse_input({"system": system, "grid": grid}, Path())
    model = build_model(settings, MPI.COMM_SELF, build_molecule(settings, MPI.COMM_SELF))
    forces_av = remove_net_force(forces_av, model.molecule.masses_a)
    solver, watch = AbpgSolver(model, 1e-8), Stopwatch()
    energies, worst = [], 0.0
    for place in PLACES:
        with watch():
            state = solver.solve(model.place(positions_av + place * EDGE / points))
        energies.append(state.free_energy)
        worst = max(worst, float(np.abs(remove_net_force(state.forces_av, model.molecule.masses_a) - forces_av).max()))
    model.grid.destroy()
    largest = float(np.abs(np.array(energies) - energy).max())
    return {
        "points": points,
        "spacing": EDGE / points,
        "energy_error": largest,
        "energy_ripple": float(np.ptp(energies)),
        "force_error": worst,
        "cpu_seconds": watch.cpu / len(PLACES),
    }


def main() -> None:
    """Measure the kinds asked for at all spacings, print the table, write the record and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--points", type=int, nargs="+", default=[36, 40, 48, 56, 64, 80])
    parser.add_argument("--output", type=Path, default=Path("bench"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    log, found = Log(MPI.COMM_SELF), {}
    for kind in arguments.kinds:
        found[kind] = []
        for points in arguments.points:
            row = measure(kind, points)
            found[kind].append(row)
            log(
                f"{kind:28s} {points:4d} points: energy {1e3 * row['energy_error']:8.3f} mHa (ripple "
                f"{1e3 * row['energy_ripple']:7.4f}), forces {1e3 * row['force_error']:7.3f} mHa/bohr, "
                f"{row['cpu_seconds']:6.2f} s"
            )
        record = circumstances() | {"kinds": found}
        write_result(arguments.output / "accuracy.json", record)
    with style():
        save_figure(accuracy_figure(found), arguments.output / "accuracy")


if __name__ == "__main__":
    main()
