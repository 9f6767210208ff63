"""One trajectory: geometry, energies, temperature, the drift of the conserved quantity, and what the surface reported."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.md.observables import drift_is_seen, linear_drift
from mpiqmd.md.quantities import STANDARD, observable
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.evaluation import DIPOLE
from mpiqmd.plots.coordinates import continuous, panels_of
from mpiqmd.plots.style import ACCENT, BRIGHT, COLOURS, DARK, legend_above, panels, style, titled
from mpiqmd.plots.titles import title_of
from mpiqmd.units import KELVIN_IN_HARTREE

PANELS_IN_ONE_COLUMN = 4
TIME_LABEL = "time (fs)"
DECADES = 30.0
"""Positive numbers that span more than this factor get a logarithmic axis."""


def figure_observables(trajectory: Trajectory) -> Figure:
    """Draw energies (mHa, from the first value), conserved energy with its drift, and temperature (K)."""
    with style():
        figure, axes = panels(3, 1.9)
        _draw_energies(axes[0], trajectory)
        _draw_conserved(axes[1], trajectory)
        _draw_temperature(axes[2], trajectory)
        for axis in axes:
            legend_above(axis)
        _finish(axes, trajectory)
        return titled(figure, title_of(trajectory))


def figure_internal_coordinates(trajectory: Trajectory) -> Figure | None:
    """Draw bond lengths (bohr), angles and dihedral angles (degrees), a panel for each kind; None for a single atom."""
    parts = panels_of(trajectory)
    if not parts:
        return None
    columns = 1 if len(parts) <= PANELS_IN_ONE_COLUMN else 2
    with style():
        figure, axes = panels(-(-len(parts) // columns), 1.8, columns)
        for axis, part in zip(axes, parts, strict=False):
            for colour, coordinate in enumerate(part.coordinates.values()):
                label = coordinate.label if len(part.coordinates) > 1 else None
                _draw(axis, trajectory, continuous(coordinate), colour, label)
            axis.set_ylabel(part.title)
            legend_above(axis, 4 if columns == 1 else 2)
        _finish(axes, trajectory)
        return titled(figure, title_of(trajectory))


def figure_extras(trajectory: Trajectory) -> Figure | None:
    """Draw what the surface reported, a panel each with its unit; None if nothing.

    The dipole moment has one panel.  What is zero throughout is named under the title, and the age of the estimate shows in
    the estimate itself, which has a mark wherever it was made.
    """
    parts: dict[str, list[str]] = {}
    for name in trajectory.observables:
        if name not in STANDARD and name != "error_age":
            parts.setdefault("dipole" if name in DIPOLE else name, []).append(name)
    silent = [part for part, members in parts.items() if not any(_says_something(trajectory, name) for name in members)]
    names = [part for part in parts if part not in silent]
    if not names:
        return None
    with style():
        figure, axes = panels(len(names), 1.6)
        for axis, name in zip(axes, names, strict=True):
            if name == "dipole":
                _draw_dipole(axis, trajectory)
            else:
                _draw_extra(axis, trajectory, name)
        _finish(axes, trajectory)
        zero = f"0 in all frames: {', '.join(name.replace('_', ' ') for name in silent)}" if silent else ""
        return titled(figure, title_of(trajectory), zero)


def _says_something(trajectory: Trajectory, name: str) -> bool:
    """Return whether an observable is anything but zero or missing in some frame."""
    return bool(np.nan_to_num(trajectory.observables[name]).any())


def _draw(axis: Axes, trajectory: Trajectory, values_t: np.ndarray, colour: int, label: str | None = None) -> None:
    """Draw one curve against time where it has values."""
    known = np.isfinite(values_t)
    axis.plot(trajectory.times_fs_t[known], values_t[known], color=COLOURS[colour % len(COLOURS)], linewidth=1.1, label=label)


def _draw_energies(axis: Axes, trajectory: Trajectory) -> None:
    """Draw potential, kinetic and total energy relative to their first values."""
    for name, colour in (("potential", BRIGHT), ("kinetic", ACCENT), ("total", DARK)):
        energy_t = trajectory.observables[f"{name}_energy"]
        _draw(axis, trajectory, 1e3 * (energy_t - energy_t[0]), COLOURS.index(colour), name)
    axis.set_ylabel("energy −\nfirst value (mHa)")


def _draw_conserved(axis: Axes, trajectory: Trajectory) -> None:
    """Draw the conserved energy and the straight line through it whose slope is the drift, if there is one to see."""
    conserved_t = trajectory.observables["conserved_energy"]
    deviation_t = 1e6 * (conserved_t - conserved_t[0])
    times_t = trajectory.times_fs_t
    _draw(axis, trajectory, deviation_t, 0)
    n_atoms = len(trajectory.symbols)
    drift = linear_drift(trajectory.times_t, conserved_t, n_atoms)
    if drift is not None:
        line = np.polynomial.Polynomial.fit(times_t, deviation_t, 1)
        is_seen = drift_is_seen(drift * n_atoms, 1e-3 * float(np.ptp(times_t)), float(conserved_t.std()))
        label = f"drift {1e6 * drift:+.2g} μHa/atom/ps" if is_seen else "no drift seen in this time"
        axis.plot(times_t, line(times_t), color=BRIGHT, linestyle="--", label=label)
    axis.set_ylabel("conserved energy −\nfirst value (μHa)")


def _draw_temperature(axis: Axes, trajectory: Trajectory) -> None:
    """Draw the temperature and its mean."""
    temperature_t = trajectory.observables["temperature"] / KELVIN_IN_HARTREE
    _draw(axis, trajectory, temperature_t, 0)
    mean = temperature_t.mean()
    axis.axhline(mean, color=BRIGHT, linewidth=1.0, linestyle="--", label=f"mean {mean:.0f} K")
    axis.set_ylabel("temperature (K)")


def _draw_dipole(axis: Axes, trajectory: Trajectory) -> None:
    """Draw the components of the dipole moment and its magnitude."""
    factor = observable(DIPOLE[0]).figure_factor
    parts_tv = factor * np.array([trajectory.observables[name] for name in DIPOLE]).T
    for colour, (label, values_t) in enumerate(zip("xyz", parts_tv.T, strict=True), start=1):
        _draw(axis, trajectory, values_t, colour, label)
    _draw(axis, trajectory, np.linalg.norm(parts_tv, axis=1), 0, "magnitude")
    axis.set_ylabel("dipole\n(debye)")
    legend_above(axis)


def _draw_extra(axis: Axes, trajectory: Trajectory, name: str) -> None:
    """Draw one number that the surface reported; an estimate is held until the next, with a mark where it is new."""
    known = observable(name)
    values_t = known.figure_factor * trajectory.observables[name]
    there = np.isfinite(values_t)
    if name in ("error_estimate", "force_error_estimate") and "error_age" in trajectory.observables:
        fresh = there & (trajectory.observables["error_age"] == 0)
        times_t = trajectory.times_fs_t
        axis.step(times_t[there], values_t[there], where="post", color=DARK, linewidth=0.8)
        axis.plot(times_t[fresh], values_t[fresh], linestyle="none", marker="o", markersize=3, color=DARK)
    else:
        _draw(axis, trajectory, values_t, 0)
    sizes_t = values_t[there]
    if sizes_t.min() > 0.0 and sizes_t.max() > DECADES * sizes_t.min():
        axis.set_yscale("log")
    axis.set_ylabel(known.label.replace(" (", "\n(") if len(known.label) > 14 else known.label)


def _finish(axes: list[Axes], trajectory: Trajectory) -> None:
    """Hide panels without curves and label the time axis under the last of each column."""
    used = [axis for axis in axes if axis.lines]
    columns = axes[0].get_gridspec().ncols
    for axis in axes:
        axis.set_visible(axis in used)
    for axis in used[-columns:]:
        axis.set_xlabel(TIME_LABEL)
        axis.xaxis.set_tick_params(labelbottom=True)
    times_t = trajectory.times_fs_t
    axes[0].set_xlim(float(times_t[0]), float(max(times_t[-1], times_t[0] + 1e-3)))
