"""Energies and forces of many frames: evaluated a few at a time and kept in a journal, so that a kill loses those at most.

Rows of the journal have the number of their frame.  A frame that failed has no row, and is tried again by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import DataFileError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Surface
from mpiqmd.parallel.comm import decide, everyone_arrives, on_rank_zero
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.regular import in_words, require_regular
from mpiqmd.statics.interruptible import EndedEarly
from mpiqmd.statics.journal_file import append_rows, is_at, is_evaluation, parsed, require_same_surface, row_of, write_journal

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log


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
    refused
        What is wrong with frames that are not to be evaluated, by number.

    Attributes
    ----------
    energies_s, forces_sav, extras, per_atom
        Ha, Ha/bohr, and further numbers by name, of each frame (frames,) and of each atom of it (frames, N); NaN where there
        are none.  On rank 0 only.
    errors
        Messages of the frames that failed, by number.  On rank 0 only.

    Raises
    ------
    DataFileError
        The file cannot be read or written, or belongs to another surface.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, str],
        positions_sav: np.ndarray,
        comm: MPI.Comm,
        refused: Mapping[int, str] | None = None,
    ) -> None:
        self.path, self.positions_sav, self.comm, self.refused = path, positions_sav, comm, refused or {}
        self.energies_s = np.full(len(positions_sav), np.nan)
        self.forces_sav = np.full(positions_sav.shape, np.nan)
        self.extras: dict[str, np.ndarray] = {}
        self.per_atom: dict[str, np.ndarray] = {}
        self.errors: dict[int, str] = dict(refused or {})
        on_rank_zero(comm, self._open, identity)

    @property
    def is_done_s(self) -> np.ndarray:
        """Whether each frame is evaluated, shape (frames,).  On rank 0 only."""
        return np.isfinite(self.energies_s)

    def pending(self) -> list[int]:
        """Return the numbers of the frames still to be evaluated.  Collective."""
        return on_rank_zero(self.comm, lambda: [s for s in np.flatnonzero(~self.is_done_s).tolist() if s not in self.refused])

    def add(self, outcomes: dict[int, Evaluation | MpiqmdError]) -> None:
        """Keep what was found at frames, by number; on return it is on the disk.  Collective.  Raises DataFileError."""
        on_rank_zero(self.comm, self._add, outcomes)

    def _open(self, identity: dict[str, str]) -> None:
        """Read the file if there is one, and write it anew without what a kill left unfinished."""
        if self.path.exists():
            self._read(identity)
        write_journal(self.path, chain([identity], map(self._row, np.flatnonzero(self.is_done_s))))

    def _add(self, outcomes: dict[int, Evaluation | MpiqmdError]) -> None:
        for frame, outcome in outcomes.items():
            if isinstance(outcome, MpiqmdError):
                self.errors[frame] = str(outcome)
            elif not (np.isfinite(outcome.energy) and np.isfinite(outcome.forces_av).all()):
                self.errors[frame] = "energy or forces are not finite. Check for atoms on top of each other."
            else:
                self._keep(frame, row_of(self.positions_sav[frame], outcome))
        good = [frame for frame in outcomes if frame not in self.errors]
        append_rows(self.path, map(self._row, good))

    def _row(self, frame: int) -> dict[str, Any]:
        extras = {name: float(values_s[frame]) for name, values_s in self.extras.items()}
        per_atom = {name: values_sa[frame] for name, values_sa in self.per_atom.items()}
        evaluation = Evaluation(float(self.energies_s[frame]), self.forces_sav[frame], extras, per_atom)
        return {"frame": int(frame)} | row_of(self.positions_sav[frame], evaluation)

    def _keep(self, frame: int, row: dict[str, Any]) -> None:
        self.energies_s[frame], self.forces_sav[frame] = row["energy"], row["forces"]
        for name, value in row["extras"].items():
            self.extras.setdefault(name, np.full(len(self.energies_s), np.nan))[frame] = value
        for name, values_a in row["per_atom"].items():
            self.per_atom.setdefault(name, np.full(self.forces_sav.shape[:2], np.nan))[frame] = values_a

    def _read(self, identity: dict[str, str]) -> None:
        """Take over what an earlier run found at the frames that are still the same."""
        try:
            require_regular(self.path)
            with open(self.path, encoding="utf-8", errors="replace") as stream:
                require_same_surface(self.path, parsed(stream.readline()), identity)
                for frame, row in _rows(stream):
                    if 0 <= frame < len(self.energies_s) and is_at(row, self.positions_sav[frame]):
                        self._keep(frame, row)
        except OSError as problem:
            raise DataFileError(
                f"cannot read {self.path}: {in_words(problem)}; a readable file is needed. Use --overwrite."
            ) from None


def _rows(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the whole evaluations among lines of a record; a kill may have cut the last one."""
    for line in lines:
        row = parsed(line)
        if is_evaluation(row) and type(row.get("frame")) is int:
            yield row["frame"], row


