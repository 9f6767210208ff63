"""The evaluations of many frames as they are made: kept in a file, so that a kill loses a few of them at most.

The file holds one JSON object per line: first the identity of the surface, then a row per frame with its number.  A frame
that failed has no row, and is tried again by the next run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.datafiles import replacing, writing
from mpiqmd.errors import DataFileError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.recorded import SAME, is_evaluation, parsed, require_same_surface, row_of
from mpiqmd.regular import in_words, require_regular

if TYPE_CHECKING:
    from mpi4py import MPI


class EvaluatedFrames:
    """Energies, forces and extras of frames, those of an earlier run included.  Construction is collective.

    Parameters
    ----------
    path
        The file; made if it is not there.
    identity
        What evaluations must share to belong together, as text by name.
    positions_sav
        The frames, shape (S, N, 3), bohr.
    comm
        Communicator of the surface.

    Attributes
    ----------
    energies_s, forces_sav, extras
        Ha, Ha/bohr, and further numbers by name; NaN where there are none.  On rank 0 only.
    errors
        Messages of the frames that failed, by number.  On rank 0 only.

    Raises
    ------
    DataFileError
        The file cannot be read or written, or belongs to another surface.
    """

    def __init__(self, path: Path, identity: dict[str, str], positions_sav: np.ndarray, comm: MPI.Comm) -> None:
        self.path, self.positions_sav, self.comm = path, positions_sav, comm
        self.energies_s = np.full(len(positions_sav), np.nan)
        self.forces_sav = np.full(positions_sav.shape, np.nan)
        self.extras: dict[str, np.ndarray] = {}
        self.errors: dict[int, str] = {}
        on_rank_zero(comm, self._open, identity)

    @property
    def is_done_s(self) -> np.ndarray:
        """Whether each frame is evaluated, shape (frames,).  On rank 0 only."""
        return np.isfinite(self.energies_s)

    def pending(self) -> list[int]:
        """Return the numbers of the frames still to be evaluated.  Collective."""
        return on_rank_zero(self.comm, lambda: np.flatnonzero(~self.is_done_s).tolist())

    def add(self, outcomes: dict[int, Evaluation | MpiqmdError]) -> None:
        """Keep what was found at frames, by number; on return it is on the disk.  Collective.  Raises DataFileError."""
        on_rank_zero(self.comm, self._add, outcomes)

    def _open(self, identity: dict[str, str]) -> None:
        """Read the file if there is one, and write it anew without what a kill left unfinished."""
        if self.path.exists():
            self._read(identity)
        with replacing(self.path) as beside, open(beside, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(identity) + "\n")
            stream.writelines(json.dumps(self._row(frame)) + "\n" for frame in np.flatnonzero(self.is_done_s))

    def _add(self, outcomes: dict[int, Evaluation | MpiqmdError]) -> None:
        for frame, outcome in outcomes.items():
            if isinstance(outcome, MpiqmdError):
                self.errors[frame] = str(outcome)
            elif not (np.isfinite(outcome.energy) and np.isfinite(outcome.forces_av).all()):
                self.errors[frame] = "energy or forces are not finite. Check for atoms on top of each other."
            else:
                self._keep(frame, row_of(self.positions_sav[frame], outcome))
        good = [frame for frame in outcomes if frame not in self.errors]
        with writing(self.path), open(self.path, "a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(self._row(frame)) + "\n" for frame in good)
            stream.flush()
            os.fsync(stream.fileno())

    def _row(self, frame: int) -> dict[str, Any]:
        extras = {name: float(values_s[frame]) for name, values_s in self.extras.items()}
        evaluation = Evaluation(float(self.energies_s[frame]), self.forces_sav[frame], extras)
        return {"frame": int(frame)} | row_of(self.positions_sav[frame], evaluation)

    def _keep(self, frame: int, row: dict[str, Any]) -> None:
        self.energies_s[frame], self.forces_sav[frame] = row["energy"], row["forces"]
        for name, value in row["extras"].items():
            self.extras.setdefault(name, np.full(len(self.energies_s), np.nan))[frame] = value

    def _read(self, identity: dict[str, str]) -> None:
        """Take over what an earlier run found at the frames that are still the same."""
        try:
            require_regular(self.path)
            with open(self.path, encoding="utf-8", errors="replace") as stream:
                require_same_surface(self.path, parsed(stream.readline()), identity)
                for frame, row in _rows(stream):
                    if 0 <= frame < len(self.energies_s) and self._is_at(frame, row):
                        self._keep(frame, row)
        except OSError as problem:
            raise DataFileError(
                f"cannot read {self.path}: {in_words(problem)}; a readable file is needed. Use --overwrite."
            ) from None

    def _is_at(self, frame: int, row: dict[str, Any]) -> bool:
        stored_av = np.array(row["positions"])
        here_av = self.positions_sav[frame]
        return stored_av.shape == here_av.shape and float(np.abs(stored_av - here_av).max()) < SAME


def _rows(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the whole evaluations among lines of a record; a kill may have cut the last one."""
    for line in lines:
        row = parsed(line)
        if is_evaluation(row) and type(row.get("frame")) is int:
            yield row["frame"], row
