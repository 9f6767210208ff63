"""The figures of the page of accuracy and cost, drawn from the records in the style of all figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from docs.pages.records import Record, taking_apart
from mpiqmd.plots.style import ACCENT, BRIGHT, DARK, GREY, legend_above, panels, save_figure, style
from mpiqmd.units import ATOMIC_TIME_IN_FS
from run.bench import drawing
from run.scaling.figure import draw as scaling_figure


def drawn(name: str, record: Record) -> list[tuple[str, str]]:
    """Return stem and caption of the figures that a record gives.  Not collective."""
    if name == "scaling":
        return [("scaling", "Efficiency, messages, memory and extrapolated time over ranks")]
    if name == "reduced":
        return [("reduced-decay", CAPTIONS["reduced"])] if "decay" in record else []
    return [(name, CAPTIONS[name])] if name in CAPTIONS else []


CAPTIONS = {
    "accuracy": "Errors of energy and forces against spacing, and of the energy against time",
    "ripple": "Range of the energy as water moves through the grid",
    "hifi-drift": "What tolerance and starting orbitals add to the energy of Hi-Fi dynamics",
    "reduced": "Errors of the reduced model against the number of modes",
    "published": "Bond lengths and angle of the published case, full and reduced, and what reduced ones differ by",
    "windows": "Energy along the coordinate of windows, models and full solver, and force errors of frames along it",
    "potentials": "Force errors of reduced models and potentials against full solutions: rms, and lighter the largest",
}


def draw_all(records: dict[str, Record], folder: Path) -> list[Path]:
    """Draw the figures of all records as PNG and return their paths.  Raises RecordError for a malformed record."""
    paths = []
    for name, record in records.items():
        for stem, _ in drawn(name, record):
            with taking_apart(name):
                if name == "scaling":
                    made = scaling_figure(record["scaling"], record["model"], folder)
                else:
                    with style():
                        figure = DRAWINGS[name](record)
                    made = save_figure(figure, folder / stem)
            for path in made:
                # A forge shows the PNG; the PDF would only make the repository larger.
                path.unlink() if path.suffix == ".pdf" else paths.append(path)
    return paths


def accuracy_figure(record: Record) -> Figure:
    """Errors against spacing and time, on logarithmic axes."""
    return drawing.accuracy_figure(record["kinds"])


def ripple_figure(record: Record) -> Figure:
    """Ripple of every case as bars on a logarithmic axis."""
    cases = record["cases"]
    figure, (axis,) = panels(1, 0.5 + 0.32 * len(cases))
    kinds = {"x": DARK, "diagonal": ACCENT, "rotation": BRIGHT}
    for offset, (kind, colour) in zip((-0.27, 0.0, 0.27), kinds.items(), strict=True):
        there = [(place, case[kind]["ripple"]) for place, case in enumerate(cases.values()) if kind in case]
        places, ripples = np.array(there).T if there else (np.empty(0), np.empty(0))
        axis.barh(places + offset, 1e3 * ripples, height=0.25, color=colour, label=kind)
    axis.set_yticks(range(len(cases)), list(cases))
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("range of the energy (mHa)")
    legend_above(axis)
    return figure


def drift_figure(record: Record) -> Figure:
    """Total energy of every run against time minus that of the first, by tolerance from top to bottom."""
    reference = np.array(record["rows"][0]["energies"], float)
    tolerances = sorted({row["tolerance"] for row in record["rows"][1:]})
    colours = dict(zip(("geometry", "polynomial", "aspc", "none"), (DARK, BRIGHT, ACCENT, GREY), strict=True))
    figure, axes = panels(len(tolerances), 1.7)
    for axis, tolerance in zip(axes, tolerances, strict=True):
        for row in (row for row in record["rows"][1:] if row["tolerance"] == tolerance):
            energies = np.array(row["energies"], float) - reference
            picoseconds = 1e-3 * record["timestep"] * ATOMIC_TIME_IN_FS * np.arange(len(energies))
            axis.plot(picoseconds, 1e6 * (energies - energies[0]), linewidth=0.6, color=colours[row["rule"]], label=row["rule"])
        axis.set_ylabel(f"microHa, to {tolerance:.0e} Ha")
        axis.legend(fontsize=7, loc="upper left", ncols=4)
    axes[-1].set_xlabel("time (ps)")
    return figure


def decay_figure(record: Record) -> Figure:
    """Errors of energy and forces against the number of modes."""
    return drawing.decay_figure(record["decay"])


def potentials_figure(record: Record) -> Figure:
    """Force errors against full solutions, a panel for each molecule."""
    return drawing.potentials_figure(record["molecules"])


def windows_figure(record: Record) -> Figure:
    """Profile and errors along the coordinate of each molecule's windows."""
    return drawing.windows_figure(record["windows"])


DRAWINGS = {
    "accuracy": accuracy_figure,
    "ripple": ripple_figure,
    "hifi-drift": drift_figure,
    "reduced": decay_figure,
    "published": drawing.published_figure,
    "windows": windows_figure,
    "potentials": potentials_figure,
}
"""What draws each record; the scaling study has a module of its own."""