def evaluate_frames(
    surface: Surface, frames: EvaluatedFrames, at_once: int, interruption: Interruption, log: Log
) -> list[float]:
    """Evaluate the frames that have not been yet, so many between two writes; return the seconds of each.

    Collective.  The memory is one for all, and a new one after a failure.  Raises EndedEarly between two writes where there is
    a reason to end.
    """
    pending, seconds, failures = frames.pending(), [], frames.comm.Dup()
    known = len(frames.positions_sav) - len(frames.refused) - len(pending)
    if known:
        log(f"{known} geometries are at hand from an earlier run")
    memory = surface.fresh()
    for first in range(0, len(pending), at_once):
        reason = decide(frames.comm, interruption.reason())
        if reason is not None:
            raise EndedEarly(reason)
        chosen = pending[first : first + at_once]
        started = time.perf_counter()
        memory = _continued(surface, len(chosen), memory)
        outcomes = _outcomes(surface, [frames.positions_sav[frame] for frame in chosen], memory, failures)
        seconds += [(time.perf_counter() - started) / len(chosen)] * len(chosen)
        frames.add(dict(zip(chosen, outcomes, strict=True)))
        if any(isinstance(outcome, MpiqmdError) for outcome in outcomes):
            memory = surface.fresh()
        _report(dict(zip(chosen, outcomes, strict=True)), len(frames.positions_sav), seconds[-1], log)
    failures.Free()
    return seconds


def _continued(surface: Surface, company: int, before: Memory) -> Memory:
    """Return a memory for so many frames at once that goes on from another.  Collective."""
    memory = surface.fresh(company)
    if memory.at_once == before.at_once:
        return before
    memory.restore(before.state())
    return memory


def _outcomes(
    surface: Surface, positions_bav: list[np.ndarray], memory: Memory, failures: MPI.Comm
) -> list[Evaluation | MpiqmdError]:
    """Return the evaluation or the error of each geometry.  Collective.  An error that not all ranks have is raised."""
    outcomes = surface.evaluate(positions_bav, [memory] * len(positions_bav))
    for outcome in outcomes:
        if isinstance(outcome, MpiqmdError) and not everyone_arrives(failures):
            raise outcome
    return outcomes


def _report(outcomes: dict[int, Evaluation | MpiqmdError], count: int, seconds: float, log: Log) -> None:
    """Say how far it is, and which frames failed."""
    for frame, outcome in outcomes.items():
        if isinstance(outcome, MpiqmdError):
            log(f"warning: frame {frame} failed: {outcome}")
    frame, outcome = list(outcomes.items())[-1]
    found = "failed" if isinstance(outcome, MpiqmdError) else _found(outcome)
    log.progress(f"  geometry {frame + 1}/{count}: {found}, {seconds:.2g} s", last=frame + 1 == count)


def _found(evaluation: Evaluation) -> str:
    """Return energy and, where there are some, estimates of the errors of energy and forces, in words."""
    energy, extras = f"{evaluation.energy:.8f} Ha", evaluation.extras
    if "error_estimate" not in extras:
        return energy
    return f"{energy}, estimated errors {extras['error_estimate']:.1e} Ha and {extras['force_error_estimate']:.1e} Ha/bohr"
