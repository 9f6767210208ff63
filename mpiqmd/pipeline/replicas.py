"""``mpiqmd md --replicas K``: independent trajectories, each on one rank, without communication between them.

Replica k runs on rank ``k mod (number of ranks)`` with a seed of its own that depends on the input's seed and k only, so
that neither the number of replicas nor that of ranks changes any of them beyond round-off.

On a grid-free model the replicas of a rank advance side by side and are evaluated as one batch, from four of them on.  What a
replica computes then does not depend on what the others compute, bit for bit.  Its place among them may show in the last bits,
on processors where BLAS treats the columns of a product differently.  Fewer than four are evaluated one after the other; the
two ways differ by round-off.

With ``rom.on_large_error = "learn"`` all replicas run on all ranks, since what one of them meets all learn: a model of one
surface grows for all.  Runs that were killed between the checkpoints of two replicas go on with the model of the one that was
further.
"""

from __future__ import annotations

import argparse
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.findings import Finding, closing
from mpiqmd.md.noise import replica_seed
from mpiqmd.md.quality import Conditions, judge
from mpiqmd.md.replicas import INDEX_FILE, groups, replica_folder, require_different, write_index
from mpiqmd.md.run import Steps, dynamics_steps, run_together
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.interruption import Interruption, exit_status
from mpiqmd.parallel.log import Log, silent
from mpiqmd.pipeline.apart import learns
from mpiqmd.pipeline.learning import recall_models
from mpiqmd.pipeline.surface import (
    Calculation,
    build_calculation,
    dynamics_settings,
    error_checks,
    export_extxyz,
    growth,
    on_errors,
    print_checks,
    print_growth,
    seen_by,
)
from mpiqmd.rom.watch import Watch, numbered

if TYPE_CHECKING:
    from mpi4py import MPI


AVERAGED = ("temperature_mean", "energy_drift", "energy_fluctuation", "seconds_per_step", "iterations_per_step")
"""Numbers of the single runs of which the summary gives the mean."""


def run_replicas(arguments: argparse.Namespace, comm: MPI.Comm, log: Log, interruption: Interruption) -> dict[str, Any]:
    """Run (or resume) all replicas and return their summary.  Collective.

    A replica that fails does not stop the others; its message is in the summary and the exit status is 1.

    Raises
    ------
    ConfigError
        Nothing would distinguish the replicas.
    """
    settings = dynamics_settings(arguments.settings, arguments.steps)
    require_different(settings, arguments.replicas)
    is_shared = learns(arguments)
    team = comm if is_shared else comm.Split(comm.rank)
    with interruption.loading():
        calculation = build_calculation(arguments, team, log if comm.rank == 0 else silent(team), may_learn=True)
    log(
        f"{arguments.replicas} replicas of {calculation.molecule.formula} on the {calculation.solver} surface, "
        f"{comm.size} rank(s)"
    )
    on_rank_zero(comm, write_index, arguments.folder, range(arguments.replicas))
    if is_shared:
        recall_models(calculation.surface, arguments.folder, range(arguments.replicas), team)
    started = time.perf_counter()
    runner = _Runner(arguments, settings, calculation, team, log if log.active else silent(team), interruption)
    summaries = runner.run(list(range(arguments.replicas) if is_shared else range(comm.rank, arguments.replicas, comm.size)))
    parts = comm.allgather(_Part(summaries, runner.watches, calculation.standing(), time.perf_counter() - started))
    conditions = Conditions.of(calculation.molecule, settings)
    return _concluded(calculation, conditions, parts[:1] if is_shared else parts, arguments.folder, log)


class _Part(NamedTuple):
    """What a team of ranks has run: summaries, what was seen of errors, how good its surface is, and seconds."""

    summaries: list[dict[str, Any]]
    watches: dict[int, Watch]
    standing: list[Finding]
    seconds: float


def _concluded(
    calculation: Calculation, conditions: Conditions, parts: Sequence[_Part], folder: Path, log: Log
) -> dict[str, Any]:
    """Say what all replicas came to, and return it."""
    replicas = sorted((summary for part in parts for summary in part.summaries), key=lambda summary: summary["replica"])
    result = summarise(replicas, max(part.seconds for part in parts)) | {"solver": calculation.solver}
    result |= growth(calculation.surface)
    watches = {replica: watch for part in parts for replica, watch in part.watches.items()}
    _print_summary(result, log.afterwards)
    worth = _Worth(calculation, conditions, replicas, watches)
    worth.print_checks(log.afterwards)
    log.afterwards(f"replica-*/trajectory.h5, linked from {INDEX_FILE}, are in {folder}")
    verdict = worth.verdict(list(dict.fromkeys(finding for part in parts for finding in part.standing)))
    log.afterwards(verdict["words"])
    return result | {"quality": worth.sentences, "verdict": verdict}


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


