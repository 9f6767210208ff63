"""A model that is not good enough is made again with more modes and geometries, a few times at most.

What a round decides is on the disk before anything follows from it, so that a training that was killed goes on in the same
round: ``rounds.json`` has the geometries that were added, the share of the singular values and the error of the grid-free form
that were asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.datafiles import reading
from mpiqmd.keys.kinds import SMALLEST_COMPILATION_ERROR
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.checking import candidates, tolerance_of
from mpiqmd.pipeline.identity import recipe
from mpiqmd.pipeline.results import LARGEST_RESULT, plain, write_result
from mpiqmd.regular import read_text
from mpiqmd.rom.enrichment import FINER, finer_fraction, how_many_more, largest_estimates
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.online import OnlineStage
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.validation import Validation
from mpiqmd.rom.verdict import training_excess
from mpiqmd.sampling.plan import Plan
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

ROUNDS_FILE = "rounds.json"


@dataclass(frozen=True)
class Round:
    """What followed from a round.

    Attributes
    ----------
    energy_fraction, compilation_error
        Those of the section ``rom`` in the next round; the latter in Ha.
    added
        Geometries that the next round has more, positions in the body frame, bohr, as plain lists.
    found
        What the round was, as plain data for the result: ``geometries``, ``modes``, ``energy_fraction``,
        ``compilation_error``, ``unseen``, ``words``.
    """

    energy_fraction: float
    compilation_error: float
    added: list
    found: dict[str, Any]

    @property
    def words(self) -> str:
        """What the next round has more."""
        more = [f"{len(self.added)} geometries more"] if self.added else []
        if self.energy_fraction != self.found["energy_fraction"]:
            more.append(f"modes by rom.energy_fraction = {self.energy_fraction:.10g}")
        if self.compilation_error != self.found["compilation_error"]:
            more.append(f"a finer grid-free form by rom.compilation_error = {self.compilation_error:.2g} Ha")
        return ", ".join(more)

    @classmethod
    def of(cls, written: dict[str, Any]) -> Round:
        """Return what was written.  Raises KeyError, TypeError or ValueError where it is something else."""
        added = np.array(written["added"], float)
        if len(added) and (added.ndim != 3 or not np.isfinite(added).all()):
            raise ValueError("added geometries are not finite positions")
        fraction, left_out = float(written["energy_fraction"]), float(written["compilation_error"])
        if not 0.0 < fraction <= 1.0:
            raise ValueError(f"an energy fraction of {fraction}")
        if not SMALLEST_COMPILATION_ERROR <= left_out < np.inf:
            raise ValueError(f"a compilation error of {left_out}")
        return cls(fraction, left_out, added.tolist(), dict(written["found"]))


class Rounds:
    """The rounds of a training that are over, in its folder.  Construction is collective.

    Those of another recipe count for nothing.  Raises DataFileError if the file is damaged.

    Attributes
    ----------
    over
        The rounds that are over and were followed by another.
    """

    def __init__(self, path: Path, settings: Settings, comm: MPI.Comm) -> None:
        self.path, self.comm, self.recipe = path, comm, plain(recipe(settings))
        self.settings = settings
        self.over: list[Round] = on_rank_zero(comm, self._read)

    @property
    def number(self) -> int:
        """The present round, counted from 1."""
        return len(self.over) + 1

    @property
    def settings_now(self) -> Settings:
        """The input with what earlier rounds have made of it."""
        if not self.over:
            return self.settings
        last = self.over[-1]
        rom = replace(self.settings.rom, energy_fraction=last.energy_fraction, compilation_error=last.compilation_error)
        return replace(self.settings, rom=rom)

    @property
    def added(self) -> Samples | None:
        """All geometries that were added so far, each with the number of the round that it was added for; None if none."""
        pairs = [(positions, k) for k, each in enumerate(self.over, start=2) for positions in each.added]
        if not pairs:
            return None
        return Samples(np.array([positions for positions, _ in pairs]), [{"round": float(k)} for _, k in pairs], "added")

    def finish(self, ended: Round) -> None:
        """End the present round; on return that is on the disk.  Collective.  Raises DataFileError."""
        self.over.append(ended)
        rounds = [vars(each) for each in self.over]
        on_rank_zero(self.comm, write_result, self.path, {"recipe": self.recipe, "rounds": rounds})

    def _read(self) -> list[Round]:
        if not self.path.exists():
            return []
        remedy = "One written by `mpiqmd train` is needed. Remove it, which leaves the geometries that are solved."
        with reading(self.path, "file of rounds", remedy):
            written = json.loads(read_text(self.path, LARGEST_RESULT))
            rounds = list(written["rounds"])
            return [Round.of(each) for each in rounds] if written["recipe"] == self.recipe else []


def with_added(samples: Samples, store: SnapshotStore, rounds: Rounds) -> Samples:
    """Return the geometries of a training in the order of its file: those chosen, and those that rounds have added.

    Not collective.
    """
    if any("round" in label for label in store.labels):
        samples = Samples(store.positions_sav, store.labels, samples.name).joined(samples, samples.name)
    added = rounds.added
    return samples if added is None else samples.joined(added, samples.name)


def next_round(
    rounds: Rounds,
    plan: Plan,
    stage: OnlineStage,
    reduced: ReducedModel,
    checked: Validation,
    judgement: dict[str, Any],
    *,
    log: Log,
) -> Round | None:
    """Return what follows from a model that is not good enough, None where nothing can.  Collective."""
    now, remedies = rounds.settings_now, judgement["remedies"]
    left_out = now.rom.compilation_error
    found = found_in(reduced, left_out, checked, judgement)
    finer, fraction = left_out, None
    if "compilation" in remedies:
        finer = max(FINER * left_out, SMALLEST_COMPILATION_ERROR)
    if "modes" in remedies:
        fraction = finer_fraction(reduced.basis, now.rom, training_excess(checked.errors, tolerance_of(now)))
    added = np.empty((0, 0, 3))
    if not {"modes", "compilation"}.issuperset(remedies):
        pool_sav = candidates(now, plan, stage, rounds.number, log)
        count = how_many_more(len(reduced.training_positions_sav))
        added = largest_estimates(stage, pool_sav, count, plan.symmetries, log)
    if fraction is None and finer == left_out and not len(added):
        return None
    return Round(fraction or now.rom.energy_fraction, finer, added.tolist(), found)


def found_in(reduced: ReducedModel, compilation_error: float, checked: Validation, judgement: dict[str, Any]) -> dict[str, Any]:
    """Return what a round's model was, with this ``rom.compilation_error`` (Ha), and what it was good for, as plain data.

    Not collective.
    """
    return {
        "geometries": len(reduced.training_positions_sav),
        "modes": reduced.rank,
        "energy_fraction": reduced.basis.energy_fraction,
        "compilation_error": compilation_error,
        "unseen": plain(checked.errors["unseen"]),
        "words": judgement["words"],
    }
