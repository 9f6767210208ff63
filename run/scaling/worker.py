"""One point of the scaling study, under mpirun: what an ABPG iteration and each of its kernels take on these ranks.

    mpirun -n 2 .venv/bin/python -m run.scaling.worker --points 64 64 64 --cell 12 12 12 --output point.json

Prints nothing; rank 0 writes one JSON file with the largest times over ranks.  CPU seconds leave out what other jobs on
the same cores take; the time inside messages is taken separately (:mod:`metering`) and includes waiting for other ranks.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.config import parse_input
from mpiqmd.errors import ConvergenceError
from mpiqmd.grid import Field, Orbitals, differences, pencils
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.start import atomic_density, atomic_orbitals
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.molecule.library import load_pseudopotentials
from mpiqmd.parallel.timing import Timers
from mpiqmd.pipeline.build import build_grid, build_molecule
from mpiqmd.pipeline.results import write_result
from run.scaling.metering import Meter, MeteredComm, WatchedMPI

WATER = {
    "symbols": ["O", "H", "H"],
    "positions": [[0.0, 0.0, 0.0], [1.1203576, 1.4469620, 0.0], [1.1203576, -1.4469620, 0.0]],
}
WARM_UP = 2


class CpuTimers(Timers):
    """Timers in CPU seconds of this rank."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` block under ``name``."""
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.process_time() - started
            self.calls[name] += 1


class Taken:
    """CPU, wall-clock and message seconds, messages and bytes, per repetition."""

    def __init__(self, meter: Meter, function: Callable[[], Any], repetitions: int) -> None:
        meter.reset()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(repetitions):
            function()
        self.numbers = {
            "cpu": (time.process_time() - cpu) / repetitions,
            "wall": (time.perf_counter() - wall) / repetitions,
            "message_cpu": meter.cpu / repetitions,
            "message_wall": meter.wall / repetitions,
            "calls": meter.calls / repetitions,
            "bytes": meter.bytes / repetitions,
        }

    def largest(self, comm: MPI.Comm) -> dict[str, float]:
        """Return the largest of each over the ranks, and ``compute``: CPU outside messages.  Collective."""
        own = self.numbers | {"compute": self.numbers["cpu"] - self.numbers["message_cpu"]}
        everywhere = comm.allgather(own)
        return {name: max(rank[name] for rank in everywhere) for name in own}


def kernels(problem: Problem, solver: AbpgSolver, orbitals: Orbitals) -> dict[str, Callable[[], Any]]:
    """Return the parts of an iteration, ready to be timed alone."""
    model, grid = problem.model, problem.grid
    hartree, xc = model.term(Hartree), model.term(ExchangeCorrelation)
    density = atomic_density(problem)
    other = orbitals.copy()
    square = np.eye(len(orbitals))
    return {
        "laplacian": lambda: model.laplacian.apply(orbitals),
        "precondition": lambda: solver.preconditioner.apply(orbitals.local),
        "poisson": lambda: hartree.potential(density),
        "xc": lambda: xc.evaluate(Field(grid, density.local)),
        "gram": lambda: orbitals.gram(other),
        "combine": lambda: orbitals.combine(square),
    }


def measure(arguments: argparse.Namespace, comm: MPI.Comm) -> dict[str, Any]:
    """Return the record of this number of ranks.  Collective."""
    meter = Meter()
    model = metered_model(arguments, comm, meter)
    problem = model.place(model.molecule.positions_av)
    start = atomic_orbitals(problem, model.n_occupied)
    solver = AbpgSolver(model, energy_tolerance=1e-300, max_iterations=WARM_UP)
    iterate(solver, problem, start)
    solver.max_iterations, solver.timers = arguments.iterations, CpuTimers()
    iteration = Taken(meter, lambda: iterate(solver, problem, start), 1).largest(comm)
    iteration = {name: value / arguments.iterations for name, value in iteration.items()}
    parts = {name: seconds / arguments.iterations for name, seconds in solver.timers.seconds.items()}
    timed = {
        name: Taken(meter, function, arguments.repetitions).largest(comm)
        for name, function in kernels(problem, solver, start).items()
    }
    return describe(arguments, model) | {
        "iteration": iteration,
        "parts": parts,
        "kernels": timed,
        "peak_memory": max(comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)),
        "field_memory": max(comm.allgather(model.grid.local_size * 8)),
    }


def metered_model(arguments: argparse.Namespace, comm: MPI.Comm, meter: Meter) -> KohnShamModel:
    """Return the model of the case, its messages metered unless PETSc needs the communicator itself.  Collective."""
    grid_input = {name: getattr(arguments, name) for name in ("cell", "points", "order", "boundary", "poisson")}
    settings = parse_input({"system": WATER, "grid": grid_input}, Path())
    molecule, grid = build_molecule(settings, comm), build_grid(settings, comm)
    if arguments.poisson == "direct":
        grid.comm = MeteredComm(grid.comm, meter)
        grid.axis_comms = (*(MeteredComm(axis, meter) for axis in grid.axis_comms[:2]), None)
        differences.MPI = pencils.MPI = WatchedMPI(meter)
    functional = Functional(settings.xc.functional)
    table = settings.pseudopotentials.table
    pseudopotentials = load_pseudopotentials(molecule.symbols, table, functional.family, False, Path())
    return KohnShamModel(grid, molecule, pseudopotentials, functional)


def iterate(solver: AbpgSolver, problem: Problem, start: Orbitals) -> None:
    """Take all the iterations allowed: the tolerance cannot be met.  Collective."""
    try:
        solver.solve(problem, start.copy())
    except ConvergenceError:
        return
    raise AssertionError("an energy tolerance of 1e-300 Ha was met")


def describe(arguments: argparse.Namespace, model: KohnShamModel) -> dict[str, Any]:
    """Return what the performance model must know of this point.  Not collective."""
    grid = model.grid
    return {
        "ranks": grid.comm.size,
        "shape": list(grid.shape),
        "process_shape": list(grid.process_shape),
        "order": grid.order,
        "boundary": grid.boundary,
        "poisson": arguments.poisson,
        "orbitals": model.n_occupied,
        "iterations": arguments.iterations,
    }


def main() -> None:
    """Measure and let rank 0 write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs=3, default=[64, 64, 64])
    parser.add_argument("--cell", type=float, nargs=3, default=[12.0, 12.0, 12.0])
    parser.add_argument("--order", type=int, default=8)
    parser.add_argument("--boundary", choices=("isolated", "periodic"), default="isolated")
    parser.add_argument("--poisson", choices=("direct", "multigrid"), default="direct")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    record = measure(arguments, comm)
    if comm.rank == 0:
        write_result(arguments.output, record)


if __name__ == "__main__":
    sys.exit(main())
