"""The published case beside itself: dynamics of the full solver, of the reduced model on the grid, and on the learned grid.

    python -m run.bench.published_case --output results/published

Trains the model of ``run/inputs/water-paper.toml``, compiles the same modes into a learned grid as ``water-paper-learned.toml``
asks, runs the dynamics three times from the same start, and compares each reduced trajectory with the full one.  Writes
``published.json`` and a figure.  What is there already is not run again: a killed run goes on.  SG15 pseudopotentials must lie
where the inputs say.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from mpiqmd.md.comparison import common_frames, differences
from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.results import write_result
from mpiqmd.plots.style import save_figure, style
from run.bench.cases import circumstances
from run.bench.drawing import published_figure

INPUTS = Path(__file__).parents[1] / "inputs"
FORMS = {"grid": INPUTS / "water-paper.toml", "learned": INPUTS / "water-paper-learned.toml"}
"""How the reduced model is minimised; the first also says how the full solver runs."""


def main() -> None:
    """Run what is missing; write the record and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    arguments = parser.parse_args()
    record = circumstances() | compared(*_runs(arguments.output))
    write_result(arguments.output / "published.json", record)
    with style():
        save_figure(published_figure(record), arguments.output / "published")


def _runs(output: Path) -> tuple[Trajectory, dict[str, Trajectory]]:
    """Return the full trajectory and the reduced ones."""
    hifi, reduced = _dynamics(FORMS["grid"], output / "hifi"), {}
    for form, given in FORMS.items():
        trained = output / f"train-{form}"
        if form != "grid" and not trained.exists():
            # its geometries are solved
            shutil.copytree(output / "train-grid", trained, ignore=shutil.ignore_patterns("model*", "result*"))
        if not (trained / "result.json").exists():
            _mpiqmd("train", str(given), "--output", str(trained))
        reduced[form] = _dynamics(given, output / form, "--model", str(trained / "model.h5"))
    return hifi, reduced


def _dynamics(given: Path, folder: Path, *options: str) -> Trajectory:
    """Run the dynamics of the input, unless they have been, and return them."""
    if not (folder / "result.json").exists():
        _mpiqmd("md", str(given), *options, "--output", str(folder))
    return Trajectory.open(folder / "trajectory.h5")


def _mpiqmd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mpiqmd", *arguments], check=True)


def compared(hifi: Trajectory, reduced: dict[str, Trajectory]) -> dict[str, Any]:
    """Return the series of all runs, what reduced ones differ by, and what a step took, in the units it names."""
    runs, found = {"hifi": hifi} | reduced, {}
    for form, trajectory in reduced.items():
        found[form] = differences(*common_frames(hifi, trajectory))
    return {
        "time_fs": hifi.times_fs_t.tolist(),
        "names": [coordinate.key for coordinate in coordinates_of(hifi)],
        "series": {
            name: {each.key: each.values_t.round(7).tolist() for each in coordinates_of(run, hifi)}
            for name, run in runs.items()
        },
        "differences": found,
        "seconds_per_step": {name: float(run.attributes["seconds_per_step"]) for name, run in runs.items()},
    }


if __name__ == "__main__":
    main()
