"""The reduced surface of a model file: of one model, or of the models of several windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mpiqmd.config.settings import Settings
from mpiqmd.datafiles import stored_digest
from mpiqmd.errors import ConfigError
from mpiqmd.findings import Finding
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_online_stage, rom_options
from mpiqmd.rom.error_control import ErrorControl
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.reactions import LEARN, REACTIONS, Limits
from mpiqmd.rom.verdict import finding_on_model, warning_on_loading
from mpiqmd.rom.watched import WatchedSurface
from mpiqmd.rom.windowed_model import WindowedModel, is_windowed
from mpiqmd.rom.windowed_surface import WindowedSurface

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log


def build_rom_surface(
    settings: Settings, model: KohnShamModel, path: Path, log: Log, check_every: int | None = None
) -> tuple[WatchedSurface, str, Finding]:
    """Return the reduced surface of a model file, the file's hash, and how good the model is.  Collective.

    ``check_every`` overrides the input's.  Raises ConfigError if the model belongs to other physics than the input.
    """
    if check_every is not None:
        settings = replace(settings, rom=replace(settings.rom, check_every=check_every))
    refuse_learning(settings.rom)
    comm = model.grid.comm
    build = _of_windows if on_rank_zero(comm, is_windowed, path) else _of_one
    surface, standing = build(settings, model, path, log)
    return surface, digest_of(model, path), standing


def load_model(model: KohnShamModel, path: Path, online: str, log: Log) -> tuple[ReducedModel, str]:
    """Return the reduced model in a file and the file's hash, and say how good it is in a form.  Collective.

    Raises ConfigError if the model belongs to other physics than ``model``.
    """
    reduced = load_silently(model, path, log)
    warning = warning_on_loading(reduced.notes, online)
    if warning is not None:
        log(f"{path}: {warning}")
    return reduced, digest_of(model, path)


def load_silently(model: KohnShamModel, path: Path, log: Log) -> ReducedModel:
    """Return the reduced model in a file without a word on how good it is.  Collective.

    Raises ConfigError if the model belongs to other physics than ``model``.
    """
    reduced = ReducedModel.load(path, model.grid.comm, model.grid, model.signature())
    log(f"reduced model {path}: {reduced.rank} modes, {len(reduced.training_positions_sav)} training geometries")
    return reduced


def load_windows(model: KohnShamModel, path: Path, online: str, log: Log) -> WindowedModel:
    """Return the windows in a file, and say how good their models are in a form.  Collective.

    Raises ConfigError if the models belong to other physics than ``model``.
    """
    windowed: WindowedModel = on_rank_zero(model.grid.comm, WindowedModel.load, path)
    windowed.check(path, model.signature())
    log(f"{path}: {windowed.windows.words}")
    for warning in windowed.warnings(online):
        log(f"{path}: {warning}")
    return windowed


def digest_of(model: KohnShamModel, path: Path) -> str:
    """Return the hash of a file of a model or of windows.  Collective."""
    digest: str | None = on_rank_zero(model.grid.comm, stored_digest, path)
    assert digest is not None, "a model without a seal is not loaded"
    return digest


def refuse_learning(rom: RomOptions) -> None:
    """Raise ConfigError if a model is to grow where it does not.  Not collective."""
    if rom.on_large_error == LEARN.name:
        others = [name for name in REACTIONS if name != LEARN.name]
        raise ConfigError(
            "rom.on_large_error = 'learn': models grow in `mpiqmd md` and in `mpiqmd ipi`; elsewhere allowed "
            f"are {', '.join(map(repr, others))}. Use 'hifi' to solve the same geometries in full, and --model with the last "
            "model-epoch-*.h5 of a run that grew."
        )


def _of_one(settings: Settings, model: KohnShamModel, path: Path, log: Log) -> tuple[WatchedSurface, Finding]:
    """Return the surface of one model, and how good it is.  Collective."""
    reduced, _ = load_model(model, path, settings.rom.online, log)
    return build_online_stage(settings, model, reduced, log).surface, finding_on_model(reduced.notes, settings.rom.online)


def _of_windows(settings: Settings, model: KohnShamModel, path: Path, log: Log) -> tuple[WatchedSurface, Finding]:
    """Return the blended surface of windows, whose models are loaded when they are first needed.  Collective."""
    comm, online = model.grid.comm, settings.rom.online
    windowed = load_windows(model, path, online, log)

    def make_surface(window: int) -> ErrorControl:
        # days may have passed since the run began
        on_rank_zero(comm, windowed.require_model, path, window)
        reduced = load_silently(model, windowed.model_path(path, window), log)
        return build_online_stage(settings, model, reduced, log).surface

    limits, cell_v = Limits.of(rom_options(settings)), model.grid.periodic_cell_v
    return WindowedSurface(windowed.windows, make_surface, limits, comm, cell_v), windowed.finding(online)
