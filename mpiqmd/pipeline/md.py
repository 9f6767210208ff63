"""``mpiqmd md``: Born-Oppenheimer molecular dynamics on the Hi-Fi or on the reduced surface."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from mpiqmd.findings import closing
from mpiqmd.md.quality import Conditions, judge
from mpiqmd.md.run import run_dynamics
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption, announce, exit_status
from mpiqmd.pipeline.replicas import run_replicas
from mpiqmd.pipeline.surface import (
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
from mpiqmd.units import ATOMIC_TIME_IN_FS

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Run (or resume) one trajectory or several and return what ``result.json`` holds.  Collective.

    ``stopped`` says why a run ended early, and ``exit_status`` what follows from it.
    """
    interruption = Interruption(arguments.folder, arguments.walltime, arguments.started)
    with interruption.listening():
        if arguments.replicas is None:
            result = run_trajectory(arguments, comm, log, interruption)
        else:
            result = run_replicas(arguments, comm, log, interruption)
    on_rank_zero(comm, interruption.clear)
    return result


def run_trajectory(arguments: argparse.Namespace, comm: MPI.Comm, log: Log, interruption: Interruption) -> dict[str, Any]:
    """Run (or resume) one trajectory on all ranks.  Collective."""
    folder = arguments.folder
    with interruption.loading():
        calculation = build_calculation(arguments, comm, log, may_learn=True)
    log(f"molecular dynamics of {calculation.molecule.formula} on the {calculation.solver} surface")
    log(calculation.model.describe())
    settings = dynamics_settings(arguments.settings, arguments.steps)
    record = calculation.record(folder, arguments)
    molecule = calculation.at_start(arguments.settings)
    owner = Owner(calculation.surface)
    result = run_dynamics(molecule, owner, settings, comm, log, record, stop=interruption.reason)
    announce(result["stopped"], result["steps"], log)
    files = ["trajectory.h5", "checkpoint.h5"]
    if arguments.extxyz:
        on_rank_zero(comm, export_extxyz, folder)
        files.insert(1, "trajectory.extxyz")
    if result["steps"] > settings.steps:
        log.afterwards(f"the numbers of all {result['steps']} steps, of an earlier run:")
    _print_summary(result, calculation.solver, log.afterwards)
    named = partial(_step_and_time, timestep=settings.timestep)
    conditions, seen = Conditions.of(calculation.molecule, settings), seen_by([owner.memory])
    judged = judge([result], conditions)
    for quality in judged:
        log.afterwards(quality.sentence)
    print_checks(owner.surface, seen, log.afterwards, named)
    print_growth(owner.surface, log.afterwards, named)
    log.afterwards(f"{', '.join(files)} are in {folder}")
    findings = [*calculation.standing(), *on_errors(owner.surface, seen), *(quality.finding for quality in judged)]
    verdict = closing(conditions.purpose, findings)
    log.afterwards(verdict["words"])
    return (
        result
        | error_checks(owner.surface, seen)
        | growth(owner.surface)
        | {
            "quality": [quality.sentence for quality in judged],
            "verdict": verdict,
            "solver": calculation.solver,
            "exit_status": exit_status(result["stopped"]),
        }
    )


def _step_and_time(step: int, timestep: float) -> str:
    """Return how a step of a run with this timestep (atomic units) is named."""
    return f"step {step} ({step * timestep * ATOMIC_TIME_IN_FS:.5g} fs)"


def _print_summary(result: dict[str, Any], solver: str, log: Log) -> None:
    log(f"{result['steps']} steps, mean temperature {result['temperature_mean']:.1f} K")
    if result["energy_drift"] is not None:
        log(f"drift of the conserved energy {1e6 * result['energy_drift']:.3f} microHa/atom/ps")
    if result.get("seconds_per_step"):
        seconds = result["seconds_per_step"]
        log("median time per step " + (f"{seconds:.2f} s" if seconds > 0.5 else f"{1e3 * seconds:.3g} ms"))
    if result.get("iterations_per_step"):
        what = "solver iterations" if solver == "hifi" else "evaluations of the reduced energy"
        log(f"mean {what} per step {result['iterations_per_step']:.2f}")
