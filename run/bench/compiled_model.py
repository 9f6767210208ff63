"""What a compiled reduced model is worth: errors, energy drift, time per step, and the error estimate.

    .venv/bin/python run/bench/compiled_model.py run/inputs/water.toml results/water/train/model.h5 --output results/bench

Parts (``--parts``, all by default):

accuracy   compiled against the grid online stage and against Hi-Fi on random geometries of the sampled box
drift      NVE trajectories of 0.25, 0.5 and 1 fs steps, exact and rotated Hellmann-Feynman forces
time       median time per MD step on one core, beside one Hi-Fi step of the same input
estimate   residual error estimate against the true error, inside and outside the box

Writes ``compiled_model.json`` and figures.  Serial: one core is what is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mpiqmd.config import load_input
from mpiqmd.molecule.bent import water_positions
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.build import build_hifi_provider, build_model, build_molecule, build_solver
from mpiqmd.pipeline.reduced import ReducedSurface
from mpiqmd.pipeline.results import write_result
from mpiqmd.pipeline.validation import internal_force_error
from mpiqmd.plots.style import BRIGHT, DARK, panels, save_figure, style
from mpiqmd.rom.compiled.provider import CompiledForceProvider
from mpiqmd.rom.model import ReducedModel
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

COMM = MPI.COMM_SELF


class Bench:
    """The model, its surfaces and the random geometries the parts share."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.settings = load_input(arguments.input)
        self.arguments, self.log = arguments, Log(COMM)
        self.molecule = build_molecule(self.settings, COMM)
        self.model = build_model(self.settings, COMM, self.molecule)
        self.reduced = ReducedModel.load(arguments.model, COMM, self.model.grid, self.model.signature())
        self.surface = ReducedSurface(self.settings, self.model, self.reduced, silent(COMM))
        self.solver = build_solver(self.settings, self.model, energy_tolerance=1e-10)
        self.rng = np.random.default_rng(arguments.seed)

    def geometries(self, count: int, stretch: float = 1.0) -> np.ndarray:
        """Return random geometries of the sampled box, its half-widths times ``stretch``."""
        box = self.reduced.box
        middle, half = 0.5 * (box.lower_k + box.upper_k), 0.5 * (box.upper_k - box.lower_k) * stretch
        points = self.rng.uniform(middle - half, middle + half, size=(count, len(middle)))
        return np.array([water_positions(*point, vertex=box.vertex) for point in points])

    def compiled(self, forces: str = "gradient") -> CompiledForceProvider:
        """Return a fresh compiled surface."""
        return CompiledForceProvider(self.surface.frame, self.surface.compiled_solver, forces)


def accuracy(bench: Bench) -> dict[str, float]:
    """Compiled - grid online (same modes) and compiled - Hi-Fi: largest errors of energy and of forces."""
    provider = CompiledForceProvider(bench.surface.frame, bench.surface.compiled_solver)
    grid_energy, grid_force, hifi_energy, hifi_force = [], [], [], []
    geometries = bench.geometries(bench.arguments.geometries)
    for index, positions_av in enumerate(geometries):
        compiled = provider.evaluate(positions_av)
        on_grid = bench.surface.ground_state(positions_av)
        alignment = bench.surface.frame.align(positions_av)
        difference = compiled.forces_av - alignment.gradient_forces(on_grid.gradient_av)
        grid_energy.append(compiled.energy - on_grid.free_energy)
        grid_force.append(np.abs(difference).max())
        if index < bench.arguments.hifi_geometries:
            exact = bench.solver.solve(bench.model.place(positions_av))
            hifi_energy.append(compiled.energy - exact.free_energy)
            on_grid.gradient_av = -compiled.forces_av
            hifi_force.append(internal_force_error(bench.surface.frame, positions_av, on_grid, exact))
        bench.log.progress(f"geometry {index + 1}/{len(geometries)}")
    return {
        "geometries": len(geometries),
        "compiled_minus_grid_energy": float(np.abs(grid_energy).max()),
        "compiled_minus_grid_force": float(np.max(grid_force)),
        "hifi_geometries": len(hifi_energy),
        "compiled_minus_hifi_energy": float(np.abs(hifi_energy).max()),
        "compiled_minus_hifi_energy_spread": float(np.std(hifi_energy)),
        "compiled_minus_hifi_force": float(np.max(hifi_force)),
    }


