"""Records of several molecules: a run measures one and puts it among those measured before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpiqmd.errors import DataFileError
from mpiqmd.pipeline.results import write_result


def put_among_others(about: dict[str, Any], found: dict[str, Any], path: Path, name: str) -> None:
    """Write a molecule into the list of this name of a record, in the place of what was known of it.

    ``about`` are the circumstances.  Molecules are sorted by ``atoms``, their number, and ``formula``.  Raises DataFileError
    for a file without such a list.
    """
    others = [other for other in _molecules(path, name) if other["formula"] != found["formula"]]
    molecules = sorted([*others, found], key=lambda each: (each["atoms"], each["formula"]))
    write_result(path, about | {name: molecules})


def _molecules(path: Path, name: str) -> list[dict[str, Any]]:
    """Return the molecules of a record; none where there is no file yet."""
    if not path.exists():
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    if name not in stored:
        raise DataFileError(f"{path}: no record of {name}. Name another file, or remove it: every molecule is measured again.")
    molecules: list[dict[str, Any]] = stored[name]
    return molecules
