"""One style for all figures: journal width, readable without colour, vector fonts in the PDF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mpiqmd.datafiles import replacing

WIDTH = 6.8
"""Width of a figure in inches: two columns of a journal."""

RESOLUTION = 300

DARK = "#1c2b4a"
BRIGHT = "#f26419"
ACCENT = "#2a9d8f"
GREY = "#8a8f98"
COLOURS = (DARK, BRIGHT, ACCENT, "#8e5ea2", "#c9a227", "#4f9fd8", "#a23b49", GREY)
"""Curves of one panel, in this order."""

FIRST_LINE = {"color": DARK, "linewidth": 1.7, "linestyle": "-"}
"""The reference, usually Hi-Fi: dark and solid."""

SECOND_LINE = {"color": BRIGHT, "linewidth": 1.5, "linestyle": (0, (4.0, 2.0))}
"""What is compared with it, usually ROM: bright and dashed, so that both show where they coincide."""

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "legend.framealpha": 1.0,
    "legend.edgecolor": "none",
    "legend.handlelength": 2.6,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}

LABELS = {"hifi": "Hi-Fi", "rom": "ROM"}


@contextmanager
def style() -> Iterator[None]:
    """Make and save figures in the ``with`` block in our style, whatever a ``matplotlibrc`` there or at home asks for."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def panels(n_rows: int, height: float, n_columns: int = 1, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure of stacked panels, as a rule with one time axis, and its axes in reading order.

    Parameters
    ----------
    n_rows, n_columns
        Number of panels down and across.
    height
        Height of one panel, inches.
    sharex
        Whether the panels share the horizontal axis.
    """
    figure = Figure(figsize=(WIDTH, height * n_rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, n_columns, sharex=sharex, squeeze=False)
    figure.align_ylabels()
    return figure, list(grid.ravel())


def legend_above(axes: Axes, columns: int = 4) -> None:
    """Put a legend above a panel, at its right end, where it hides no data; nothing without labels.

    ``columns`` entries stand beside each other.
    """
    n_curves = len(axes.get_legend_handles_labels()[1])
    if n_curves:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(n_curves, columns), borderaxespad=0.2, fontsize=8)


def titled(figure: Figure, *lines: str) -> Figure:
    """Say above a figure what it shows, and return it; empty lines are left out."""
    figure.suptitle("\n".join(line for line in lines if line), fontsize=9.5)
    return figure


def solver_labels(solvers: Sequence[object], names: Sequence[str]) -> list[str]:
    """Return what the curves are called: by solver, with names in brackets where the solvers are the same."""
    labels = [LABELS.get(str(solver), str(solver or "trajectory")) for solver in solvers]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} ({name})" for label, name in zip(labels, names, strict=True)]


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png`` (300 dots per inch) and ``stem.pdf``, and return their paths.  Not collective.

    Raises DataFileError where there is no room, or no permission.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf")]
    with style():
        for path in paths:
            # A date in the file would make every run's figure differ.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
            with replacing(path) as beside:
                figure.savefig(beside, dpi=RESOLUTION, metadata=metadata, format=path.suffix[1:])
    return paths
