"""``rom.on_large_error = "learn"``: the surface of a model that grows, as the input has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import ReducedModel as RomSection
from mpiqmd.config.settings import Settings
from mpiqmd.datafiles import taking_apart
from mpiqmd.errors import DataFileError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.md.checkpoint import load_checkpoint
from mpiqmd.md.replicas import replica_folder
from mpiqmd.molecule.surface import Surface
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_online_stage, build_solver, rom_options
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.pipeline.reduced import digest_of, load_model, load_silently, load_windows
from mpiqmd.rom.grown_models import Filed, GrownModels
from mpiqmd.rom.learning import LearningSurface, Means
from mpiqmd.rom.learning_windows import LearningWindows
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.watched import WatchedSurface
from mpiqmd.rom.windowed_model import is_windowed

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

COMPILATION_ERROR = "rom.compilation_error"
"""Key, in the recipe of a model, of how finely it was made: rounds of training may have made it finer than the input says."""


def build_learning_surface(
    arguments: argparse.Namespace, model: KohnShamModel, log: Log
) -> tuple[LearningSurface | LearningWindows, str]:
    """Return the surface of what grows in the output folder, and the hash of the file it begins with.  Collective.

    Raises ConfigError if the model belongs to other physics than the input.
    """
    settings, path = arguments.settings, arguments.model
    build = _of_windows if on_rank_zero(model.grid.comm, is_windowed, path) else _of_one
    return build(settings, model, path, arguments.folder, log), digest_of(model, path)


def _of_one(settings: Settings, model: KohnShamModel, path: Path, folder: Path, log: Log) -> LearningSurface:
    """Return the surface of one model that grows in a folder.  Collective."""
    return _growing(settings, model, Filed(*load_model(model, path, settings.rom.online, log)), folder, log)


def _growing(settings: Settings, model: KohnShamModel, first: Filed, folder: Path, log: Log) -> LearningSurface:
    """Return the surface of what the first model grows to.  Collective."""
    tolerance = min(settings.scf.energy_tolerance, settings.train.energy_tolerance)
    means = Means(
        GrownModels(model, as_it_was_made(settings, first.reduced), folder, log),
        make_stage=lambda grown, make_solver: build_online_stage(settings, model, grown, log, make_solver),
        make_solver=lambda: build_solver(settings, model, energy_tolerance=tolerance),
        signature=snapshot_signature(settings, model),
        enough=settings.rom.learn_batch,
    )
    return LearningSurface(means, first, log)


def _of_windows(settings: Settings, model: KohnShamModel, path: Path, folder: Path, log: Log) -> LearningWindows:
    """Return the surface of windows whose models grow in a folder.  Collective."""
    online = settings.rom.online

    def make_surface(of_window: Path, own: Path) -> LearningSurface:
        # how good it is was said of all windows
        return _growing(settings, model, Filed(load_silently(model, of_window, log), digest_of(model, of_window)), own, log)

    return LearningWindows(
        load_windows(model, path, online, log),
        path,
        folder,
        make_surface,
        limits=Limits.of(rom_options(settings)),
        online=online,
        comm=model.grid.comm,
        cell_v=model.grid.periodic_cell_v,
    )


def as_it_was_made(settings: Settings, reduced: ReducedModel) -> RomSection:
    """Return the input's section on reduced models with the fineness of the form that this one has.  Not collective."""
    recipe = reduced.notes.get("recipe", {})
    made = recipe.get(COMPILATION_ERROR) if isinstance(recipe, dict) else None
    if isinstance(made, float) and 0.0 < made < settings.rom.compilation_error:
        return replace(settings.rom, compilation_error=made)
    return settings.rom


def recall_models(surface: Surface, folder: Path, replicas: Iterable[int], comm: MPI.Comm) -> None:
    """Let the surface be at the model of the replica that has been further than all others.  Collective.

    Raises DataFileError if a model of the run is gone or another.
    """
    assert isinstance(surface, WatchedSurface), "only reduced models grow"
    for index in replicas:
        path = replica_folder(folder, index) / "checkpoint.h5"
        state: dict[str, np.ndarray] = {}
        # of what cannot be read its own replica tells
        with suppress(DataFileError):
            state = on_rank_zero(comm, _memory_state, path)
        with taking_apart(path, "checkpoint", "One of this surface is needed. Start afresh with --overwrite."):
            surface.recall(state)


def _memory_state(path: Path) -> dict[str, np.ndarray]:
    """Return what a replica's checkpoint has of its memory; nothing without a checkpoint."""
    saved, _ = load_checkpoint(path)
    return {} if saved is None else dict(saved.groups.get("provider", {}))
