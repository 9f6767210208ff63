"""``mpiqmd md --replicas K``: independent trajectories, each on one rank, without communication between them.

Replica k runs on rank ``k mod (number of ranks)`` with a seed of its own that depends on the input's seed and k only, so
that neither the number of replicas nor that of ranks changes any of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mpiqmd.errors import ConfigError, MpiqmdError
from mpiqmd.md.dynamics import DynamicsSettings, run_dynamics
from mpiqmd.md.interruption import Interruption, exit_status
from mpiqmd.md.noise import replica_seed
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.surface import Surface, build_surface, dynamics_settings, export_extxyz

if TYPE_CHECKING:
    from mpi4py import MPI

INDEX_FILE = "replicas.h5"
STOCHASTIC = ("langevin", "csvr")
AVERAGED = ("temperature_mean", "energy_drift", "energy_fluctuation", "seconds_per_step", "iterations_per_step")
"""Numbers of the single runs of which the summary gives the mean."""


def run_replicas(
    arguments: argparse.Namespace, comm: MPI.Comm, log: Log, interruption: Interruption
) -> dict[str, Any]:
    """Run (or resume) all replicas and return their summary.  Collective.

    A replica that fails does not stop the others; its message is in the summary and the exit status is 1.

    Raises
    ------
    ConfigError
        Nothing would distinguish the replicas.
    """
    settings = dynamics_settings(arguments.settings, arguments.steps)
    require_different(settings, arguments.replicas)
    alone = comm.Split(comm.rank)
    surface = build_surface(arguments, alone, log if comm.rank == 0 else silent(alone))
    formula = "".join(surface.molecule.symbols)
    log(f"{arguments.replicas} replicas of {formula} on the {surface.solver} surface, {comm.size} rank(s)")
    started = time.perf_counter()
    own = list(range(comm.rank, arguments.replicas, comm.size))
    summaries = _run_own(own, arguments, settings, surface, alone, log, interruption)
    gathered = comm.allgather((summaries, time.perf_counter() - started))
    replicas = sorted((summary for part, _ in gathered for summary in part), key=lambda summary: summary["replica"])
    on_rank_zero(comm, write_index, arguments.folder, [summary["replica"] for summary in replicas])
    result = summarise(replicas, max(seconds for _, seconds in gathered)) | {"solver": surface.solver}
    _print_summary(result, arguments.folder, log)
    return result


def require_different(settings: DynamicsSettings, count: int) -> None:
    """Raise ConfigError if no random number enters a run, so that all replicas would be one trajectory."""
    starts_random = isinstance(settings.initial_velocities, str) and settings.initial_velocities == "random"
    if count > 1 and not starts_random and settings.thermostat not in STOCHASTIC:
        raise ConfigError(
            f"--replicas {count} with given md.initial_velocities and md.thermostat = {settings.thermostat!r}: all replicas "
            "would be the same trajectory. Allowed: random velocities, or the thermostats langevin and csvr. Change either."
        )


def replica_folder(folder: Path, index: int) -> Path:
    """Return where a replica writes."""
    return folder / f"replica-{index:04d}"


def write_index(folder: Path, indices: Sequence[int]) -> None:
    """Write a file in which every replica's trajectory appears as a group, by external links.  Not collective."""
    with h5py.File(folder / INDEX_FILE, "w") as file:
        file.attrs["kind"] = "replicas"
        for index in indices:
            name = replica_folder(folder, index).name
            file[name] = h5py.ExternalLink(f"{name}/trajectory.h5", "/")


def summarise(replicas: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the summary of all replicas: means over those that ran, their spread, steps in all and the throughput."""

    def values(name: str) -> np.ndarray:
        return np.array([summary[name] for summary in replicas if summary.get(name) is not None], dtype=float)

    means = {name: float(values(name).mean()) if len(values(name)) else None for name in AVERAGED}
    temperatures = values("temperature_mean")
    made = sum(summary.get("steps", 0) - (summary.get("resumed_from") or 0) for summary in replicas)
    stopped = next((summary["stopped"] for summary in replicas if summary.get("stopped")), None)
    failed = [summary["replica"] for summary in replicas if "error" in summary]
    return means | {
        "steps": sum(summary.get("steps", 0) for summary in replicas),
        "temperature_standard_error": float(temperatures.std(ddof=1) / np.sqrt(len(temperatures)))
        if len(temperatures) > 1
        else None,
        "steps_per_second": made / seconds if made else None,
        "stopped": stopped,
        "failed": failed,
        "exit_status": 1 if failed else exit_status(stopped),
        "replicas": replicas,
    }


def _run_own(
    own: list[int],
    arguments: argparse.Namespace,
    settings: DynamicsSettings,
    surface: Surface,
    alone: MPI.Comm,
    log: Log,
    interruption: Interruption,
) -> list[dict[str, Any]]:
    """Run this rank's replicas one after the other; each finds the provider as it was made.  Not collective."""
    fresh = {name: np.array(array) for name, array in surface.provider.state().items()}
    own_log = log if log.active else silent(alone)
    summaries: list[dict[str, Any]] = []
    for count, index in enumerate(own, start=1):
        seeded = replace(settings, seed=replica_seed(settings.seed, index))
        summary: dict[str, Any] = {"replica": index, "seed": seeded.seed}
        summaries.append(summary)
        reason = interruption.reason()
        if reason is not None:
            summary["stopped"] = reason
            continue
        log(f"replica {index} ({count} of {len(own)} on this rank)")
        folder = replica_folder(arguments.folder, index)
        folder.mkdir(exist_ok=True)
        record = surface.record(folder, arguments, replica=index)
        surface.provider.restore({name: array.copy() for name, array in fresh.items()})
        try:
            summary |= run_dynamics(
                surface.molecule, surface.provider, seeded, alone, own_log, record, interruption.reason
            )
        except MpiqmdError as error:
            log(f"warning: replica {index}: {error}")
            summary["error"] = str(error)
            continue
        if arguments.extxyz:
            export_extxyz(folder)
    return summaries


def _print_summary(result: dict[str, Any], folder: Path, log: Log) -> None:
    replicas = result["replicas"]
    if result["failed"]:
        first = replicas[result["failed"][0]]
        log(f"{len(result['failed'])} replicas failed; replica {first['replica']}: {first['error']}")
    if result["stopped"] is not None:
        log(f"stopped ({result['stopped']}); the same command continues")
    if result["temperature_mean"] is not None:
        error = result["temperature_standard_error"]
        log(f"mean temperature {result['temperature_mean']:.1f}" + (f" +- {error:.1f} K" if error else " K"))
    if result["energy_drift"] is not None:
        log(f"mean drift of the conserved energy {1e6 * result['energy_drift']:.3f} microHa/atom/ps")
    if result["steps_per_second"]:
        log(f"{result['steps_per_second']:.4g} steps per second in all")
    log(f"replica-*/trajectory.h5, linked from {INDEX_FILE}, are in {folder}")
