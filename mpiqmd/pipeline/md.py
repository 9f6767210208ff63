"""``mpiqmd md``: Born-Oppenheimer molecular dynamics on the Hi-Fi or on the reduced surface."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd import __version__
from mpiqmd.config.settings import Settings
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.dynamics import DynamicsSettings, run_dynamics
from mpiqmd.md.provider import ForceProvider
from mpiqmd.md.trajectory import Trajectory, write_extxyz
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_hifi_provider, build_model, build_molecule
from mpiqmd.pipeline.reduced import build_rom_provider

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Run (or resume) a trajectory and return what ``result.json`` holds.  Collective."""
    settings, folder = arguments.settings, arguments.folder
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    provider, identity = _surface(arguments, model, log)
    log(f"molecular dynamics of {''.join(molecule.symbols)} on the {identity['solver']} surface")
    log(model.grid.describe())
    result = run_dynamics(
        molecule,
        provider,
        dynamics_settings(settings, arguments.steps),
        comm,
        log,
        folder / "trajectory.h5",
        folder / "checkpoint.h5",
        identity=identity,
        provenance=_provenance(settings, comm),
        box_v=model.grid.cell_v,
        boundary="periodic" if model.grid.is_periodic else "none",
        overwrite=arguments.overwrite,
    )
    files = ["trajectory.h5", "checkpoint.h5"]
    if arguments.extxyz:
        on_rank_zero(comm, lambda: write_extxyz(Trajectory.open(folder / "trajectory.h5"), folder / "trajectory.extxyz"))
        files.insert(1, "trajectory.extxyz")
    _print_summary(result, identity["solver"], log)
    log(f"{', '.join(files)} are in {folder}")
    return result | {"solver": identity["solver"]}


def dynamics_settings(settings: Settings, steps: int | None) -> DynamicsSettings:
    """Return the dynamics' own settings from the input's [md] section.  Not collective."""
    md = settings.md
    velocities = md.initial_velocities
    return DynamicsSettings(
        steps=md.steps if steps is None else steps,
        timestep=md.timestep,
        thermostat=md.thermostat,
        temperature=md.temperature,
        relaxation_time=md.relaxation_time,
        seed=md.seed,
        output_every=md.output_every,
        checkpoint_every=md.checkpoint_every,
        pinned=md.pinned,
        remove_translation=md.remove_translation,
        remove_rotation=md.remove_rotation,
        initial_velocities=velocities if isinstance(velocities, str) else np.array(velocities),
    )


def _surface(arguments: argparse.Namespace, model: KohnShamModel, log: Log) -> tuple[ForceProvider, dict[str, str]]:
    """Return the force provider and the identity of the physics that a resumed run must share.  Collective."""
    physics = {f"physics.{name}": json.dumps(value) for name, value in model.signature().items()}
    if arguments.model is None:
        settings = arguments.settings
        tolerance = {"scf.energy_tolerance": repr(settings.scf.energy_tolerance), "scf.solver": settings.scf.solver}
        provider = build_hifi_provider(settings, model, model.molecule, settings.scf.extrapolation)
        return provider, {"solver": "hifi", "scf.frame": settings.scf.frame} | tolerance | physics
    provider, model_hash = build_rom_provider(arguments.settings, model, arguments.model, log)
    choice = {"rom.forces": arguments.settings.rom.forces, "rom.online": arguments.settings.rom.online}
    return provider, {"solver": "rom", "model_hash": model_hash} | choice | physics


def _provenance(settings: Settings, comm: MPI.Comm) -> dict[str, str | int]:
    return {"input": json.dumps(settings.as_dict()), "mpiqmd": __version__, "ranks": comm.size}


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
