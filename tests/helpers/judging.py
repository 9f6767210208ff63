"""What may become of a damaged file: an error of mpiqmd that names it, or a result that is whole; nothing else.

Nothing else means: no other exception, no warning about numbers, no more memory than a small file needs, no endless loop,
and, in a process of its own, no crash.
"""

from __future__ import annotations

import resource
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mpiqmd.errors import MpiqmdError

ROOM = 1 << 30
"""Bytes of address space beyond what is in use."""
SECONDS = 10


class HungError(BaseException):
    """A reader does not come back; no reader's ``except Exception`` hides it."""


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    name
        File name.
    pristine
        The bytes of a good file.
    read
        What the program does with it; returns anything.
    check
        Raises AssertionError unless a result is finite and well-formed.
    damage
        Turns good bytes into bad ones.
    """

    name: str
    pristine: bytes
    read: Callable[[Path], Any]
    check: Callable[[Any], None]
    damage: Callable[[Path, np.random.Generator], str]


@dataclass
class Tally:
    """How many files of a format ended how; what is forbidden, case by case."""

    verdicts: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))


@contextmanager
def limited() -> Iterator[None]:
    """Little memory and time for the body of a ``with`` block."""
    with open("/proc/self/statm", encoding="ascii") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _ring)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ROOM, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def _ring(*args: object) -> None:
    raise HungError(f"no answer within {SECONDS} seconds")


def verdict(format: Format, path: Path) -> str:
    """Read a file and return ``"refused"`` or ``"accepted"``; raises whatever is forbidden."""
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            result = format.read(path)
        except MpiqmdError as error:
            message = str(error)
            assert path.name in message, f"the message does not name the file: {message}"
            assert "llocate" not in message and "MemoryError" not in message, f"it tried to: {message}"
            return "refused"
        format.check(result)
    return "accepted"


def fuzz(format: Format, folder: Path, cases: range) -> Tally:
    """Damage a file once for every case, which is the seed of its damage, and judge what is made of it."""
    tally, path = Tally(), folder / format.name
    for case in cases:
        path.write_bytes(format.pristine)
        done = format.damage(path, np.random.default_rng([case, len(format.pristine)]))
        try:
            tally.verdicts[verdict(format, path)] += 1
        except (Exception, HungError) as problem:
            tally.verdicts["wrong"] += 1
            tally.wrong.append(f"case {case} ({done}): {type(problem).__name__}: {str(problem)[:300]}")
    return tally


def rewriting(change: Callable[[bytes, np.random.Generator], bytes]) -> Callable[[Path, np.random.Generator], str]:
    """A damage to the bytes of a file."""

    def damage(path: Path, rng: np.random.Generator) -> str:
        path.write_bytes(change(path.read_bytes(), rng))
        return change.__name__

    return damage
