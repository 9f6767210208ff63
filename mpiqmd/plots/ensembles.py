"""Several runs of one molecule together: means with their spread, and distributions of its coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.plots.compare import title_of_both
from mpiqmd.plots.coordinates import TURN, Panel, panels_of
from mpiqmd.plots.distribution import common_bins, distance_histogram
from mpiqmd.plots.style import BRIGHT, DARK, FIRST_LINE, SECOND_LINE, legend_above, panels, style, titled
from mpiqmd.plots.titles import title_of
from mpiqmd.units import KELVIN_IN_HARTREE

COLUMNS = 2


def figure_replicas(runs: Sequence[Trajectory]) -> Figure:
    """Draw temperature, potential and conserved energy of replicas against time: mean, and the band of their deviation."""
    frames = min(len(run) for run in runs)
    times_t = runs[0].times_fs_t[:frames]
    rows = (
        ("temperature", 1.0 / KELVIN_IN_HARTREE, "temperature (K)"),
        ("potential_energy", 1e3, "potential energy −\nfirst value (mHa)"),
        ("conserved_energy", 1e6, "conserved energy −\nfirst value (μHa)"),
    )
    with style():
        figure, axes = panels(len(rows), 1.9)
        for axis, (name, factor, label) in zip(axes, rows, strict=True):
            values_rt = factor * np.array([run.observables[name][:frames] for run in runs])
            if name != "temperature":
                values_rt -= values_rt[:, :1]
            _draw_band(axis, times_t, values_rt)
            axis.set_ylabel(label)
        legend_above(axes[0])
        axes[-1].set_xlabel("time (fs)")
        axes[-1].set_xlim(float(times_t[0]), float(max(times_t[-1], times_t[0] + 1e-3)))
        return titled(figure, f"{len(runs)} replicas of {title_of(runs[0])}")


def _draw_band(axis: Axes, times_t: np.ndarray, values_rt: np.ndarray) -> None:
    mean_t, deviation_t = values_rt.mean(axis=0), values_rt.std(axis=0)
    axis.plot(times_t, mean_t, color=DARK, linewidth=1.1, label="mean of the replicas")
    axis.fill_between(
        times_t, mean_t - deviation_t, mean_t + deviation_t, color=BRIGHT, alpha=0.3, linewidth=0, label="± deviation"
    )


def figure_distributions(ensembles: Mapping[str, Sequence[Trajectory]]) -> Figure | None:
    """Draw how every kind of coordinate is distributed in one or two ensembles; None for a single atom.

    Parameters
    ----------
    ensembles
        Runs of one molecule by what their curve is called; the first is drawn solid, the second filled and dashed.
    """
    reference = next(iter(ensembles.values()))[0]
    parts = panels_of(reference)
    if not parts:
        return None
    with style():
        columns = min(COLUMNS, len(parts))
        figure, axes = panels(-(-len(parts) // columns), 2.0, columns, sharex=False)
        for axis, part in zip(axes, parts, strict=False):
            _draw_distributions(axis, {name: pooled(runs, part, reference) for name, runs in ensembles.items()})
            unit = next(iter(part.coordinates.values())).unit
            axis.set_xlabel(part.title.replace("\n", " "))
            axis.set_ylabel(f"density (1/{unit.removesuffix('s')})")
        for axis in axes[len(parts) :]:
            axis.set_visible(False)
        if len(ensembles) > 1:
            legend_above(axes[columns - 1])
        others = [runs[0] for runs in ensembles.values()]
        title = title_of(reference) if len(others) == 1 else title_of_both(*others)
        return titled(figure, title, _counts(ensembles))


def pooled(runs: Sequence[Trajectory], part: Panel, reference: Trajectory) -> np.ndarray:
    """Return the values of a panel's coordinates in all frames of all runs; dihedral angles about their mean.

    Shape (values,), in the coordinates' unit, those that are not finite left out.  Not collective.
    """
    found = [coordinates_of(run, reference) for run in runs]
    values = np.concatenate([coordinates[index].values_t for coordinates in found for index in part.coordinates])
    values = values[np.isfinite(values)]
    if next(iter(part.coordinates.values())).kind != "dihedral" or not len(values):
        return values
    mean = np.degrees(np.angle(np.exp(1j * np.radians(values)).mean()))
    return mean + 0.5 * TURN - (mean + 0.5 * TURN - values) % TURN


def _draw_distributions(axis: Axes, samples: Mapping[str, np.ndarray]) -> None:
    edges_b = common_bins(samples)
    centres_b = 0.5 * (edges_b[1:] + edges_b[:-1])
    for (name, values), line in zip(samples.items(), (FIRST_LINE, SECOND_LINE), strict=False):
        density_b = distance_histogram(values, edges_b)
        axis.plot(centres_b, density_b, label=name, **line)
        axis.fill_between(centres_b, density_b, color=line["color"], alpha=0.12, linewidth=0)
    axis.set_xlim(edges_b[0], edges_b[-1])
    axis.set_ylim(bottom=0)


def _counts(ensembles: Mapping[str, Sequence[Trajectory]]) -> str:
    """Return how many runs and frames each ensemble has."""
    parts = [f"{len(runs)} runs, {sum(map(len, runs))} frames" for runs in ensembles.values()]
    names = [f"{name}: " if len(ensembles) > 1 else "" for name in ensembles]
    return "; ".join(name + part for name, part in zip(names, parts, strict=True))
