"""What every command leaves behind: its output folder and a ``result.json`` that is either whole or not there."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from mpiqmd.claims import absolute, unusable
from mpiqmd.datafiles import UNFINISHED, replacing
from mpiqmd.errors import DataFileError
from mpiqmd.regular import in_words, read_text

RESULT_FILE = "result.json"
LARGEST_RESULT = 1_000_000_000
"""Bytes of a file of this program that is read whole: a result, or what a resumed command keeps."""


def prepare_folder(folder: Path, overwrite: bool, patterns: tuple[str, ...], kept: tuple[Path, ...] = ()) -> Path:
    """Create an output folder, without its earlier files if ``overwrite``, and return its absolute path.

    Not collective: rank 0 calls it.  Only files that match ``patterns`` (the names a command writes) are
    removed, never anything else a user may keep there, nor what is ``kept``, the files that the command reads; what a
    killed run left unfinished goes in any case.

    Raises
    ------
    ConfigError
        The folder cannot be created or written to; nothing in it has been touched then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_to_write(folder)
        if overwrite:
            for pattern in (RESULT_FILE, *patterns):
                for path in folder.glob(pattern):
                    if path.resolve() not in kept:
                        path.unlink()
        for pattern in patterns:
            for path in folder.glob(pattern + UNFINISHED):
                path.unlink()
    except OSError as problem:
        raise unusable(folder, problem) from None
    return absolute(folder)


def _try_to_write(folder: Path) -> None:
    """Raise OSError if nothing can be written here: known now, not after hours of computing."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"mpiqmd")
        stream.flush()
        os.fsync(stream.fileno())


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, atomically: beside its final place, to the disk, then renamed.

    Not collective: rank 0 calls it.  NumPy numbers and arrays become numbers and lists, paths strings, and
    numbers that are not finite ``null``.

    Raises
    ------
    DataFileError
        The disk is full or the folder cannot be written to.
    """
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        # piece by piece: the text of many geometries is several times as large as their numbers
        json.dump(plain(result), stream, indent=2, allow_nan=False)
        stream.write("\n")


def read_result(path: Path) -> dict[str, Any]:
    """Return the contents of a ``result.json``.  Not collective.

    Raises
    ------
    DataFileError
        The file cannot be read or is not a result.
    """
    try:
        result = json.loads(read_text(path, LARGEST_RESULT))
    except (OSError, ValueError, RecursionError) as problem:
        found = in_words(problem) if isinstance(problem, OSError) else problem
        raise DataFileError(f"cannot read the result {path}: {found}. Give a result.json of mpiqmd.") from None
    if not isinstance(result, dict):
        raise DataFileError(f"{path} holds a JSON {type(result).__name__}, not a result. Give a result.json of mpiqmd.")
    return result


def plain(value: Any) -> Any:
    """Return a value made of what JSON knows: dictionaries, lists, strings, finite numbers, booleans and null."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
