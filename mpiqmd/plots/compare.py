"""Two trajectories over each other: geometry, energies, and their differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import InternalCoordinate, internal_coordinates
from mpiqmd.plots.style import (
    ACCENT,
    BRIGHT,
    DARK,
    FIRST_LINE,
    GREY,
    SECOND_LINE,
    legend_above,
    panels,
    solver_labels,
    style,
)
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


def figure_geometry(hifi: Trajectory, rom: Trajectory) -> Figure:
    """Draw bond lengths (bohr) and, for a bent triatomic molecule, the angle (degrees) against time (fs).

    For water this is the paper's Figure 2: L1, L2 and the angle, Hi-Fi and ROM overlaid; the legend says what a step cost.
    """
    pairs = list(zip(*_coordinates(hifi, rom), strict=True))
    with style():
        figure, axes = _coordinate_panels(len(pairs))
        for axis, (first, second) in zip(axes, pairs, strict=False):
            for trajectory, coordinate, label, line in zip(
                (hifi, rom), (first, second), labels_with_cost(hifi, rom), (FIRST_LINE, SECOND_LINE), strict=True
            ):
                axis.plot(trajectory.times_fs_t, coordinate.values_t, label=label, **line)
            axis.set_ylabel(f"{first.label} ({first.unit})")
        _finish(axes)
    return figure


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
            for trajectory, curve, line in zip(
                (hifi, rom), labels_of(hifi, rom), (FIRST_LINE, SECOND_LINE), strict=True
            ):
                values_t = (trajectory.observables[name] - origin) * factor
                axis.plot(trajectory.times_fs_t, values_t, label=curve, **line)
            axis.set_ylabel(label)
        _finish(axes)
    return figure


def figure_differences(hifi: Trajectory, rom: Trajectory) -> Figure:
    """Draw the absolute differences of two trajectories with the same frames, on logarithmic axes.

    Bond lengths (bohr), angle (degrees), and energies (Ha) have a panel each.
    """
    times_t = hifi.times_fs_t
    coordinates = list(zip(*_coordinates(hifi, rom), strict=True))
    curves = {
        unit: [(one.label, one.minus(other)) for one, other in coordinates if one.unit == unit]
        for unit in dict.fromkeys(one.unit for one, _ in coordinates)
    }
    energies = {"total_energy": "total", "potential_energy": "potential", "kinetic_energy": "kinetic"}
    curves["Ha"] = [
        (label, hifi.observables[name] - rom.observables[name]) for name, label in energies.items()
    ]
    names = {"bohr": "bond lengths (bohr)", "degrees": "angle (degrees)", "Ha": "energies (Ha)"}
    with style():
        figure, axes = panels(len(curves), 1.85)
        for axis, (unit, differences) in zip(axes, curves.items(), strict=True):
            _draw_logarithmic(axis, times_t, differences)
            axis.set_ylabel(f"|difference|\n{names[unit]}")
        axes[-1].set_xlabel(TIME_LABEL)
        axes[-1].set_xlim(*_limits(times_t))
        first, second = labels_of(hifi, rom)
        figure.suptitle(f"{second} against {first}", fontsize=10)
    return figure


def _draw_logarithmic(axis: Axes, times_t: np.ndarray, curves: Sequence[tuple[str, np.ndarray]]) -> None:
    """Draw absolute values on a logarithmic axis; exact zeros, as at the start, leave gaps."""
    colours = (DARK, BRIGHT, ACCENT, GREY)
    for index, (label, difference_t) in enumerate(curves):
        size_t = np.where(difference_t == 0.0, np.nan, np.abs(difference_t))
        axis.plot(times_t, size_t, label=label, color=colours[index % len(colours)], linewidth=1.1)
    if any(np.any(difference_t) for _, difference_t in curves):
        axis.set_yscale("log")
    if len(curves) > 1:
        axis.legend(loc="lower right", ncols=min(4, len(curves)), fontsize=8)


def _coordinates(first: Trajectory, second: Trajectory) -> list[list[InternalCoordinate]]:
    """Return the same bond lengths and angles of both trajectories; the first one's first frame says which."""
    reference_av = first.positions_tav[0]
    return [
        internal_coordinates(trajectory.symbols, trajectory.positions_tav, reference_av=reference_av)
        for trajectory in (first, second)
    ]


def _coordinate_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return panels for so many coordinates, in two columns when they are many."""
    if count <= PANELS_IN_ONE_COLUMN:
        return panels(max(count, 1), 1.85)
    return panels((count + 1) // 2, 1.6, 2)


def _finish(axes: list[Axes]) -> None:
    """Label the time axis, remove unused panels and add the legend."""
    used = [axis for axis in axes if axis.lines]
    for axis in axes:
        if axis not in used:
            axis.set_visible(False)
    for axis in used[-2:] if len(used) > PANELS_IN_ONE_COLUMN else used[-1:]:
        axis.set_xlabel(TIME_LABEL)
        axis.xaxis.set_tick_params(labelbottom=True)
    if used:
        times = np.concatenate([line.get_xdata() for line in used[0].lines])
        used[0].set_xlim(*_limits(times))
        legend_above(used[0])


def _limits(times_t: np.ndarray) -> tuple[float, float]:
    """Return the range of the time axis, not empty even for a single frame."""
    return float(times_t.min()), float(max(times_t.max(), times_t.min() + 1e-3))
