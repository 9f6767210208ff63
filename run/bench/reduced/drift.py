"""Energy conservation: exact gradient at three timesteps, and the published forces for contrast."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.plots.style import BRIGHT, DARK, panels, save_figure, style
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench.reduced.common import Bench, nve

CASES = ((0.25, "gradient"), (0.5, "gradient"), (1.0, "gradient"), (0.5, "hellmann-feynman"))


def drift(bench: Bench) -> dict[str, dict[str, float]]:
    """Linear drift and fluctuation of the total energy over the same physical time."""
    runs, curves, masses_a = {}, {}, bench.molecule.masses_a
    for femtoseconds, forces in CASES:
        steps = int(bench.arguments.steps * 0.5 / femtoseconds)
        timestep = femtoseconds / ATOMIC_TIME_IN_FS
        start = bench.reduced.reference_av, masses_a
        energies, _ = nve(bench.owner(forces), *start, timestep, steps, kelvin=bench.arguments.temperature)
        picoseconds = 1e-3 * femtoseconds * np.arange(1, len(energies) + 1)
        slope = float(np.polyfit(picoseconds, energies, 1)[0]) / len(masses_a)
        name = f"{femtoseconds} fs, {forces}"
        end = "" if len(energies) == steps else f", left the tables after {picoseconds[-1]:.1f} ps"
        runs[name] = {"drift": slope, "fluctuation": float(energies.std()), "steps": len(energies)}
        curves[name] = picoseconds, energies
        bench.log(f"{name}: drift {1e6 * slope:.4f} microHa/atom/ps, fluctuation {energies.std():.2e} Ha{end}")
    _draw(curves, bench.arguments.output)
    return runs


def _draw(curves: dict[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> None:
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
