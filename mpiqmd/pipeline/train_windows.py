"""The offline stage of a molecule that turns: a model for each distinct window, and the file that makes one of them all.

Each window is trained as a molecule of its own, in a folder of its own, with its own rounds and its own verdict.  Windows that
are images of others need nothing: their models are those.
"""

from __future__ import annotations

import argparse
import gc
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

from mpiqmd.config.settings import Settings
from mpiqmd.datafiles import stored_digest
from mpiqmd.findings import closing
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.offline import make_good_model
from mpiqmd.pipeline.results import RESULT_FILE
from mpiqmd.pipeline.sampling import TrainingSources, choose_geometries, require_modes, write_samples
from mpiqmd.rom.file_names import MODEL_FILE
from mpiqmd.rom.model import read_notes
from mpiqmd.rom.partial_snapshots import part_path
from mpiqmd.rom.windowed_model import WindowedModel, kept_notes, window_folder
from mpiqmd.sampling.rules.rule import SamplingRule, WindowedRule
from mpiqmd.sampling.windows import Windows

ENOUGH_OF_ONE = 20
"""Unseen geometries that a window is judged by, at least, if ``train.validation`` is not smaller."""


def train_in_windows(arguments: argparse.Namespace, rule: WindowedRule, sources: TrainingSources) -> dict[str, Any]:
    """Train the models of all distinct windows, or a part of them, and return what ``result.json`` holds.  Collective.

    With ``arguments.samples_only`` the geometries of all windows are chosen and written; with ``arguments.part`` K of N every
    N-th window is trained, beginning with the K-th, and nothing is put together.
    """
    windows, folder, solver = rule.lay(sources), arguments.folder, sources.solver
    settings = with_share_of_validation(sources.settings, len(windows.distinct))
    own, results = _own(windows, arguments.part), []
    for number, window in enumerate(own, start=1):
        name = windows.coordinate.shown(float(windows.centres_w[window]))
        for log in (solver.log, solver.log.afterwards):
            log(f"window {number} of {len(own)}: {windows.coordinate.name} about {name}")
        found = _train_one(arguments, settings, sources, rule.in_window(windows, window), window)
        # the next window's model needs the memory
        gc.collect()
        results.append({"window": window, "centre": float(windows.centres_w[window])} | found)
        if found.get("stopped") is not None:
            return {"windows": results, "stopped": found["stopped"], "exit_status": found["exit_status"]}
    if arguments.samples_only:
        return {"windows": results}
    if arguments.part is not None:
        part, parts = arguments.part
        solver.log.afterwards(
            f"part {part} of {parts}: {len(own)} windows trained; `mpiqmd train` without --part puts all together"
        )
        result_file = part_path(Path(RESULT_FILE), f"part-{part}").name
        return {"windows": results, "part": [part, parts], "result_file": result_file}
    comm = solver.model.grid.comm
    windowed = on_rank_zero(comm, _put_together, folder, windows, solver.model.signature())
    finding = windowed.finding(settings.rom.online)
    verdict = closing("dynamics through all windows", [finding])
    solver.log.afterwards(f"{folder / MODEL_FILE} has all {len(windows)} windows; the models in {folder}/window-* belong to it")
    solver.log.afterwards(verdict["words"])
    return {"windows": results, "laid": windows.described(), "verdict": verdict}


def with_share_of_validation(settings: Settings, n_distinct: int) -> Settings:
    """Return the input with the unseen geometries of one window: all windows together have ``train.validation``, or more.

    Not collective.  Each has so many that its rounds know what it lacks.
    """
    asked = settings.train.validation
    share = min(asked, max(ceil(asked / n_distinct), ENOUGH_OF_ONE))
    return replace(settings, train=replace(settings.train, validation=share))


def _own(windows: Windows, part: tuple[int, int] | None) -> list[int]:
    """Return the distinct windows that this command trains."""
    if part is None:
        return windows.distinct
    number, parts = part
    return windows.distinct[number - 1 :: parts]


def _train_one(
    arguments: argparse.Namespace, settings: Settings, sources: TrainingSources, rule: SamplingRule, window: int
) -> dict[str, Any]:
    """Train the model of one window, or only choose its geometries, and return its result.  Collective."""
    solver, folder = sources.solver, window_folder(arguments.folder, window)
    plan = choose_geometries(rule, sources)
    require_modes(settings.rom.rank, plan, solver.full.n_orbitals)
    if arguments.samples_only:
        return write_samples(settings, folder, plan, solver.model.grid.comm, solver.log)
    return make_good_model(settings, folder, plan, solver)


def _put_together(folder: Path, windows: Windows, signature: dict[str, Any]) -> WindowedModel:
    """Write the file of all windows; rank 0."""
    paths = {window: window_folder(folder, window) / MODEL_FILE for window in windows.distinct}
    notes = {window: read_notes(path) for window, path in paths.items()}
    kept = {window: kept_notes(each) for window, each in notes.items()}
    digests = {window: str(stored_digest(path)) for window, path in paths.items()}
    windowed = WindowedModel(windows, signature, digests, kept)
    windowed.save(folder / MODEL_FILE)
    return windowed
