"""Two trajectories over each other: geometry, energies, and their differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.plots.coordinates import continuous, panels_of, title_of_one
from mpiqmd.plots.style import (
    COLOURS,
    FIRST_LINE,
    SECOND_LINE,
    legend_above,
    panels,
    solver_labels,
    style,
    titled,
)
from mpiqmd.plots.titles import ensemble, formula, functional, shown
from mpiqmd.units import KELVIN_IN_HARTREE

TIME_LABEL = "time (fs)"
PANELS_IN_ONE_COLUMN = 4


def labels_of(first: Trajectory, second: Trajectory) -> list[str]:
    """Return the names of the two curves."""
    solvers = [trajectory.attributes.get("solver") for trajectory in (first, second)]
    return solver_labels(solvers, [f"{trajectory.path.parent.name}" or "." for trajectory in (first, second)])


def labels_with_cost(first: Trajectory, second: Trajectory) -> list[str]:
    """Return the names of the two curves with the time per step of each, and how much quicker the second is."""
    labels = labels_of(first, second)
    seconds = [float(trajectory.attributes.get("seconds_per_step", 0.0)) for trajectory in (first, second)]
    if not all(seconds):
        return labels
    times = [f"{1e3 * second:.2g} ms" if second < 0.1 else f"{second:.2g} s" for second in seconds]
    ratio = seconds[0] / seconds[1]
    faster = f", {ratio:.0f} times faster" if ratio > 2 else ""
    return [f"{labels[0]} ({times[0]} per step)", f"{labels[1]} ({times[1]} per step{faster})"]


def title_of_both(first: Trajectory, second: Trajectory) -> str:
    """Return what two runs have in common: molecule, functional, thermostat and timestep of the first."""
    functionals = [name for name in dict.fromkeys((functional(first), functional(second))) if name]
    return shown(", ".join([formula(first.symbols), *functionals, ensemble(first)]))


def figure_geometry(hifi: Trajectory, rom: Trajectory) -> Figure:
    """Draw bond lengths (bohr), angles and dihedral angles (degrees) against time (fs), a panel each.

    For water this is the paper's Figure 2: L1, L2 and the angle, Hi-Fi and ROM overlaid; the legend says what a step cost.
    """
    both = [[continuous(coordinate) for coordinate in coordinates_of(run, hifi)] for run in (hifi, rom)]
    names = [title_of_one(coordinate) for coordinate in coordinates_of(hifi)]
    with style():
        figure, axes = _coordinate_panels(len(names))
        for axis, title, *curves in zip(axes, names, *both, strict=False):
            for trajectory, values_t, name, line in zip(
                (hifi, rom), curves, labels_with_cost(hifi, rom), (FIRST_LINE, SECOND_LINE), strict=True
            ):
                axis.plot(trajectory.times_fs_t, values_t, label=name, **line)
            axis.set_ylabel(title)
        _finish(axes)
        return titled(figure, title_of_both(hifi, rom))


def figure_energy(hifi: Trajectory, rom: Trajectory) -> Figure:
    """Draw kinetic energy, total energy and temperature against time: the paper's Figure 3.

    Total energies are drawn relative to the first value of the first trajectory, given in the label, so that
    an offset between the two surfaces stays visible.
    """
    reference = float(hifi.observables["total_energy"][0])
    total_label = f"total energy (mHa)\nfrom {reference:.6f} Ha".replace("-", "−")
    rows = (
        ("kinetic_energy", 0.0, 1e3, "kinetic energy\n(mHa)"),
        ("total_energy", reference, 1e3, total_label),
        ("temperature", 0.0, 1 / KELVIN_IN_HARTREE, "temperature\n(K)"),
    )
    with style():
        figure, axes = panels(len(rows), 1.85)
        for axis, (name, origin, factor, label) in zip(axes, rows, strict=True):
            for trajectory, curve, line in zip((hifi, rom), labels_of(hifi, rom), (FIRST_LINE, SECOND_LINE), strict=True):
                values_t = (trajectory.observables[name] - origin) * factor
                axis.plot(trajectory.times_fs_t, values_t, label=curve, **line)
            axis.set_ylabel(label)
        _finish(axes)
        return titled(figure, title_of_both(hifi, rom))


def figure_differences(hifi: Trajectory, rom: Trajectory) -> Figure:
    """Draw the absolute differences of two trajectories with the same frames, on logarithmic axes.

    Every kind of coordinate has a panel (bohr or degrees), and the energies (Ha) have one.
    """
    mine, other = coordinates_of(hifi), coordinates_of(rom, hifi)
    curves = {part.title: [(mine[i].label, mine[i].minus(other[i])) for i in part.coordinates] for part in panels_of(hifi)}
    energies = {"total_energy": "total", "potential_energy": "potential", "kinetic_energy": "kinetic"}
    curves["energies\n(Ha)"] = [(label, hifi.observables[name] - rom.observables[name]) for name, label in energies.items()]
    with style():
        figure, axes = _coordinate_panels(len(curves))
        for axis, (title, differences) in zip(axes, curves.items(), strict=False):
            _draw_logarithmic(axis, hifi.times_fs_t, differences)
            axis.set_ylabel(f"|Δ| {title}")
            if len(differences) > 1:
                legend_above(axis, 4 if len(curves) <= PANELS_IN_ONE_COLUMN else 2)
        _label_times(axes)
        first, second = labels_of(hifi, rom)
        return titled(figure, title_of_both(hifi, rom), f"|Δ| = |{second} − {first}|")


def _draw_logarithmic(axis: Axes, times_t: np.ndarray, curves: Sequence[tuple[str, np.ndarray]]) -> None:
    """Draw absolute values on a logarithmic axis; exact zeros, as at the start, leave gaps."""
    for index, (label, difference_t) in enumerate(curves):
        size_t = np.where(difference_t == 0.0, np.nan, np.abs(difference_t))
        axis.plot(times_t, size_t, label=label, color=COLOURS[index % len(COLOURS)], linewidth=1.1)
    if any(np.any(difference_t) for _, difference_t in curves):
        axis.set_yscale("log")


def _coordinate_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return panels for so many coordinates, in two columns when they are many."""
    if count <= PANELS_IN_ONE_COLUMN:
        return panels(max(count, 1), 1.85)
    return panels((count + 1) // 2, 1.6, 2)


def _finish(axes: list[Axes]) -> None:
    """Label the time axis, hide unused panels and add the legend above the first."""
    _label_times(axes)
    columns = axes[0].get_gridspec().ncols
    legend_above(axes[columns - 1], 1 if columns > 1 else 2)


def _label_times(axes: list[Axes]) -> None:
    """Label the time axis under the last panel of each column, and hide panels without curves."""
    used = [axis for axis in axes if axis.lines]
    for axis in axes:
        axis.set_visible(axis in used)
    for axis in used[-axes[0].get_gridspec().ncols :]:
        axis.set_xlabel(TIME_LABEL)
        axis.xaxis.set_tick_params(labelbottom=True)
    if used:
        times_t = np.concatenate([line.get_xdata() for line in used[0].lines])
        used[0].set_xlim(float(times_t.min()), float(max(times_t.max(), times_t.min() + 1e-3)))
