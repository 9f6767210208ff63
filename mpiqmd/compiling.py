"""Loops compiled to machine code by numba, and where that code is kept between runs.

Compiling takes seconds to a minute, so numba keeps the result in the ``__pycache__`` of the package or in the user's cache
(``NUMBA_CACHE_DIR`` names another).  Where none of these can be written to (a container, an account without a home, a
read-only installation), the code is kept in a private temporary folder, and where that cannot be had either, every run
compiles anew.  Nothing that happens to a cache ends a calculation or changes its numbers.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

import mpiqmd

KEY_DIGITS = 16
"""Digits of the hash that names the code of one signature."""
DIGEST_SIZE = hashlib.sha256().digest_size


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Return a decorator that compiles a function with these options of ``numba.njit`` when it is first called.

    Not collective; ranks that compile at the same time do not harm each other.
    """

    def decorate(function: Callable) -> Callable:
        dispatcher = numba.njit(**options)(function)
        cache = _cache_of(function)
        if cache is not None:
            dispatcher._cache = cache
        return dispatcher

    return decorate


def cache_folder(kernel: Any) -> Path | None:
    """Return where the machine code of a compiled function is kept; None if every run compiles it.  Not collective."""
    path = kernel.stats.cache_path
    return None if path is None else Path(path)


def private_folder() -> Path | None:
    """Return the user's own folder for machine code among the temporary files, made if need be; else None.  Not collective.

    Whoever can write there decides what this program executes, so a folder that is not the user's alone is not used.
    """
    try:
        parent = Path(tempfile.gettempdir())
        folder = parent / f"mpiqmd-{mpiqmd.__version__}-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if _is_private(folder) and _keeps_names(parent) else None
    except OSError:
        return None


def _is_private(folder: Path) -> bool:
    """Whether this is a folder, and no link to one, of the user to which nobody else has access."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _keeps_names(parent: Path) -> bool:
    """Whether other users cannot put something else in place of what is in this folder."""
    found = parent.stat()
    return bool(found.st_mode & stat.S_ISVTX) or not found.st_mode & 0o022


def _cache_of(function: Callable) -> _ForgivingCache | None:
    """Return the cache of a function in the first place that can be written to."""
    # what numba raises where it finds no place is a RuntimeError
    with suppress(RuntimeError):
        return _ForgivingCache(function)
    folder = private_folder()
    if folder is None:
        return None
    with _kept_in(folder), suppress(RuntimeError):
        return _ForgivingCache(function)
    return None


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Let numba choose this folder, for our functions only."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@cache
def _stamp_of(folder: Path) -> tuple[tuple[str, float, int], ...]:
    """Return what tells versions of a folder's files apart: the code of a function contains that of what it calls there."""
    return tuple((source.name, (found := source.stat()).st_mtime, found.st_size) for source in sorted(folder.glob("*.py")))


class _Files(IndexDataCacheFile):
    """The files of one function: an index, and the code of each signature under a name of its own.

    numba counts the names, so that two processes which compile different signatures or stencils at the same moment may
    give both the same one; a third then runs the code of the one for the other.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a signature, before the index names it."""
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:KEY_DIGITS]
        name = f"{Path(self._index_name).stem}.{digest}.nbc"
        self._save_data(name, data)
        self._save_index(self._load_index() | {key: name})

    def _save_data(self, name: str, data: Any) -> None:
        """Write code with its checksum after it: a wrong bit in it ends the process, or computes something else."""
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as stream:
            stream.write(content + hashlib.sha256(content).digest())

    def _load_data(self, name: str) -> Any:
        """Return what was written; raises ValueError, and unpacks nothing, if it is not that any more."""
        stored = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(stored[:-DIGEST_SIZE]).digest() != stored[-DIGEST_SIZE:]:
            raise ValueError(f"{name} is damaged")
        # what follows the code is not looked at
        return super()._load_data(name)

    def _load_index(self) -> dict[Any, str]:
        """Return what is there; nothing if the index is damaged, so that the next code replaces it."""
        try:
            return super()._load_index()
        except Exception:
            return {}


class _ForgivingCache(FunctionCache):
    """numba's cache, except that code which cannot be loaded is compiled, and code which cannot be kept is not."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        locator, stamp = self._impl.locator, _stamp_of(Path(function.__code__.co_filename).parent)
        self._cache_file = _Files(locator.get_cache_path(), self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code of a signature; None if there is none or it is damaged."""
        with suppress(Exception):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code of a signature if the disk takes it."""
        with suppress(Exception):
            super().save_overload(sig, data)
