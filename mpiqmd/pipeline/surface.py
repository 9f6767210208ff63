"""What one trajectory needs: a surface with its identity, the dynamics' settings, and the files to write."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.grid import Grid
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.dynamics import DynamicsSettings, Record
from mpiqmd.md.extxyz import write_extxyz
from mpiqmd.md.provider import ForceProvider
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.pipeline.build import build_hifi_provider, build_model, build_molecule
from mpiqmd.pipeline.circumstances import circumstances
from mpiqmd.pipeline.reduced import build_rom_provider

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


@dataclass(frozen=True, eq=False)
class Surface:
    """A molecule on a potential energy surface.

    Attributes
    ----------
    molecule, model
        The nuclei at their initial positions, and the physics.
    provider
        Energy and forces, on the communicator of the model's grid.
    identity
        What a resumed run must share, as text by name.
    """

    molecule: Molecule
    model: KohnShamModel
    provider: ForceProvider
    identity: dict[str, str]

    @property
    def grid(self) -> Grid:
        """The grid of the orbitals."""
        return self.model.grid

    @property
    def solver(self) -> str:
        """``"hifi"`` or ``"rom"``."""
        return self.identity["solver"]

    def record(self, folder: Path, arguments: argparse.Namespace, **provenance: str | int) -> Record:
        """Return the files of a run in ``folder`` and what is kept with them.  Not collective."""
        known = {
            "input": json.dumps(arguments.settings.as_dict()),
            "ranks": self.grid.comm.size,
            **circumstances(),
        }
        return Record(
            folder / "trajectory.h5",
            folder / "checkpoint.h5",
            identity=self.identity,
            provenance=known | provenance,
            box_v=self.grid.cell_v if self.grid.is_periodic else None,
            overwrite=arguments.overwrite,
        )


def build_surface(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> Surface:
    """Return the surface that the command line asks for: the Hi-Fi one, or a reduced model's.  Collective."""
    settings = arguments.settings
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    provider, identity = _provider(arguments, model, log)
    return Surface(molecule, model, provider, identity)


def _provider(arguments: argparse.Namespace, model: KohnShamModel, log: Log) -> tuple[ForceProvider, dict[str, str]]:
    """Return the force provider and the identity of the physics that a resumed run must share.  Collective."""
    physics = {f"physics.{name}": json.dumps(value) for name, value in model.signature().items()}
    if arguments.model is None:
        settings = arguments.settings
        tolerance = {"scf.energy_tolerance": repr(settings.scf.energy_tolerance), "scf.solver": settings.scf.solver}
        provider = build_hifi_provider(settings, model, model.molecule, settings.scf.extrapolation, log=log)
        return provider, {"solver": "hifi", "scf.frame": settings.scf.frame} | tolerance | physics
    provider, model_hash = build_rom_provider(arguments.settings, model, arguments.model, log)
    choice = {"rom.forces": arguments.settings.rom.forces, "rom.online": arguments.settings.rom.online}
    return provider, {"solver": "rom", "model_hash": model_hash} | choice | physics


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
        chain_length=md.chain_length,
        seed=md.seed,
        output_every=md.output_every,
        checkpoint_every=md.checkpoint_every,
        checkpoint_minutes=md.checkpoint_minutes,
        pinned=md.pinned,
        constraints=md.constraints,
        constraint_tolerance=md.constraint_tolerance,
        remove_translation=md.remove_translation,
        remove_rotation=md.remove_rotation,
        initial_velocities=velocities if isinstance(velocities, str) else np.array(velocities),
    )


def export_extxyz(folder: Path) -> None:
    """Write ``trajectory.extxyz`` beside the trajectory of a folder.  Not collective."""
    write_extxyz(Trajectory.open(folder / "trajectory.h5"), folder / "trajectory.extxyz")
