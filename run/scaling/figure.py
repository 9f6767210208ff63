"""The figure of the scaling study: efficiency, share of messages, memory per rank, and the extrapolation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mpiqmd.plots.style import ACCENT, BRIGHT, DARK, GREY, WIDTH, save_figure, style

LOOKS = {
    "strong": {"color": DARK, "linestyle": "-", "marker": "o", "label": "strong, 64³"},
    "weak": {"color": BRIGHT, "linestyle": (0, (4.0, 2.0)), "marker": "s", "label": "weak, 48³ a rank"},
    "multigrid": {"color": ACCENT, "linestyle": ":", "marker": "^", "label": "strong, multigrid"},
}
COLOURS = (DARK, BRIGHT, ACCENT, GREY)


def draw(rows: list[dict[str, Any]], model: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``scaling.png`` and ``scaling.pdf`` and return their paths."""
    with style():
        figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(2, 2).ravel())
        for axis in axes:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:.0f}")
        _curves(axes[0], rows, "efficiency", 100.0, "efficiency (%)", LOOKS)
        axes[0].axhline(100.0, color=GREY, linewidth=0.8)
        axes[0].set_ylim(0.0, 115.0)
        axes[0].legend()
        metered = {study: look for study, look in LOOKS.items() if study != "multigrid"}
        _curves(axes[1], rows, "message_share", 100.0, "share of messages (%)", metered)
        _curves(axes[2], rows, "memory", 1e-6, "memory per rank (MB)", LOOKS)
        axes[2].set_ylim(bottom=0.0)
        _extrapolation(axes[3], model["extrapolated"])
        for axis in axes:
            axis.set_xlabel("ranks")
    return save_figure(figure, folder / "scaling")


def _curves(axis: Axes, rows: list[dict[str, Any]], name: str, unit: float, label: str, looks: dict[str, Any]) -> None:
    for study, look in looks.items():
        chosen = [row for row in rows if row["study"] == study]
        if chosen:
            axis.plot([row["ranks"] for row in chosen], [unit * row[name] for row in chosen], **look)
    axis.set_ylabel(label)


def _extrapolation(axis: Axes, tables: dict[str, Any]) -> None:
    """Predicted seconds per iteration: solid direct, dashed multigrid."""
    for colour, (name, table) in zip(COLOURS, tables.items(), strict=False):
        ranks = [row["ranks"] for row in table["rows"]]
        axis.plot(ranks, [row["direct"] for row in table["rows"]], color=colour, label=name.split(",")[0].replace("^3", "³"))
        axis.plot(ranks, [row["multigrid"] for row in table["rows"]], color=colour, linestyle="--")
    axis.set_yscale("log")
    axis.set_ylabel("predicted s per iteration")
    axis.set_ylim(bottom=1e-5)
    axis.legend(title="direct; dashed: multigrid", title_fontsize=8, fontsize=8, ncols=2, loc="lower left")
