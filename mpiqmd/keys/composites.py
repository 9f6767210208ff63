"""Kinds of value made of other kinds: lists, one value for all three axes, a word or something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpiqmd.keys.values import Choice, Kind, Unacceptable, as_written


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind, of fixed length if ``length`` is given."""

    kind: Kind
    length: int | None = None
    may_be_empty: bool = False

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        count = f"a list of {self.length}" if self.length else "a list"
        return f"{count}, each {self.kind.allowed}"

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return f"{self.length} x {self.kind.short}" if self.length else f"list of {self.kind.short}"

    def read(self, written: Any, folder: Path) -> tuple:
        """Return a tuple of values; the first bad entry is named."""
        if not isinstance(written, list | tuple):
            raise Unacceptable("not a list")
        if self.length is not None and len(written) != self.length:
            raise Unacceptable(f"{len(written)} entries instead of {self.length}")
        if not written and not self.may_be_empty:
            raise Unacceptable("an empty list")
        values = []
        for index, entry in enumerate(written):
            try:
                values.append(self.kind.read(entry, folder))
            except Unacceptable as problem:
                raise Unacceptable(f"entry {index}, {as_written(entry)}: {problem}") from None
        return tuple(values)


@dataclass(frozen=True)
class OneOrThree:
    """One value for all axes, or three; always returns three."""

    kind: Kind

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return f"{self.kind.allowed}, or a list of three of them"

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return f"{self.kind.short}, 1 or 3"

    def read(self, written: Any, folder: Path) -> tuple:
        """Return a tuple of three."""
        if isinstance(written, list | tuple):
            return ListOf(self.kind, 3).read(written, folder)
        return (self.kind.read(written, folder),) * 3


@dataclass(frozen=True)
class WordOr:
    """One of a few words, or else a value of another kind."""

    words: Choice
    other: Kind

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return f"{self.words.allowed}, or {self.other.allowed}"

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return f"{self.words.short} | {self.other.short}"

    def read(self, written: Any, folder: Path) -> Any:
        """Return the word or the other value."""
        return (self.words if isinstance(written, str) else self.other).read(written, folder)
