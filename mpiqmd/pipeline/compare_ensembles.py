"""``mpiqmd compare`` where one side is a ``replicas.h5``: not frame by frame, but distributions and means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.md.comparable import hints
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import InternalCoordinate
from mpiqmd.plots.compare import labels_of
from mpiqmd.plots.coordinates import coordinates_of
from mpiqmd.plots.ensembles import figure_distributions
from mpiqmd.plots.style import save_figure
from mpiqmd.units import KELVIN_IN_HARTREE

Runs = Sequence[Trajectory]


def compare_ensembles(first: Runs, second: Runs, folder: Path) -> dict[str, object]:
    """Return means of both sides with their standard errors over the runs, and draw distributions.  One rank.

    Raises
    ------
    DataFileError
        The molecules differ, or a run has no frames.
    """
    require_comparable([*first, *second])
    labels = labels_of(first[0], second[0])
    figure = figure_distributions(dict(zip(labels, (first, second), strict=True)))
    paths = [] if figure is None else save_figure(figure, folder / "figure-distributions")
    return {
        "labels": labels,
        "runs": [len(first), len(second)],
        "frames": [sum(map(len, first)), sum(map(len, second))],
        "means": means_of_both(first, second),
        "hints": hints(*(_without_seed(runs[0]) for runs in (first, second))),
        "figures": [str(path) for path in paths],
    }


def _without_seed(run: Trajectory) -> Trajectory:
    """Return a run without its seed, in which replicas differ by intention."""
    return replace(run, attributes={name: value for name, value in run.attributes.items() if name != "seed"})


def require_comparable(runs: Runs) -> None:
    """Raise DataFileError unless all runs are of the same atoms and have frames."""
    for run in runs:
        if run.symbols != runs[0].symbols or not len(run):
            raise DataFileError(
                f"{run.path} has {len(run)} frames of {' '.join(run.symbols)}, {runs[0].path} is of "
                f"{' '.join(runs[0].symbols)}; runs of the same atoms in the same order, with frames, are needed. Choose "
                "others."
            )


def means_of_both(first: Runs, second: Runs) -> dict[str, dict[str, object]]:
    """Return mean, standard error over the runs (None for one run) and unit of every coordinate, energy and temperature."""
    both = [_means(runs, first[0]) for runs in (first, second)]
    return {
        name: {"means": [one.mean() for one in values], "errors": [_error(one) for one in values], "unit": unit}
        for (name, unit), *values in zip(both[0], *(side.values() for side in both), strict=True)
    }


def _means(runs: Runs, reference: Trajectory) -> dict[tuple[str, str], np.ndarray]:
    """Return the mean of each run, by name and unit, shape (runs,)."""
    found = [coordinates_of(run, reference) for run in runs]
    means = {
        (one.key, one.unit): np.array([_mean(coordinates[index], one) for coordinates in found])
        for index, one in enumerate(coordinates_of(reference))
    }
    for name, unit, factor in (
        ("potential_energy", "Ha", 1.0),
        ("kinetic_energy", "Ha", 1.0),
        ("temperature", "K", 1.0 / KELVIN_IN_HARTREE),
    ):
        means[name, unit] = factor * np.array([run.observables[name].mean() for run in runs])
    return means


def _mean(coordinate: InternalCoordinate, reference: InternalCoordinate) -> float:
    """Return the mean over the frames; of a dihedral angle the one nearest to the reference's first value."""
    if coordinate.kind != "dihedral":
        return float(coordinate.values_t.mean())
    start = reference.values_t[0]
    turns = np.exp(1j * np.radians(coordinate.values_t - start))
    return float(start + np.degrees(np.angle(np.nanmean(turns))))


def _error(means: np.ndarray) -> float | None:
    return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None


def table_of_means(result: dict[str, Any]) -> list[str]:
    """Return the lines printed for the user."""
    first, second = result["labels"]
    runs, frames = result["runs"], result["frames"]
    lines = [f"{first}: {runs[0]} runs, {frames[0]} frames; {second}: {runs[1]} runs, {frames[1]} frames", ""]
    lines.append(f"  {'mean':22s} {first[:22]:>24s} {second[:22]:>24s}  unit")
    for name, entry in result["means"].items():
        numbers = [_with_error(mean, error) for mean, error in zip(entry["means"], entry["errors"], strict=True)]
        lines.append(f"  {name.replace('_', ' '):22s} {numbers[0]:>24s} {numbers[1]:>24s}  {entry['unit']}")
    lines += ["", *(f"note: {hint}" for hint in result["hints"])] if result["hints"] else []
    return [*lines, "", *(f"  {path}" for path in result["figures"] if path.endswith(".png"))]


def _with_error(mean: float, error: float | None) -> str:
    return f"{mean:.6f}" + ("" if error is None else f" +- {error:.1e}")
