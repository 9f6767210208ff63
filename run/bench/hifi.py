"""The Hi-Fi solver on fixed cases: energies, iterations, operator applications, seconds.

    .venv/bin/python -m run.bench.hifi --output results/bench/hifi.json
    .venv/bin/python -m run.bench.compare old.json results/bench/hifi.json

Cases (``--cases``, all by default) are water in a cube of 12 bohr with 64 points a side, GTH, from scratch to 1e-8 Ha:

lda-8, lda-12     LDA by differences of order 8 and 12
pbe-8             PBE
lda-8-periodic    periodic cell
lda-8-md          30 NVE steps of 40 atomic units from 300 K, default extrapolation

One core, kernels compiled before; CPU seconds are the ones to compare, wall-clock seconds and the load average are
recorded beside them.  Set ``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1`` for that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from mpiqmd.config import Settings
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.pipeline.build import build_hifi_surface, build_model, build_molecule, build_solver
from mpiqmd.pipeline.results import read_result, write_result
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench.cases import CASES, Stopwatch, circumstances, settings_of

COMM = MPI.COMM_SELF


def run_case(name: str, settings: Settings) -> dict[str, Any]:
    """Return the record of one case: setting up, then a ground state with forces or a trajectory."""
    setup, work = Stopwatch(), Stopwatch()
    with setup():
        molecule = build_molecule(settings, COMM)
        model = build_model(settings, COMM, molecule)
    applications = count_applications(model)
    is_trajectory = "md" in CASES[name]
    record = trajectory(settings, model, molecule, work) if is_trajectory else ground_state(settings, model, work)
    record |= {
        "applications": applications[0],
        "setup_cpu_seconds": setup.cpu,
        "cpu_seconds": work.cpu,
        "wall_seconds": work.wall,
    }
    model.grid.destroy()
    return record


def count_applications(model: KohnShamModel) -> list[int]:
    """Count the functions that the Laplacian is applied to from now on, in the one number returned."""
    count, apply = [0], model.laplacian.apply

    def counted(orbitals: Any, *arguments: Any, **keywords: Any) -> np.ndarray:
        count[0] += len(orbitals)
        return apply(orbitals, *arguments, **keywords)

    model.laplacian.apply = counted
    return count


def ground_state(settings: Settings, model: KohnShamModel, work: Stopwatch) -> dict[str, Any]:
    """Solve one geometry from scratch, forces included."""
    solver = build_solver(settings, model)
    with work():
        state = solver.solve(model.place(model.molecule.positions_av))
    return {
        "energy": state.free_energy,
        "iterations": state.iterations,
        "residual": state.residual,
        "forces": state.forces_av,
        "parts": state.timing,
    }


def trajectory(settings: Settings, model: KohnShamModel, molecule: Molecule, work: Stopwatch) -> dict[str, Any]:
    """Run NVE dynamics by velocity Verlet; times are those of the steps, without the first ground state."""
    surface = Owner(build_hifi_surface(settings, model, molecule, settings.scf.extrapolation))
    masses, timestep = molecule.masses_a[:, None], settings.md.timestep
    velocities = start_velocities(molecule, settings.md.seed, settings.md.temperature)
    positions = molecule.positions_av.copy()
    result = surface.at(positions)
    first, iterations, totals = result.energy, [], []
    for _ in range(settings.md.steps):
        with work():
            velocities += 0.5 * timestep * result.forces_av / masses
            positions += timestep * velocities
            result = surface.at(positions)
            velocities += 0.5 * timestep * result.forces_av / masses
        iterations.append(int(result.extras["iterations"]))
        totals.append(result.energy + 0.5 * float((masses * velocities**2).sum()))
    picoseconds = np.arange(len(totals)) * timestep * ATOMIC_TIME_IN_FS * 1e-3
    return {
        "energy": first,
        "last_energy": result.energy,
        "iterations": sum(iterations),
        "iterations_per_step": iterations,
        "cpu_seconds_per_step": work.cpu / settings.md.steps,
        "drift_per_atom_ps": float(np.polyfit(picoseconds, totals, 1)[0]) / len(molecule.symbols),
        "fluctuation": float(np.std(totals - np.polyval(np.polyfit(picoseconds, totals, 1), picoseconds))),
        "totals": totals,
    }


def start_velocities(molecule: Molecule, seed: int, temperature: float) -> np.ndarray:
    """Return Maxwell-Boltzmann velocities without net momentum, atomic units."""
    masses = molecule.masses_a[:, None]
    velocities = np.random.default_rng(seed).normal(size=(len(masses), 3)) * np.sqrt(temperature / masses)
    return velocities - (masses * velocities).sum(axis=0) / masses.sum()


def line(name: str, record: dict[str, Any]) -> str:
    """Return one row of the table."""
    text = f"{name:16s} {record['energy']:16.9f} Ha {record['iterations']:5d} it. {record['applications']:6d} appl. "
    text += f"{record['cpu_seconds']:8.2f} s CPU {record['wall_seconds']:8.2f} s wall"
    if "drift_per_atom_ps" in record:
        text += f"  ({record['cpu_seconds_per_step']:.3f} s a step, drift {record['drift_per_atom_ps']:.1e} Ha/atom/ps)"
    return text


def main() -> None:
    """Run the cases asked for, print a table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--points", type=int, default=64, help="points a side of the 12 bohr cube")
    parser.add_argument("--output", type=Path, default=Path("hifi.json"))
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    log = Log(COMM)
    record = read_result(arguments.output) if arguments.output.exists() else {"cases": {}}
    record |= circumstances() | {"points": arguments.points}
    if record["machine"]["threads"]["OMP_NUM_THREADS"] != "1":
        log("OMP_NUM_THREADS is not 1: CPU seconds add up over threads")
    log(f"load average before: {record['machine']['load_average']:.2f} on {record['machine']['cores']} cores")
    for name in arguments.cases:
        # Compiling the kernels is not part of what is measured.
        run_case("lda-8", settings_of("lda-8" if "md" in CASES[name] else name, points=16))
        record["cases"][name] = run_case(name, settings_of(name, arguments.points))
        log(line(name, record["cases"][name]))
        write_result(arguments.output, record)


if __name__ == "__main__":
    main()