class _Runner:
    """Runs the replicas of a team of ranks, in groups that advance together."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        settings: DynamicsSettings,
        calculation: Calculation,
        team: MPI.Comm,
        log: Log,
        interruption: Interruption,
    ) -> None:
        self.arguments, self.settings, self.calculation, self.team = arguments, settings, calculation, team
        self.log, self.interruption = log, interruption
        self.reason: str | None = None
        self.watches: dict[int, Watch] = {}

    def run(self, own: list[int]) -> list[dict[str, Any]]:
        """Run replicas and return their summaries.  Collective over the team."""
        summaries: list[dict[str, Any]] = []
        outcomes: list[dict[str, Any] | MpiqmdError]
        for group in groups(own, self.calculation.surface.fresh(len(own)).at_once):
            reason = decide(self.team, self.interruption.reason())
            if reason is not None:
                outcomes = [{"stopped": reason} for _ in group]
            else:
                names = f"replica {group[0]}" if len(group) == 1 else f"replicas {group[0]} to {group[-1]}, side by side"
                self.log(f"{names} ({len(summaries) + len(group)} of {len(own)} on this rank)")
                outcomes = self._alone(group[0]) if len(group) == 1 else self._together(group)
            summaries += [self._summary(index, outcome) for index, outcome in zip(group, outcomes, strict=True)]
        return summaries

    def _alone(self, index: int) -> list[dict[str, Any] | MpiqmdError]:
        """Run one replica."""
        memory = self.calculation.surface.fresh()
        try:
            steps = self._steps(index, memory, self.settings, self.log, self.interruption.reason)
        except MpiqmdError as error:
            return [error]
        return self._outcomes([index], [steps], [memory], lambda: None)

    def _together(self, group: list[int]) -> list[dict[str, Any] | MpiqmdError]:
        """Run several replicas side by side; whether to stop is asked once for all of them."""
        surface = self.calculation.surface
        memories = [surface.fresh(len(group)) for _ in group]
        settings, runs = self.settings.shared_by(len(group)), []
        for index, memory in zip(group, memories, strict=True):
            log = self.log.named(f"replica {index}", shows_progress=index == group[0])
            runs.append(self._steps(index, memory, settings, log, lambda: self.reason))
        return self._outcomes(group, runs, memories, self._look)

    def _outcomes(
        self, group: Sequence[int], runs: list[Steps], memories: list[Memory], each_round: Callable[[], object]
    ) -> list[dict[str, Any] | MpiqmdError]:
        """Return the summaries of runs that advance together, with what the checks of their errors found, or their errors."""
        surface = self.calculation.surface
        outcomes = run_together(surface, runs, memories, each_round)
        for index, memory in zip(group, memories, strict=True):
            self.watches[index] = seen_by([memory])
        return [
            outcome if isinstance(outcome, MpiqmdError) else outcome | error_checks(surface, self.watches[index])
            for index, outcome in zip(group, outcomes, strict=True)
        ]

    def _look(self) -> None:
        """Ask once for all replicas whether to stop."""
        self.reason = self.interruption.reason()

    def _steps(self, index: int, memory: Memory, settings: DynamicsSettings, log: Log, stop: Callable[[], str | None]) -> Steps:
        """Return one replica's dynamics, with its folder made."""
        folder = replica_folder(self.arguments.folder, index)
        on_rank_zero(self.team, lambda: folder.mkdir(exist_ok=True))
        record = self.calculation.record(folder, self.arguments, replica=index)
        seeded = replace(settings, seed=replica_seed(settings.seed, index))
        molecule = self.calculation.at_start(self.arguments.settings)
        return dynamics_steps(molecule, memory, seeded, self.team, log, record, stop=stop)

    def _summary(self, index: int, outcome: dict[str, Any] | MpiqmdError) -> dict[str, Any]:
        """Return the summary of a replica, exporting its trajectory if that was asked for and there is one."""
        summary: dict[str, Any] = {"replica": index, "seed": replica_seed(self.settings.seed, index)}
        if isinstance(outcome, MpiqmdError):
            self.log(f"warning: replica {index}: {outcome}")
            return summary | {"error": str(outcome)}
        if self.arguments.extxyz and "steps" in outcome:
            on_rank_zero(self.team, export_extxyz, replica_folder(self.arguments.folder, index))
        return summary | outcome


class _Worth:
    """What all replicas together are good for."""

    def __init__(
        self, calculation: Calculation, conditions: Conditions, replicas: list[dict[str, Any]], watches: dict[int, Watch]
    ) -> None:
        self.surface, self.conditions, self.replicas = calculation.surface, conditions, replicas
        self.owners = sorted(watches)
        self.seen = Watch.joined([watches[replica] for replica in self.owners])
        self.ends = list(accumulate(watches[replica].evaluations for replica in self.owners))
        ran = [summary for summary in replicas if summary.get("temperature_mean") is not None]
        self.judged = judge(ran, conditions) if ran else []

    @property
    def sentences(self) -> list[str]:
        """What drift and temperature tell."""
        return [quality.sentence for quality in self.judged]

    def print_checks(self, log: Log) -> None:
        """Say it, and what was seen of a reduced surface's errors."""
        for sentence in self.sentences:
            log(sentence)
        print_checks(self.surface, self.seen, log, self._step)
        print_growth(self.surface, log, numbered("step"))

    def verdict(self, standing: list[Finding]) -> dict[str, Any]:
        """Return what all of it comes to, given how good the surface is."""
        failed = sum("error" in summary for summary in self.replicas)
        lost = [Finding(False, f"{failed} of them failed")] if failed else []
        findings = [*lost, *standing, *on_errors(self.surface, self.seen), *(quality.finding for quality in self.judged)]
        return closing(f"{self.conditions.purpose} of {len(self.replicas)} replicas", findings)

    def _step(self, evaluation: int) -> str:
        """Return what an evaluation is called, counted through all replicas."""
        place = bisect_right(self.ends, evaluation)
        before = self.ends[place - 1] if place else 0
        return f"step {evaluation - before} of replica {self.owners[place]}"


def _print_summary(result: dict[str, Any], log: Log) -> None:
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
