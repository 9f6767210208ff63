"""What every command leaves behind: its output folder and a ``result.json`` that is either whole or not there."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from mpiqmd.datafiles import writing
from mpiqmd.errors import ConfigError, DataFileError

RESULT_FILE = "result.json"


def prepare_folder(folder: Path, overwrite: bool, patterns: tuple[str, ...]) -> Path:
    """Create an output folder, without its earlier files if ``overwrite``, and return its absolute path.

    Not collective: rank 0 calls it.  Only files that match ``patterns`` (the names a command writes) are
    removed, never anything else a user may keep there.

    Raises
    ------
    ConfigError
        The folder cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            for pattern in (RESULT_FILE, *patterns):
                for path in folder.glob(pattern):
                    path.unlink()
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ConfigError(
            f"--output {folder}: {reason}. A folder that can be created and written to is needed. "
            "Choose another with --output."
        ) from None
    return folder.resolve()


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, atomically: beside its final place, to the disk, then renamed.

    Not collective: rank 0 calls it.  NumPy numbers and arrays become numbers and lists, paths strings, and
    numbers that are not finite ``null``.

    Raises
    ------
    DataFileError
        The disk is full or the folder cannot be written to.
    """
    text = json.dumps(plain(result), indent=2, allow_nan=False) + "\n"
    with writing(path):
        _replace(path, text)


def read_result(path: Path) -> dict[str, Any]:
    """Return the contents of a ``result.json``.  Not collective.

    Raises
    ------
    DataFileError
        The file cannot be read or is not a result.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise DataFileError(
            f"cannot read the result {path}: {problem}. Give a result.json of mpiqmd."
        ) from None
    if not isinstance(result, dict):
        raise DataFileError(
            f"{path} holds a JSON {type(result).__name__}, not a result. Give a result.json of mpiqmd."
        )
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


def _replace(path: Path, text: str) -> None:
    """Write ``text`` to a temporary file in the same folder, flush it to the disk and rename it to ``path``."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
