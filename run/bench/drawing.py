"""Figures of benchmark records, for the benchmarks that make the records and the documentation that keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mpiqmd.plots.style import ACCENT, BRIGHT, COLOURS, DARK, GREY, legend_above, panels

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


PANELS = (
    ("solves", "force_rms", "full solutions", "rms force error (Ha/bohr)"),
    ("solves", "force_largest", "full solutions", "largest force error (Ha/bohr)"),
    ("seconds_a_step", "force_rms", "time of a step (s)", "rms force error (Ha/bohr)"),
)
"""Of the figure of potentials: what is drawn across and up, and the words at the axes."""


def potentials_figure(record: dict[str, Any]) -> Figure:
    """Return force errors against full solutions, rms and largest, and against the time of a step.  Not collective."""
    figure, axes = panels(1, 2.7, len(PANELS), sharex=False)
    methods: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        methods.setdefault(row["method"], []).append(row)
    for (method, rows), colour, marker in zip(methods.items(), COLOURS, "osD^vPX*", strict=False):
        rows.sort(key=lambda row: row["solves"])
        for axis, (across, up, _, _) in zip(axes, PANELS, strict=True):
            curve = [row[across] for row in rows], [row[up] for row in rows]
            axis.loglog(*curve, color=colour, marker=marker, markersize=4, label=method)
    for axis, (_, _, below, beside) in zip(axes, PANELS, strict=True):
        axis.set_xlabel(below)
        axis.set_ylabel(beside)
    if record["orientation_ripple"] is not None:
        for axis in (axes[0], axes[2]):
            axis.axhline(record["orientation_ripple"], color=GREY, linestyle=":", label="turned in the grid")
    ticks = sorted({row["solves"] for row in record["rows"]})
    for axis in axes[:2]:
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.margins(x=0.15)
    seconds = np.log10([row["seconds_a_step"] for row in record["rows"]])
    axes[2].set_xlim(10.0 ** np.floor(seconds.min()), 10.0 ** np.ceil(seconds.max() + 1e-9))
    axes[0].set_ylim(top=30.0 * axes[0].get_ylim()[1])  # room for the legend
    axes[0].legend(fontsize=7, loc="upper right")
    return figure


NAMES = {"hifi": "Hi-Fi", "grid": "reduced, on the grid", "learned": "reduced, learned grid"}


def published_figure(record: dict[str, Any]) -> Figure:
    """Return the coordinates of full and reduced dynamics over each other, and what reduced ones differ by below each.

    Not collective.
    """
    names, times_t, series = record["names"], np.array(record["time_fs"]), record["series"]
    looks = {
        "hifi": {"color": DARK, "linewidth": 1.7},
        "grid": {"color": BRIGHT},
        "learned": {"color": ACCENT, "linestyle": "--"},
    }
    figure, axes = panels(2, 1.9, len(names))
    for place, name in enumerate(names):
        above, below = axes[place], axes[len(names) + place]
        for run, curves in series.items():
            values_t = np.array(curves[name])
            above.plot(times_t[: len(values_t)], values_t, label=NAMES[run], **looks[run])
            if run != "hifi":
                below.plot(times_t[: len(values_t)], values_t - np.array(series["hifi"][name])[: len(values_t)], **looks[run])
        unit = record["differences"]["grid"][name]["unit"]
        above.set_title(f"{name.replace('_', ' ')} ({unit})", fontsize=8)
        below.set_xlabel("time (fs)")
    axes[0].set_ylabel("coordinate")
    axes[len(names)].set_ylabel("reduced - Hi-Fi")
    legend_above(axes[0])
    return figure
