"""``rom.on_large_error = "learn"``: the surface of a model that grows, as the input has it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from mpiqmd.config.settings import ReducedModel as RomSection
from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_online_stage, build_solver
from mpiqmd.pipeline.identity import snapshot_signature
from mpiqmd.pipeline.reduced import load_model
from mpiqmd.rom.grown_models import EPOCH_FILES, Filed, GrownModels
from mpiqmd.rom.learning import LearningSurface, Means
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.reactions import LEARN
from mpiqmd.rom.windowed_model import is_windowed

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log

COMPILATION_ERROR = "rom.compilation_error"
"""Key, in the recipe of a model, of how finely it was made: rounds of training may have made it finer than the input says."""


def learns(arguments: argparse.Namespace) -> bool:
    """Return whether a command line asks for a model that grows.  Not collective."""
    return arguments.model is not None and arguments.settings.rom.on_large_error == LEARN.name


def build_learning_surface(arguments: argparse.Namespace, model: KohnShamModel, log: Log) -> tuple[LearningSurface, str]:
    """Return the surface of a model that grows in the output folder, and the hash of the file it begins with.  Collective.

    Raises ConfigError if that file may be written over, or the model belongs to other physics than the input.
    """
    settings, path = arguments.settings, arguments.model
    if path.resolve().parent == arguments.folder.resolve() and path.match(EPOCH_FILES):
        raise ConfigError(
            f"--model {path} is among the models that an earlier run has grown in its --output, where this one is to write its "
            "own. Another folder is needed: choose another --output."
        )
    if on_rank_zero(model.grid.comm, is_windowed, path):
        raise ConfigError(
            f"rom.on_large_error = 'learn' with {path}, which has the models of several windows: one model at a time grows. "
            "Use 'hifi' or 'warn', or train the windows with more geometries."
        )
    reduced, digest = load_model(model, path, settings.rom.online, log)
    tolerance = min(settings.scf.energy_tolerance, settings.train.energy_tolerance)
    means = Means(
        GrownModels(model, as_it_was_made(settings, reduced), arguments.folder, log),
        make_stage=lambda grown, make_solver: build_online_stage(settings, model, grown, log, make_solver),
        make_solver=lambda: build_solver(settings, model, energy_tolerance=tolerance),
        signature=snapshot_signature(settings, model),
        enough=settings.rom.learn_batch,
    )
    return LearningSurface(means, Filed(reduced, digest), log), digest


def as_it_was_made(settings: Settings, reduced: ReducedModel) -> RomSection:
    """Return the input's section on reduced models with the fineness of the form that this one has.  Not collective."""
    recipe = reduced.notes.get("recipe", {})
    made = recipe.get(COMPILATION_ERROR) if isinstance(recipe, dict) else None
    if isinstance(made, float) and 0.0 < made < settings.rom.compilation_error:
        return replace(settings.rom, compilation_error=made)
    return settings.rom
