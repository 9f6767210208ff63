"""Figures of benchmark records, for the benchmarks that make the records and the documentation that keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.plots.style import ACCENT, BRIGHT, COLOURS, DARK, GREY, legend_above, panels
from mpiqmd.units import HARTREE_IN_KCAL_PER_MOL

Rows = list[dict[str, float]]

LOOKS = {
    "order 4": {"color": GREY, "marker": "v", "linestyle": ":"},
    "order 8": {"color": ACCENT, "marker": "s", "linestyle": "-."},
    "order 12": {"color": DARK, "marker": "o", "linestyle": "-"},
    "order 12, finer density": {"color": BRIGHT, "marker": "D", "linestyle": "-"},
    "order 12, doubled density": {"color": BRIGHT, "marker": "^", "linestyle": "--"},
}
"""Of the kinds of ``accuracy.py``."""


def accuracy_figure(kinds: dict[str, Rows]) -> Figure:
    """Return errors of energy and forces against the spacing, and of the energy against CPU time.  Not collective."""
    figure, axes = panels(1, 2.7, 3, sharex=False)
    for kind, rows in kinds.items():
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        look = LOOKS[kind] | {"markersize": 4, "label": kind}
        axes[0].loglog(columns["spacing"], 1e3 * columns["energy_error"], **look)
        axes[1].loglog(columns["spacing"], 1e3 * columns["force_error"], **look)
        axes[2].loglog(columns["cpu_seconds"], 1e3 * columns["energy_error"], **look)
    names = ("spacing (bohr)", "energy error (mHa)"), ("spacing (bohr)", "force error (mHa/bohr)")
    for axis, (across, up) in zip(axes, (*names, ("CPU time (s)", "energy error (mHa)")), strict=True):
        axis.set_xlabel(across)
        axis.set_ylabel(up)
    for axis in axes[:2]:
        axis.set_xticks([0.15, 0.2, 0.3], ["0.15", "0.2", "0.3"])
        axis.minorticks_off()
    axes[1].set_ylim(top=50.0 * axes[1].get_ylim()[1])  # room for the legend
    axes[1].legend(fontsize=6, loc="upper left")
    return figure


def decay_figure(decay: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """Return errors of energy and forces of a reduced model against its number of modes.  Not collective."""
    modes = [int(name) for name in decay]
    figure, axes = panels(1, 2.4, 2, sharex=False)
    for axis, name, unit in zip(axes, ("energy", "force"), ("Ha", "Ha/bohr"), strict=True):
        for against, look in (("hifi", LOOKS["order 12"]), ("grid", LOOKS["order 12, doubled density"])):
            label = {"hifi": "against Hi-Fi", "grid": "against the same modes on the grid"}[against]
            axis.semilogy(modes, [found[against][name] for found in decay.values()], **look, markersize=4, label=label)
        axis.set_xlabel("modes")
        axis.set_ylabel(f"largest {name} error ({unit})")
    axes[0].legend(fontsize=7)
    return figure


MARKERS = "Dos^vPX*"
"""Of the methods in a figure of potentials, in the order of their colours."""
LARGEST = {"alpha": 0.4, "linestyle": "--", "markerfacecolor": "none"}
"""Look of a curve of largest errors beside that of their rms."""


def potentials_figure(molecules: list[dict[str, Any]]) -> Figure:
    """Return force errors against full solutions, a panel for each molecule of the record.  Not collective."""
    columns = min(2, len(molecules))
    figure, axes = panels(-(-len(molecules) // columns), 2.4, columns, sharex=False)
    for axis, molecule in zip(axes, molecules, strict=False):
        _draw_potentials(axis, molecule)
    for axis in axes[len(molecules) :]:
        axis.set_axis_off()
    used = axes[: len(molecules)]
    limits = [axis.get_ylim() for axis in used]
    for axis in used:
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for axis in used[-columns:]:
        axis.set_xlabel("full solutions")
    for axis in used[::columns]:
        axis.set_ylabel("force error (Ha/bohr)")
    _legend_between(used[0], molecules[0]["rows"])
    return figure


def windows_figure(cards: list[dict[str, Any]]) -> Figure:
    """Return the profile along the coordinate and the force errors of frames along it, a row for each molecule."""
    figure, axes = panels(len(cards), 2.2, 2, sharex=False)
    for card, (left, right) in zip(cards, np.array(axes, object).reshape(-1, 2), strict=True):
        profile, warm = card["profile"], card["warm"]
        angles = np.degrees(profile["values"])
        left.plot(angles, HARTREE_IN_KCAL_PER_MOL * np.array(profile["models"]), color=DARK, label="models")
        left.plot(angles, HARTREE_IN_KCAL_PER_MOL * np.array(profile["full"]), "o", markersize=3, color=ACCENT, label="full")
        left.set_ylabel(f"{card['formula']}, kcal/mol")
        differences = np.abs(np.array(profile["models"]) - np.array(profile["full"]))
        right.semilogy(
            np.degrees(warm["values"]), warm["force_largest_f"], ".", markersize=3, color=ACCENT, label="forces, Ha/bohr"
        )
        right.semilogy(angles, np.maximum(differences, 1e-9), color=DARK, label="energy of the profile, Ha")
        right.set_ylabel("error")
    for axis in axes[-2:]:
        axis.set_xlabel("angle (degrees)")
    legend_above(axes[0])
    legend_above(axes[1])
    return figure


NAMES = {"hifi": "Hi-Fi", "grid": "reduced, on the grid", "learned": "reduced, learned grid"}


LATE = 60.0
"""Last femtoseconds of the published case that are drawn over each other, where runs differ most."""


def published_figure(record: dict[str, Any]) -> Figure:
    """Return the last of full and reduced dynamics over each other, and how reduced ones come to differ, a row a coordinate.

    Not collective.
    """
    names, times_t, series = record["names"], np.array(record["time_fs"]), record["series"]
    looks = {
        "hifi": {"color": DARK, "linewidth": 1.7},
        "grid": {"color": BRIGHT, "linewidth": 0.9},
        "learned": {"color": ACCENT, "linewidth": 0.9, "linestyle": "--"},
    }
    late_t = times_t >= times_t[-1] - LATE
    figure, axes = panels(len(names), 1.3, 2, sharex=False)
    for name, left, right in zip(names, axes[::2], axes[1::2], strict=True):
        for run, curves in series.items():
            values_t = np.array(curves[name])
            left.plot(times_t[late_t], values_t[late_t], label=NAMES[run], **looks[run])
            if run != "hifi":
                right.plot(times_t, values_t - np.array(series["hifi"][name]), label=NAMES[run], **looks[run])
        left.set_ylabel(f"{name.replace('_', ' ')}\n({record['differences']['grid'][name]['unit']})")
        right.set_ylabel("reduced - Hi-Fi")
    axes[0].set_title(f"the last {LATE:.0f} fs", loc="left")
    for axis in axes[-2:]:
        axis.set_xlabel("time (fs)")
    above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "columnspacing": 1.0}
    axes[1].legend(*axes[0].get_legend_handles_labels(), ncols=3, fontsize=7, **above)
    return figure


def _legend_between(axis: Axes, rows: Rows) -> None:
    """Put the legend between the first row, the reduced model, and the best of the others, which are far from it."""
    first, *others = (row["force_rms"] for row in rows)
    axis.plot([], [], color=GREY, marker="o", markersize=4, label="largest", **LARGEST)
    middle = (first * min(others, default=first)) ** 0.5
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(0.0, middle), bbox_transform=axis.get_yaxis_transform())


def _draw_potentials(axis: Axes, molecule: dict[str, Any]) -> None:
    """Draw rms and, lighter, largest force errors of every method of a molecule; the first one's rms goes right across."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for row in molecule["rows"]:
        methods.setdefault(row["method"], []).append(row)
    first = molecule["rows"][0]
    axis.axhline(first["force_rms"], color=COLOURS[0], linewidth=0.8)
    for (method, rows), colour, marker in zip(methods.items(), COLOURS, MARKERS, strict=False):
        rows.sort(key=lambda row: row["solves"])
        solves, look = [row["solves"] for row in rows], {"color": colour, "marker": marker, "markersize": 4}
        axis.loglog(solves, [row["force_rms"] for row in rows], **look, label=method)
        axis.loglog(solves, [row["force_largest"] for row in rows], **look | LARGEST)
    if molecule["orientation_ripple"] is not None:
        axis.axhline(molecule["orientation_ripple"], color=GREY, linestyle=":", label="turned in the grid")
    ticks = sorted({row["solves"] for row in molecule["rows"]})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.margins(x=0.15)
    axis.set_title(molecule["formula"], loc="left")
