"""One trajectory: geometry, energies, temperature and the drift of the conserved quantity."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.md.observables import linear_drift
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import internal_coordinates
from mpiqmd.plots.style import ACCENT, BRIGHT, DARK, GREY, panels, style
from mpiqmd.units import KELVIN_IN_HARTREE

COLOURS = (DARK, BRIGHT, ACCENT, GREY)
STANDARD = ("potential_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")


def figure_observables(trajectory: Trajectory) -> Figure:
    """Draw energies (mHa, from the first value), conserved energy with its drift, and temperature (K)."""
    with style():
        figure, axes = panels(3, 1.85)
        _draw_energies(axes[0], trajectory)
        _draw_conserved(axes[1], trajectory)
        temperature_t = trajectory.observables["temperature"] / KELVIN_IN_HARTREE
        axes[2].plot(trajectory.times_fs_t, temperature_t, color=DARK, linewidth=1.2)
        mean = temperature_t.mean()
        axes[2].axhline(mean, color=BRIGHT, linewidth=1.0, linestyle="--", label=f"mean {mean:.0f} K")
        axes[2].legend(loc="upper right", fontsize=8)
        axes[2].set_ylabel("temperature (K)")
        axes[2].set_xlabel("time (fs)")
        axes[2].set_xlim(*_limits(trajectory))
    return figure


def figure_internal_coordinates(trajectory: Trajectory) -> Figure | None:
    """Draw bond lengths (bohr) together and the angle (degrees) below; None for a single atom."""
    coordinates = internal_coordinates(trajectory.symbols, trajectory.positions_tav)
    units = list(dict.fromkeys(coordinate.unit for coordinate in coordinates))
    if not units:
        return None
    with style():
        figure, axes = panels(len(units), 2.1)
        for axis, unit in zip(axes, units, strict=True):
            chosen = [coordinate for coordinate in coordinates if coordinate.unit == unit]
            for index, coordinate in enumerate(chosen):
                colour = COLOURS[index % len(COLOURS)]
                axis.plot(
                    trajectory.times_fs_t,
                    coordinate.values_t,
                    color=colour,
                    linewidth=1.2,
                    label=coordinate.label,
                )
            axis.set_ylabel({"bohr": "bond length (bohr)", "degrees": "angle (degrees)"}[unit])
            if len(coordinates) > 1:
                axis.legend(loc="upper right", ncols=min(4, len(chosen)), fontsize=8)
        axes[-1].set_xlabel("time (fs)")
        axes[-1].set_xlim(*_limits(trajectory))
    return figure


def figure_extras(trajectory: Trajectory) -> Figure | None:
    """Draw what the solver reported beside energies and forces, one panel each; None if nothing."""
    names = [name for name in trajectory.observables if name not in STANDARD]
    if not names:
        return None
    with style():
        figure, axes = panels(len(names), 1.5)
        for axis, name in zip(axes, names, strict=True):
            values_t = trajectory.observables[name]
            known = np.isfinite(values_t)
            axis.plot(trajectory.times_fs_t[known], values_t[known], color=DARK, linewidth=1.1)
            axis.set_ylabel(name.replace("_", " "))
        axes[-1].set_xlabel("time (fs)")
        axes[-1].set_xlim(*_limits(trajectory))
    return figure


def _draw_energies(axis: Axes, trajectory: Trajectory) -> None:
    """Draw potential, kinetic and total energy relative to their first values."""
    for name, colour in (("potential", BRIGHT), ("kinetic", ACCENT), ("total", DARK)):
        energy_t = trajectory.observables[f"{name}_energy"]
        axis.plot(
            trajectory.times_fs_t, 1e3 * (energy_t - energy_t[0]), color=colour, linewidth=1.2, label=name
        )
    axis.set_ylabel("energy − first value\n(mHa)")
    axis.legend(loc="upper right", ncols=3, fontsize=8)


def _draw_conserved(axis: Axes, trajectory: Trajectory) -> None:
    """Draw the conserved energy and the straight line through it whose slope is the drift."""
    conserved_t = trajectory.observables["conserved_energy"]
    deviation_t = 1e6 * (conserved_t - conserved_t[0])
    times_t = trajectory.times_fs_t
    axis.plot(times_t, deviation_t, color=DARK, linewidth=1.0)
    drift = linear_drift(trajectory.times_t, conserved_t, len(trajectory.symbols))
    if drift is not None:
        line = np.polynomial.Polynomial.fit(times_t, deviation_t, 1)
        axis.plot(
            times_t, line(times_t), color=BRIGHT, linestyle="--", label=f"drift {drift:+.1e} Ha/atom/ps"
        )
        axis.legend(loc="upper right", fontsize=8)
    axis.set_ylabel("conserved energy −\nfirst value (μHa)")


def _limits(trajectory: Trajectory) -> tuple[float, float]:
    """Return the range of the time axis, not empty even for a single frame."""
    times_t = trajectory.times_fs_t
    return float(times_t[0]), float(max(times_t[-1], times_t[0] + 1e-3))
