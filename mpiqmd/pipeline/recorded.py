"""Evaluations kept in a file as they are made, so that a run that was killed repeats none of them.

The file holds one JSON object per line: first the identity of the surface, then one evaluation after the other in the
order they were asked for.  A command that asks again for the same geometries in the same order gets them from the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.datafiles import replacing, writing
from mpiqmd.errors import AccuracyError, DataFileError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Surface, evaluation_at, one_by_one
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.pipeline.results import LARGEST_RESULT
from mpiqmd.printable import printable
from mpiqmd.regular import in_words, read_bounded
from mpiqmd.same_run import changes

if TYPE_CHECKING:
    from mpi4py import MPI

SAME = 1e-9
"""Positions that differ by less (bohr) are the same geometry."""


class RecordedSurface:
    """Another surface whose evaluations are read from a file as far as it goes, and written to it.

    Construction is collective.

    Parameters
    ----------
    surface
        The surface.
    path
        The file; made if it is not there.
    identity
        What evaluations must share to belong together, as text by name.
    comm
        Communicator of the surface.

    Raises
    ------
    DataFileError
        The file cannot be read or written, or belongs to another surface.
    """

    def __init__(self, surface: Surface, path: Path, identity: dict[str, str], comm: MPI.Comm) -> None:
        self.surface, self.path, self.comm = surface, path, comm
        self.identity = identity
        self._known: list[dict[str, Any]] = on_rank_zero(comm, _read, path, identity)
        self._asked = 0

    @property
    def known(self) -> int:
        """Number of evaluations that the file holds."""
        return len(self._known)

    def fresh(self, company: int = 1) -> Memory:
        """Return the surface's memory of a new owner.  Not collective."""
        return self.surface.fresh(company)

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Memory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces, one after the other, or errors in their places.  Collective.

        Those that are not finite are an AccuracyError.
        """
        return one_by_one(self._known_or_asked, positions_bav, memories)

    def _known_or_asked(self, positions_av: np.ndarray, memory: Memory) -> Evaluation:
        index, self._asked = self._asked, self._asked + 1
        if index < len(self._known) and not _is_at(self._known[index], positions_av):
            del self._known[index:]
            on_rank_zero(self.comm, _write, self.path, [self.identity, *self._known])
        if index < len(self._known):
            return _evaluation(self._known[index])
        evaluation = evaluation_at(self.surface, positions_av, memory)
        is_finite = np.isfinite(evaluation.energy) and np.isfinite(evaluation.forces_av).all()
        if not decide(self.comm, bool(is_finite)):
            raise AccuracyError(
                f"energy or forces of geometry {index} are not finite; numbers are expected. Check for atoms on top of "
                "each other, or start from another geometry."
            )
        row = row_of(positions_av, evaluation)
        self._known.append(row)
        on_rank_zero(self.comm, _append, self.path, row)
        return evaluation


def row_of(positions_av: np.ndarray, evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data, from which it can be made again bit for bit."""
    return {
        "positions": positions_av.tolist(),
        "energy": float(evaluation.energy),
        "forces": evaluation.forces_av.tolist(),
        "extras": {name: float(value) for name, value in evaluation.extras.items() if np.isfinite(value)},
    }


def _evaluation(row: dict[str, Any]) -> Evaluation:
    return Evaluation(row["energy"], np.array(row["forces"]), dict(row["extras"]))


def _is_at(row: dict[str, Any], positions_av: np.ndarray) -> bool:
    stored_av = np.array(row["positions"])
    return stored_av.shape == positions_av.shape and float(np.abs(stored_av - positions_av).max()) < SAME


def _read(path: Path, identity: dict[str, str]) -> list[dict[str, Any]]:
    """Return the whole evaluations of a file, after writing it anew without what a kill left unfinished."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        try:
            lines = read_bounded(path, LARGEST_RESULT).decode("utf-8", errors="replace").splitlines()
        except OSError as problem:
            raise DataFileError(
                f"cannot read {path}: {in_words(problem)}; a readable file is needed. Use --overwrite."
            ) from None
        if lines:
            require_same_surface(path, parsed(lines[0]), identity)
        for line in lines[1:]:
            row = parsed(line)
            if not is_evaluation(row):
                break
            rows.append(row)
    _write(path, [identity, *rows])
    return rows


def parsed(line: str) -> Any:
    """Return what a line of JSON holds, None if it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def is_evaluation(row: Any) -> bool:
    """Return whether a row holds positions (N, 3), energy, forces (N, 3) and extras, all finite numbers."""
    if not isinstance(row, dict) or not isinstance(row.get("extras"), dict):
        return False
    try:
        # taken for numbers by what they are: text that looks like one is none, nor is an integer beyond all floats
        numbers = [np.array(row[name]) for name in ("positions", "forces", "energy")]
        extras = np.array(list(row["extras"].values()))
    except (KeyError, ValueError):
        return False
    positions_av, forces_av, energy = numbers
    shaped = positions_av.ndim == 2 and positions_av.shape == forces_av.shape and energy.ndim == 0 and extras.ndim == 1
    return shaped and all(values.dtype.kind in "iuf" and np.isfinite(values).all() for values in (*numbers, extras))


def require_same_surface(path: Path, stored: Any, identity: dict[str, str]) -> None:
    """Raise DataFileError unless a file's first line is this identity."""
    if not isinstance(stored, dict):
        raise DataFileError(
            f"{path} does not start with the identity of a surface; a file of this command is expected. Use --overwrite, "
            "or another --output."
        )
    differing = changes(stored, identity)
    if differing:
        raise DataFileError(
            f"{path} belongs to another surface: {'; '.join(map(printable, differing))}; a run continues on its own surface "
            "only. Use --overwrite, or another --output."
        )


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the file by these lines, whole or not at all."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def _append(path: Path, row: dict[str, Any]) -> None:
    with writing(path), open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
