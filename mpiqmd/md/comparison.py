"""Two sides of trajectories in numbers: frame by frame where there is one each, by means over the runs where there are more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.md.coordinates import coordinates_of
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.internal import InternalCoordinate
from mpiqmd.units import ATOMIC_TIME_IN_FS, KELVIN_IN_HARTREE

Differences = dict[str, dict[str, float | str]]
"""``max``, ``rms`` and ``unit`` by quantity."""
Runs = Sequence[Trajectory]
STILL = 1e-9
"""Standard deviation of a coordinate, in its unit, below which it does not move."""


def common_frames(first: Trajectory, second: Trajectory) -> tuple[Trajectory, Trajectory]:
    """Return both trajectories at the steps that both have.

    Raises
    ------
    DataFileError
        They cannot be compared frame by frame.
    """
    if first.symbols != second.symbols:
        raise DataFileError(
            f"{first.path} is of {' '.join(first.symbols)}, {second.path} of {' '.join(second.symbols)}; "
            "only trajectories of the same atoms in the same order can be compared. Choose two of one "
            "molecule."
        )
    if not np.isclose(first.timestep, second.timestep, rtol=1e-12):
        raise DataFileError(
            f"{first.path} has a timestep of {first.timestep * ATOMIC_TIME_IN_FS:.6g} fs, {second.path} "
            f"one of {second.timestep * ATOMIC_TIME_IN_FS:.6g} fs; frames of the same times are needed. "
            "Run both with the same md.timestep."
        )
    steps = np.intersect1d(first.steps_t, second.steps_t)
    if not len(steps):
        raise DataFileError(
            f"{first.path} ({len(first)} frames) and {second.path} ({len(second)} frames) have no step in "
            "common; at least one is needed. Run both from the start with the same md.output_every."
        )
    return first.at_steps(steps), second.at_steps(steps)


def differences(first: Trajectory, second: Trajectory) -> Differences:
    """Return largest and root-mean-square difference of every coordinate, energy and the temperature."""
    found: Differences = {}
    for one, other in zip(coordinates_of(first), coordinates_of(second, first), strict=True):
        found[one.key] = _measure(one.minus(other), one.unit)
    for name in ("total_energy", "potential_energy", "kinetic_energy"):
        found[name] = _measure(first.observables[name] - second.observables[name], "Ha")
    temperature_t = first.observables["temperature"] - second.observables["temperature"]
    found["temperature"] = _measure(temperature_t / KELVIN_IN_HARTREE, "K")
    return found


def departure(first: Trajectory, found: Differences) -> tuple[float, str] | None:
    """Return how far another trajectory goes from the first, as a share of how far this moves, and the coordinate of that.

    The largest ratio over bonds and angles of the rms difference and the standard deviation over the frames, given
    :func:`differences`; None where nothing moves.
    """
    shares = {}
    for each in coordinates_of(first):
        moves = float(np.nanstd(each.values_t)) if np.isfinite(each.values_t).any() else 0.0
        if each.kind != "dihedral" and moves > STILL:
            shares[each.key] = float(found[each.key]["rms"]) / moves
    if not shares:
        return None
    farthest = max(shares, key=lambda key: shares[key])
    return shares[farthest], farthest


def _measure(difference_t: np.ndarray, unit: str) -> dict[str, float | str]:
    """Return the largest absolute value and the root mean square over the frames in which the quantity is defined."""
    known_t = difference_t[np.isfinite(difference_t)]
    rms = float(np.sqrt(np.mean(known_t**2))) if len(known_t) else float("nan")
    return {"max": float(np.abs(known_t).max(initial=0.0)), "rms": rms, "unit": unit}


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
