"""What one trajectory needs: a surface with its identity, the dynamics' settings, and the files to write."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.findings import Finding
from mpiqmd.grid import Grid
from mpiqmd.kohnsham.checks import GroundStateWatch
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.extxyz import write_extxyz
from mpiqmd.md.record import Record
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import Memory, Surface
from mpiqmd.pipeline.apart import learns
from mpiqmd.pipeline.build import build_hifi_surface, build_model, build_molecule
from mpiqmd.pipeline.circumstances import circumstances
from mpiqmd.pipeline.identity import surface_identity, without
from mpiqmd.pipeline.learning import build_learning_surface
from mpiqmd.pipeline.reduced import build_rom_surface
from mpiqmd.pipeline.results import plain
from mpiqmd.rom.watch import Watch
from mpiqmd.rom.watched import WatchedMemory, WatchedSurface

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


@dataclass(frozen=True, eq=False)
class Calculation:
    """A molecule on a potential energy surface.

    Attributes
    ----------
    molecule, model
        The nuclei at their initial positions, and the physics.
    surface
        Energy and forces, on the communicator of the model's grid.
    identity
        What a resumed run must share, as text by name.
    standing
        How good the model or, as far as they have been looked at, the full ground states are.
    """

    molecule: Molecule
    model: KohnShamModel
    surface: Surface
    identity: dict[str, str]
    standing: Callable[[], list[Finding]]

    @property
    def grid(self) -> Grid:
        """The grid of the orbitals."""
        return self.model.grid

    @property
    def solver(self) -> str:
        """``"hifi"`` or ``"rom"``."""
        return self.identity["solver"]

    def at_start(self, settings: Settings) -> Molecule:
        """Return the molecule as dynamics starts, whole where its rotation is taken out.  Not collective.

        Raises ConfigError where rotation is to be taken out in a periodic cell in which the molecule does not turn freely.
        """
        if not (settings.md.remove_rotation and self.grid.is_periodic):
            return self.molecule
        if self.solver == "hifi" and settings.scf.frame == "lab":
            raise ConfigError(
                "md.remove_rotation = true with grid.boundary = 'periodic': the images keep a molecule from turning freely, "
                "and its angular momentum is not conserved. Allowed in an isolated cell, and where energies are those of the "
                "molecule's own frame. Leave md.remove_rotation out, or set scf.frame = 'body'."
            )
        return self.molecule.with_positions(whole(self.molecule.positions_av, self.grid.cell_v))

    def record(self, folder: Path, arguments: argparse.Namespace, **provenance: str | int) -> Record:
        """Return the files of a run in ``folder`` and what is kept with them.  Not collective."""
        known: dict[str, str | int] = {
            "input": json.dumps(arguments.settings.as_dict()),
            "ranks": self.grid.comm.size,
            **circumstances(),
        }
        return Record(
            folder / "trajectory.h5",
            folder / "checkpoint.h5",
            identity=without(self.identity, "watch"),
            provenance=known | provenance,
            box_v=self.grid.cell_v if self.grid.is_periodic else None,
            overwrite=arguments.overwrite,
            at_end=self._grown,
            verify=arguments.claim.verify,
        )

    def _grown(self) -> dict[str, str]:
        """Return what a trajectory says of the models that it went through, as JSON; nothing where they cannot grow."""
        grown = growth(self.surface)
        return {"epochs": json.dumps(plain(grown["epochs"]))} if grown else {}


def build_calculation(arguments: argparse.Namespace, comm: MPI.Comm, log: Log, *, may_learn: bool = False) -> Calculation:
    """Return the molecule on the surface that the command line asks for: the Hi-Fi one, or a reduced model's.  Collective.

    A model may grow, as ``rom.on_large_error = "learn"`` asks for, only where the command says so.
    """
    settings = arguments.settings
    molecule = build_molecule(settings, comm)
    model = build_model(settings, comm, molecule)
    settings = arguments.settings
    if arguments.model is None:
        watch = GroundStateWatch(model, log)
        hifi = build_hifi_surface(settings, model, model.molecule, settings.scf.extrapolation, watch=watch)
        return Calculation(molecule, model, hifi, surface_identity(settings, model), lambda: on_ground_states(watch))
    if may_learn and learns(arguments):
        growing, model_hash = build_learning_surface(arguments, model, log)
        identity = surface_identity(settings, model, model_hash)
        return Calculation(molecule, model, growing, identity, lambda: [growing.standing()])
    reduced, model_hash, standing = build_rom_surface(settings, model, arguments.model, log)
    return Calculation(molecule, model, reduced, surface_identity(settings, model, model_hash), lambda: [standing])


def on_ground_states(watch: GroundStateWatch) -> list[Finding]:
    """Return what there is against full ground states that were looked at.  Not collective."""
    if watch.said:
        return [Finding(False, f"warnings of {', '.join(watch.said)}")]
    return [Finding(True, "cell and grid suffice") if watch.has_looked else Finding(None, "cell and grid were not looked at")]


def error_checks(surface: Surface, seen: Watch) -> dict[str, Any]:
    """Return ``error_checks``, what was seen of a reduced surface's errors, for ``result.json``; nothing of Hi-Fi.

    Not collective.
    """
    return {"error_checks": surface.summary(seen)} if isinstance(surface, WatchedSurface) else {}


def growth(surface: Surface) -> dict[str, Any]:
    """Return ``epochs``, the exchanges of models, and ``gathered``, the geometries that wait, where models grow.

    For ``result.json``; nothing elsewhere.  Not collective.
    """
    return surface.grown() if isinstance(surface, WatchedSurface) else {}


def print_checks(surface: Surface, seen: Watch, log: Log, name: Callable[[int], str]) -> None:
    """Say what was seen of a reduced surface's errors; nothing of Hi-Fi.  Not collective.

    ``name`` says what an evaluation, counted from 0, is called.
    """
    if isinstance(surface, WatchedSurface):
        for line in surface.summary_lines(seen, name):
            log(line)


def print_growth(surface: Surface, log: Log, name: Callable[[int], str]) -> None:
    """Say what became of models that may grow; nothing elsewhere.  Not collective.

    ``name`` says what an evaluation, counted from 0, is called.
    """
    if isinstance(surface, WatchedSurface):
        for line in surface.growth_lines(name):
            log(line)


def on_errors(surface: Surface, seen: Watch) -> list[Finding]:
    """Return whether what was seen of a reduced surface's errors speaks for its results; nothing of Hi-Fi.  Not collective."""
    return surface.findings(seen) if isinstance(surface, WatchedSurface) else []


def seen_by(memories: Sequence[Memory]) -> Watch:
    """Return what all owners saw of a reduced surface's errors, one after the other.  Not collective."""
    return Watch.joined([memory.watch for memory in memories if isinstance(memory, WatchedMemory)])


def dynamics_settings(settings: Settings, steps: int | None) -> DynamicsSettings:
    """Return the dynamics' own settings from the input's [md] section.  Not collective."""
    md = settings.md
    velocities = md.initial_velocities
    return DynamicsSettings(
        steps=md.steps if steps is None else steps,
        timestep=md.timestep,
        thermostat=md.thermostat,
        temperature=md.temperature,
        options=vars(md.options),
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
