"""A model, and where a run that may grow another writes: files that one needs are not those that the other replaces."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpiqmd.errors import ConfigError
from mpiqmd.rom.file_names import MODEL_NAME
from mpiqmd.rom.reactions import LEARN

GROWN_FILES = (MODEL_NAME.format("*"), f"window-*/{MODEL_NAME.format('*')}")
CHECKPOINTS = "checkpoint*.h5"


def learns(arguments: argparse.Namespace) -> bool:
    """Return whether a command line asks for a model that grows.  Not collective."""
    return arguments.model is not None and arguments.settings.rom.on_large_error == LEARN.name


def require_apart(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where a command would write over, or take away, models that it needs or another run has grown.

    Not collective: rank 0 calls it, before anything is taken away.
    """
    model, output = getattr(arguments, "model", None), arguments.output
    if model is None or not output.is_dir():
        return
    grows = learns(arguments)
    if not (grows or arguments.overwrite):
        return
    ours = {path.resolve() for pattern in arguments.patterns for path in output.glob(pattern)}
    lost = sorted(ours & set(_needed(model)))
    if lost:
        raise ConfigError(
            f"--model {model} needs {lost[0]}, which is among the files that this run writes, or takes away, in its --output "
            f"{output}. Another folder is needed: choose another --output."
        )
    if grows and not arguments.overwrite:
        _require_own(output, getattr(arguments, "replicas", None) is not None)


def _needed(model: Path) -> list[Path]:
    """Return the files that a model is made of."""
    from mpiqmd.rom.windowed_model import WindowedModel, is_windowed  # slow to load, and seldom needed

    files = [model]
    if is_windowed(model):
        windowed = WindowedModel.load(model)
        files += [windowed.model_path(model, window) for window in windowed.digests]
    return [file.resolve() for file in files]


def _require_own(output: Path, has_replicas: bool) -> None:
    """Raise ConfigError if there are grown models of a run that this one does not go on with."""
    grown = next((path for pattern in GROWN_FILES for path in output.glob(pattern)), None)
    own = f"replica-*/{CHECKPOINTS}" if has_replicas else CHECKPOINTS
    if grown is not None and next(output.glob(own), None) is None:
        raise ConfigError(
            f"{grown} was grown by another run, which this one does not go on with: it has no checkpoint here. Choose another "
            "--output, or start afresh with --overwrite."
        )
