"""``mpiqmd compare A.h5 B.h5``: figures and differences of two trajectories of one molecule."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiqmd.md.comparable import hints
from mpiqmd.md.comparison import common_frames, departure, differences
from mpiqmd.md.replicas import open_runs
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.compare_ensembles import compare_ensembles, table_of_means
from mpiqmd.plots.compare import figure_differences, figure_energy, figure_geometry, labels_of
from mpiqmd.plots.style import save_figure

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

SAME, NEARLY_SAME = 0.01, 0.1
"""How far trajectories may part, as a share of how far the first one moves, to be the same, or nearly so."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, object]:
    """Compare ``arguments.first`` with ``arguments.second``; write figures into ``arguments.folder``.
    Collective.

    Returns
    -------
    ``labels``, ``frames``, ``time_fs`` (the range both cover), ``differences`` (for each bond length, angle,
    energy and the temperature: ``max``, ``rms``, ``unit``), ``verdict`` (words), ``hints`` (what else differs),
    ``seconds_per_step`` of both and their ratio ``speed_up`` where both files have it, ``figures``.  Where one file is a
    ``replicas.h5``: ``labels``, ``runs``, ``frames``, ``means`` (``means``, ``errors``, ``unit`` of each), ``hints`` and
    ``figures``.

    Raises
    ------
    DataFileError
        A file is not a trajectory, or the two have different atoms or timesteps, or no frames in common.
    """
    result = on_rank_zero(comm, _compare, arguments.first, arguments.second, Path(arguments.folder))
    for line in table(result) if "differences" in result else table_of_means(result):
        log.afterwards(line)
    return result


def _compare(first_path: Path, second_path: Path, folder: Path) -> dict[str, object]:
    """Do all of :func:`run` on one rank."""
    firsts, seconds = open_runs(first_path), open_runs(second_path)
    files = {"first": str(first_path), "second": str(second_path)}
    if len(firsts) > 1 or len(seconds) > 1:
        return files | compare_ensembles(firsts, seconds, folder)
    return files | _compare_frames(*common_frames(firsts[0], seconds[0]), folder)


def _compare_frames(first: Trajectory, second: Trajectory, folder: Path) -> dict[str, object]:
    """Compare two trajectories with the same frames, one rank."""
    figures = []
    for name, draw in (
        ("geometry", figure_geometry),
        ("energy", figure_energy),
        ("differences", figure_differences),
    ):
        figures += save_figure(draw(first, second), folder / f"figure-{name}")
    found = differences(first, second)
    seconds: list[Any] = [trajectory.attributes.get("seconds_per_step") for trajectory in (first, second)]
    return {
        "labels": labels_of(first, second),
        "frames": len(first),
        "time_fs": [float(first.times_fs_t[0]), float(first.times_fs_t[-1])],
        "differences": found,
        "verdict": _verdict(departure(first, found)),
        "hints": hints(first, second),
        "seconds_per_step": seconds,
        "speed_up": seconds[0] / seconds[1] if all(seconds) else None,
        "figures": [str(path) for path in figures],
    }


def _verdict(found: tuple[float, str] | None) -> str:
    """Return what a departure means, in words."""
    if found is None:
        return "not judged: no bond or angle moves in these frames"
    share, key = found
    measured = f"{key.replace('_', ' ')} differs by {share:.2g} times (rms) what it moves"
    if share < SAME:
        return f"the same trajectory: {measured}, no coordinate by more"
    if share < NEARLY_SAME:
        return f"nearly the same trajectory, good for averages and spectra of this time: {measured}"
    return (
        f"different trajectories: {measured}. Where that is chaos and not an error, averages agree: compare replicas "
        "(`mpiqmd md --replicas N` on both sides), and forces by `mpiqmd evaluate`"
    )


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines printed for the user."""
    first, second = result["labels"]
    begin, end = result["time_fs"]
    lines = [f"{second} against {first}: {result['frames']} frames, {begin:.1f} to {end:.1f} fs", ""]
    lines.append(f"  {'difference':22s} {'largest':>12s} {'rms':>12s}  unit")
    for name, entry in result["differences"].items():
        title = name.replace("_", " ")
        lines.append(f"  {title:22s} {entry['max']:12.3e} {entry['rms']:12.3e}  {entry['unit']}")
    if result["speed_up"] is not None:
        slow, fast = result["seconds_per_step"]
        lines += ["", f"  time per step: {slow:.4g} s and {fast:.4g} s, ratio {result['speed_up']:.3g}"]
    lines += ["", *(f"note: {hint}" for hint in result["hints"])] if result["hints"] else []
    figures = [f"  {path}" for path in result["figures"] if path.endswith(".png")]
    return [*lines, "", *figures, "", f"verdict: {result['verdict']}"]
