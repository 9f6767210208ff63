"""The models that grow in the folder of a run, each in a file of its own, from which it is used."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpiqmd.datafiles import stored_digest, writing
from mpiqmd.errors import MpiqmdError
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.parallel.log import Log
from mpiqmd.rom.file_names import GATHERED_NAME, MODEL_NAME
from mpiqmd.rom.full_solutions import FullSolution
from mpiqmd.rom.growth import grown_model, joined_geometries
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.verdict import GROWN


class Filed(NamedTuple):
    """A model, and the hash of its file."""

    reduced: ReducedModel
    digest: str


class GrownModels:
    """The models of one run.  Construction is not collective.

    Parameters
    ----------
    model
        The physics.
    options
        How grid-free forms are made.
    folder
        Where the files are.
    log
        Where progress goes.
    """

    def __init__(self, model: KohnShamModel, options: RomOptions, folder: Path, log: Log) -> None:
        self.model, self.options, self.folder, self.log = model, options, folder, log
        self.comm = model.grid.comm

    def path(self, number: int) -> Path:
        """Return the file of a model; the first of a run, which comes from elsewhere, is 1."""
        return self.folder / MODEL_NAME.format(number)

    def gathered_path(self, number: int) -> Path:
        """Return the file of the full solutions of dynamics that it grows by."""
        return self.folder / GATHERED_NAME.format(number)

    def load(self, number: int) -> Filed:
        """Return a model from its file.  Collective.  Raises DataFileError, and ConfigError if it is of other physics."""
        path = self.path(number)
        reduced = ReducedModel.load(path, self.comm, self.model.grid, self.model.signature())
        digest = on_rank_zero(self.comm, stored_digest, path)
        assert digest is not None, "a model without a seal is not loaded"
        return Filed(reduced, digest)

    def grow(self, before: Filed, solved: Sequence[FullSolution], number: int, step: int) -> Filed:
        """Return the model that another grows to by full solutions, from its file.  Collective.

        One that is there, of a run that was killed, is used if it was made of the very same.  ``number`` is that of the new
        model, ``step`` when it grows.
        """
        known = len(before.reduced.training_positions_sav)
        provenance = {"model": before.digest, "epoch": number, "step": step, "geometries": [known, known + len(solved)]}
        with suppress(MpiqmdError):
            found = self.load(number)
            if decide(self.comm, _is_of(found.reduced, before.reduced, solved, provenance)):
                self.log(f"{self.path(number).name} was made of them before")
                return found
        made = grown_model(self.model, before.reduced, solved, self.options, self.log, provenance)
        aside = on_rank_zero(self.comm, put_aside, self.path(number))
        if aside is not None:
            self.log(f"warning: {self.path(number).name} is of another course of this run, and {aside.name} from now on")
        made.save(self.path(number))
        # as a resumed run has it
        return self.load(number)


def put_aside(path: Path) -> Path | None:
    """Give a file another name, if it is there, and return that.  Not collective.  Raises DataFileError."""
    if not path.exists():
        return None
    free = (path.with_name(f"{path.stem}-aside-{count}{path.suffix}") for count in itertools.count(1))
    aside = next(each for each in free if not each.exists())
    with writing(path):
        path.rename(aside)
    return aside


def _is_of(reduced: ReducedModel, before: ReducedModel, solved: Sequence[FullSolution], provenance: dict[str, Any]) -> bool:
    """Whether a model has grown from the one before by these very solutions."""
    joined, notes = joined_geometries(before, solved), reduced.notes.get(GROWN, {})
    same = all(notes.get(name) == value for name, value in provenance.items())
    same = same and np.array_equal(reduced.training_positions_sav, joined.positions_sav)
    return bool(same and np.array_equal(reduced.training_energies_s, joined.energies_s))
