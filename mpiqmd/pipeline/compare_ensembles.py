"""``mpiqmd compare`` where one side is a ``replicas.h5``: not frame by frame, but distributions and means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mpiqmd.md.comparable import hints
from mpiqmd.md.comparison import Runs, means_of_both, require_comparable
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.plots.compare import labels_of
from mpiqmd.plots.ensembles import figure_distributions
from mpiqmd.plots.style import save_figure


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
