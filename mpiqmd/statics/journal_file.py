"""The file in which evaluations are kept as they are made, so that a run that was killed repeats none of them.

It holds one JSON object per line: first the identity of the surface, what evaluations must share to belong together, then a
row per evaluation.  :mod:`~mpiqmd.statics.journaled` has rows in the order they were asked for, and
:mod:`~mpiqmd.statics.evaluated_frames` rows with the number of a frame.  Not collective: rank 0 reads and writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.datafiles import replacing, writing
from mpiqmd.errors import DataFileError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.printable import printable
from mpiqmd.regular import in_words, read_bounded
from mpiqmd.same_run import changes

SAME = 1e-9
"""Positions that differ by less (bohr) are the same geometry."""
LARGEST_JOURNAL = 1_000_000_000
"""Bytes of a journal that is read whole."""


def row_of(positions_av: np.ndarray, evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data, from which it can be made again bit for bit."""
    return {
        "positions": positions_av.tolist(),
        "energy": float(evaluation.energy),
        "forces": evaluation.forces_av.tolist(),
        "extras": {name: float(value) for name, value in evaluation.extras.items() if np.isfinite(value)},
        "per_atom": {name: values_a.tolist() for name, values_a in evaluation.per_atom.items() if np.isfinite(values_a).all()},
    }


def evaluation_of(row: dict[str, Any]) -> Evaluation:
    """Return the evaluation that a row was made of."""
    per_atom = {name: np.array(values_a) for name, values_a in row["per_atom"].items()}
    return Evaluation(row["energy"], np.array(row["forces"]), dict(row["extras"]), per_atom)


def is_at(row: dict[str, Any], positions_av: np.ndarray) -> bool:
    """Return whether a row is that of a geometry (N, 3), bohr."""
    stored_av = np.array(row["positions"])
    return stored_av.shape == positions_av.shape and float(np.abs(stored_av - positions_av).max()) < SAME


def read_journal(path: Path, identity: dict[str, str]) -> list[dict[str, Any]]:
    """Return the whole evaluations of a file, after writing it anew without what a kill left unfinished.

    A file that is not there is made.  Raises DataFileError if it cannot be read or written, or belongs to another surface.
    """
    rows: list[dict[str, Any]] = []
    if path.exists():
        try:
            lines = read_bounded(path, LARGEST_JOURNAL).decode("utf-8", errors="replace").splitlines()
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
    write_journal(path, [identity, *rows])
    return rows


def parsed(line: str) -> Any:
    """Return what a line of JSON holds, None if it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def is_evaluation(row: Any) -> bool:
    """Return whether a row holds positions (N, 3), energy, forces (N, 3), extras and arrays (N,), all finite numbers."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), dict) for name in ("extras", "per_atom")):
        return False
    try:
        # taken for numbers by what they are: text that looks like one is none, nor is an integer beyond all floats
        numbers = [np.array(row[name]) for name in ("positions", "forces", "energy")]
        extras = np.array(list(row["extras"].values()))
        per_atom = [np.array(values_a) for values_a in row["per_atom"].values()]
    except (KeyError, ValueError):
        return False
    positions_av, forces_av, energy = numbers
    shaped = positions_av.ndim == 2 and positions_av.shape == forces_av.shape and energy.ndim == 0 and extras.ndim == 1
    shaped = shaped and all(values_a.shape == positions_av.shape[:1] for values_a in per_atom)
    return shaped and all(values.dtype.kind in "iuf" and np.isfinite(values).all() for values in (*numbers, extras, *per_atom))


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


def write_journal(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Replace the file by these lines, the identity first, whole or not at all.  Raises DataFileError."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows at the end; on return they are on the disk.  Raises DataFileError."""
    with writing(path), open(path, "a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
        stream.flush()
        os.fsync(stream.fileno())