def trajectory(bench: Bench, timestep: float, steps: int, forces: str = "gradient") -> dict[str, np.ndarray | float]:
    """Run NVE dynamics from 300 K by velocity Verlet; return energies, seconds per step and evaluations per step."""
    provider, masses = bench.compiled(forces), bench.molecule.masses_a[:, None]
    rng = np.random.default_rng(7)
    velocities = rng.normal(size=masses.shape[:1] + (3,)) * np.sqrt(300.0 * KELVIN_IN_HARTREE / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    positions = bench.reduced.reference_av.copy()
    result = provider.evaluate(positions)
    energies, seconds, evaluations = np.empty(steps), np.empty(steps), 0.0
    for step in range(steps):
        started = time.perf_counter()
        velocities += 0.5 * timestep * result.forces_av / masses
        positions = positions + timestep * velocities
        result = provider.evaluate(positions)
        velocities += 0.5 * timestep * result.forces_av / masses
        seconds[step] = time.perf_counter() - started
        evaluations += result.extras["evaluations"]
        energies[step] = result.energy + 0.5 * float((masses * velocities**2).sum())
    return {"energies": energies, "seconds": float(np.median(seconds)), "evaluations": evaluations / steps}


def drift(bench: Bench) -> dict[str, dict[str, float]]:
    """Linear drift and fluctuation of the energy, exact gradient at three timesteps, and the published forces."""
    runs, curves = {}, {}
    for femtoseconds, forces in ((0.25, "gradient"), (0.5, "gradient"), (1.0, "gradient"), (0.5, "hellmann-feynman")):
        timestep = femtoseconds / ATOMIC_TIME_IN_FS
        steps = int(bench.arguments.steps * 0.5 / femtoseconds)
        energies = trajectory(bench, timestep, steps, forces)["energies"]
        picoseconds = 1e-3 * femtoseconds * np.arange(steps)
        slope = float(np.polyfit(picoseconds, energies, 1)[0]) / len(bench.molecule.symbols)
        name = f"{femtoseconds} fs, {forces}"
        runs[name] = {"drift": slope, "fluctuation": float(energies.std()), "steps": steps}
        curves[name] = picoseconds, energies
        bench.log(f"{name}: drift {1e6 * slope:.4f} microHa/atom/ps, fluctuation {energies.std():.2e} Ha")
    _draw_drift(curves, bench.arguments.output)
    return runs


def _draw_drift(curves: dict[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
    with style():
        figure, axes = panels(2, 2.0)
        for name, (picoseconds, energies) in curves.items():
            axis = axes[1] if "hellmann" in name else axes[0]
            every = max(1, len(energies) // 4000)
            shift = 1e3 * (energies[::every] - energies[0])
            colour = {"0.25 fs": DARK, "0.5 fs,": BRIGHT}.get(name[:7], "0.6")
            axis.plot(picoseconds[::every], shift, linewidth=0.7, label=name, color=colour, zorder=-float(name.split()[0]))
            axis.set_ylabel("energy change (mHa)")
            axis.legend(loc="upper left", fontsize=8)
        axes[1].set_xlabel("time (ps)")
    save_figure(figure, folder / "nve-drift")


def timing(bench: Bench) -> dict[str, float]:
    """Median seconds per MD step of the compiled surface and of Hi-Fi, one core, one run."""
    run = trajectory(bench, bench.settings.md.timestep, bench.arguments.timing_steps)
    hifi = build_hifi_provider(bench.settings, bench.model, bench.molecule, bench.settings.scf.extrapolation)
    positions, seconds = bench.reduced.reference_av.copy(), []
    provider, masses = bench.compiled(), bench.molecule.masses_a[:, None]
    velocities = np.random.default_rng(7).normal(size=positions.shape) * np.sqrt(300 * KELVIN_IN_HARTREE / masses)
    for _ in range(bench.arguments.hifi_steps):
        positions = positions + bench.settings.md.timestep * velocities
        velocities += bench.settings.md.timestep * provider.evaluate(positions).forces_av / masses
        started = time.perf_counter()
        hifi.evaluate(positions)
        seconds.append(time.perf_counter() - started)
    exact = float(np.median(seconds[5:]))
    pairs = bench.surface.compiled_solver.energy.arrays.pairs
    products = sum((part.stop - part.start) ** 2 for part in pairs.classes)
    return {
        "modes": pairs.n_modes,
        "seconds_per_step": run["seconds"],
        "evaluations_per_step": run["evaluations"],
        "pair_products": len(pairs),
        "multiplications_per_evaluation": products,
        "hifi_seconds_per_step": exact,
        "ratio": exact / run["seconds"],
    }


def estimate(bench: Bench) -> dict[str, float]:
    """Share of geometries, in and out of the box, whose estimated energy error is within a factor 2 of the true one."""
    half = bench.arguments.estimates // 2
    geometries = np.concatenate([bench.geometries(half), bench.geometries(half, stretch=1.5)])
    truths, estimates = [], []
    for positions_av in geometries:
        reduced = bench.surface.ground_state(positions_av)
        exact = bench.solver.solve(bench.model.place(positions_av), reduced.orbitals)
        truths.append(reduced.free_energy - exact.free_energy)
        estimates.append(bench.surface.error_estimate(positions_av, reduced))
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


PARTS = {"accuracy": accuracy, "drift": drift, "time": timing, "estimate": estimate}


def main() -> None:
    """Run the parts asked for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, default=Path("bench"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--geometries", type=int, default=500, help="geometries of accuracy, against the grid stage")
    parser.add_argument("--hifi-geometries", type=int, default=40, help="how many of them also against Hi-Fi")
    parser.add_argument("--steps", type=int, default=100_000, help="steps of 0.5 fs of the drift runs")
    parser.add_argument("--timing-steps", type=int, default=10_000)
    parser.add_argument("--hifi-steps", type=int, default=25)
    parser.add_argument("--estimates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    path = arguments.output / "compiled_model.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    for part in arguments.parts:
        record[part] = PARTS[part](bench)
        bench.log(f"{part}: {json.dumps(record[part], indent=2)}")
        write_result(path, record)


if __name__ == "__main__":
    main()
