"""What the grid does to the energy as a molecule moves through it: options of mpiqmd, and GPAW on the same grid.

    MPIQMD_PEERS_PYTHON=/path/to/python .venv/bin/python -m run.bench.ripple --output results/bench/ripple.json

Water in a cube of 12 bohr with 64 points a side, GTH (HGH in GPAW), LDA.  The molecule is shifted through one spacing along
x and along the diagonal and, isolated, turned at random (`mpiqmd check egg-box`).  The ripple is the range of the energy
over a kind of motion; walls and periodic images change it a little, too, which no grid can help.  Cost is CPU time per
iteration against the first case.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.config import Settings, parse_input
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.body_solver import HifiBodySolver
from mpiqmd.molecule.body_surface import BodySurface
from mpiqmd.molecule.laboratory import LaboratoryFrame
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.results import plain, write_result
from mpiqmd.statics.egg_box import check_egg_box, egg_box_motions
from run.bench.cases import Stopwatch, circumstances, settings_of
from run.bench.peer_codes.adapters import FailedPeer, MissingPeer, PythonPeer
from run.bench.peers import GPAW_INSTALL, case

COMM = MPI.COMM_SELF
OPTIONS: dict[str, dict[str, Any]] = {
    "order 8": {},
    "order 12": {"order": 12},
    "order 8, finer density": {"density": "finer"},
    "order 8, doubled density": {"density": "doubled"},
    "order 12, doubled density": {"order": 12, "density": "doubled"},
    "periodic, order 12": {"order": 12, "boundary": "periodic"},
    "periodic, order 12, finer": {"order": 12, "boundary": "periodic", "density": "finer"},
    "periodic, order 12, doubled": {"order": 12, "boundary": "periodic", "density": "doubled"},
}
"""Names of the cases and what they change in [grid]."""
KINDS = ("x", "diagonal", "rotation")
TOLERANCE = 1e-8
"""Of each energy, Ha: a thousandth of what is measured."""


def settings_for(name: str, points: int) -> Settings:
    """Return the settings of a case."""
    base = settings_of("lda-8", points).as_dict()
    grid = {key: value for key, value in base["grid"].items() if value is not None} | OPTIONS[name]
    return parse_input({"system": {key: base["system"][key] for key in ("symbols", "positions")}, "grid": grid}, Path())


def measure(name: str, points: int, log: Log) -> dict[str, Any]:
    """Return ripple, net force and CPU seconds per iteration of a case."""
    settings, watch = settings_for(name, points), Stopwatch()
    molecule = build_molecule(settings, COMM)
    model = build_model(settings, COMM, molecule)
    solver = _Counting(AbpgSolver(model, TOLERANCE))
    frame = LaboratoryFrame(COMM, molecule, net_force="keep")
    surface = Owner(BodySurface(frame, HifiBodySolver(model, solver)))
    with watch():
        found = check_egg_box(surface, molecule.positions_av, model.grid.spacing_v, log)
    model.grid.destroy()
    if model.grid.is_periodic:
        found.pop("rotation")
    return found | {"seconds_per_iteration": watch.cpu / solver.iterations, "iterations": solver.iterations}


class _Counting:
    """A solver that adds up its iterations."""

    def __init__(self, solver: AbpgSolver) -> None:
        self.solver, self.iterations = solver, 0

    def solve(self, *arguments: Any) -> Any:
        """Solve, and count."""
        state = self.solver.solve(*arguments)
        self.iterations += state.iterations
        return state


def gpaw(points: int) -> dict[str, Any]:
    """Return the same of GPAW, isolated and periodic."""
    told = case(points, 0)
    positions_av = np.array(told["positions"])
    motions = egg_box_motions(positions_av, np.full(3, told["cell"] / points))
    peer, found = PythonPeer("gpaw", "gpaw_ripple.py", GPAW_INSTALL), {}
    for boundary in ("isolated", "periodic"):
        kinds = {name: places for name, places in motions.items() if boundary == "isolated" or name != "rotation"}
        answer = peer.run(plain(told | {"boundary": boundary, "motions": kinds}))
        found[f"GPAW {answer['version']}, {boundary}"] = {
            name: part | {"ripple": float(np.ptp(part["energies"]))} for name, part in answer["motions"].items()
        }
    return found


def line(name: str, found: dict[str, Any], first: float) -> str:
    """Return one row of the table: ripples in mHa, largest net force in mHa/bohr, cost."""
    cells = [f"{1e3 * found[kind]['ripple']:.4f}" if kind in found else "" for kind in KINDS]
    ripples = "".join(f"{cell:>11s}" for cell in cells)
    net = max(found[kind]["net_force"] for kind in KINDS if kind in found)
    cost = f"{found['seconds_per_iteration'] / first:9.1f}" if "seconds_per_iteration" in found else ""
    return f"{name:30s}{ripples}{1e3 * net:11.3f}{cost}"


def main() -> None:
    """Run the cases asked for, print the table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--points", type=int, default=64, help="points a side of the 12 bohr cube")
    parser.add_argument("--no-gpaw", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("ripple.json"))
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    log, found = Log(COMM), {}
    record = circumstances() | {"points": arguments.points, "cases": found}
    for name in arguments.cases:
        log(name)
        found[name] = measure(name, arguments.points, log)
        write_result(arguments.output, record)
    if not arguments.no_gpaw:
        try:
            found |= gpaw(arguments.points)
        except (MissingPeer, FailedPeer) as problem:
            log(f"GPAW: {problem}")
        write_result(arguments.output, record)
    first = found[arguments.cases[0]]["seconds_per_iteration"]
    log(f"{'ripple (mHa)':30s}{'x':>11s}{'diagonal':>11s}{'rotation':>11s}{'net force':>11s}{'cost':>9s}")
    for name, case_found in found.items():
        log(line(name, case_found, first))


if __name__ == "__main__":
    main()
