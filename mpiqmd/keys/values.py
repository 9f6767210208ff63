"""Kinds of value an input key can hold: each knows how to read what was written and how to say what is allowed.

``read`` returns the value in Hartree atomic units or raises :class:`Unacceptable` with what is wrong; it never
guesses.  Lists become tuples, so that settings stay immutable.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mpiqmd.units import DALTON_IN_ELECTRON_MASS, UNITS

DIMENSIONS = UNITS | {"mass": {"me": 1.0, "Da": DALTON_IN_ELECTRON_MASS, "u": DALTON_IN_ELECTRON_MASS}}
ATOMIC_UNIT = {
    "length": "bohr",
    "energy": "Ha",
    "force": "Ha/bohr",
    "time": "a.u.",
    "temperature": "Ha, as k_B T",
    "angle": "rad",
    "mass": "electron masses",
}
LARGEST_INTEGER = 2**63 - 1
_WITH_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z][A-Za-z./]*)?\s*")


class Unacceptable(ValueError):
    """What is wrong with one written value, in a few words."""


class Kind(Protocol):
    """One kind of value."""

    @property
    def allowed(self) -> str:
        """What may be written, as it appears in error messages."""

    @property
    def short(self) -> str:
        """The kind in a word or two, as it appears in the table of keys."""

    def read(self, written: Any, folder: Path) -> Any:
        """Return the value in atomic units; relative paths start at ``folder``.  Raises Unacceptable."""


def as_written(value: Any) -> str:
    """Return a value as it would stand in a TOML file, cut to a readable length."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 72 else text[:69] + "..."


def nearest(word: str, known: list[str]) -> str:
    """Return " (did you mean ...?)" for the known word closest to ``word``, or nothing."""
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


@dataclass(frozen=True)
class Bounds:
    """An interval, closed at ``minimum`` and ``maximum``, open at ``above``."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None

    def __str__(self) -> str:
        if self.above is not None:
            return f"above {self.above:g}" + ("" if self.maximum is None else f", at most {self.maximum:g}")
        if self.minimum is not None:
            return f"at least {self.minimum:g}" if self.maximum is None else f"from {self.minimum:g} to {self.maximum:g}"
        return "" if self.maximum is None else f"at most {self.maximum:g}"

    def check(self, value: float) -> None:
        """Raise Unacceptable if ``value`` lies outside."""
        if self.above is not None and not value > self.above:
            raise Unacceptable(f"not above {self.above:g}")
        if self.minimum is not None and value < self.minimum:
            raise Unacceptable(f"below {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            raise Unacceptable(f"above {self.maximum:g}")


def _string(written: Any) -> str:
    """Return a string as it is written."""
    if not isinstance(written, str):
        raise Unacceptable("not a string")
    return written


def _finite(written: Any) -> float:
    """Return a number as a finite float; booleans are not numbers."""
    if isinstance(written, bool) or not isinstance(written, int | float):
        raise Unacceptable("not a number")
    try:
        value = float(written)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise Unacceptable("not finite")
    return value


@dataclass(frozen=True)
class Integer:
    """A whole number in a range, optionally even."""

    bounds: Bounds = Bounds()
    even: bool = False

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return " ".join(part for part in ("an even integer" if self.even else "an integer", str(self.bounds)) if part)

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return "even integer" if self.even else "integer"

    def read(self, written: Any, folder: Path) -> int:
        """Return the integer."""
        if isinstance(written, bool) or not isinstance(written, int):
            raise Unacceptable("not an integer")
        if abs(written) > LARGEST_INTEGER:
            raise Unacceptable("too large for 64 bits")
        self.bounds.check(written)
        if self.even and written % 2:
            raise Unacceptable("odd")
        return written


@dataclass(frozen=True)
class Number:
    """A dimensionless real number in a range."""

    bounds: Bounds = Bounds()

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return " ".join(part for part in ("a number", str(self.bounds)) if part)

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return "number"

    def read(self, written: Any, folder: Path) -> float:
        """Return the number as a float."""
        value = _finite(written)
        self.bounds.check(value)
        return value


@dataclass(frozen=True)
class Quantity:
    """A physical quantity: a number in atomic units, or a string with one of the units of its dimension.

    ``bounds`` are in atomic units; ``hint`` is shown when they are exceeded.
    """

    dimension: str
    bounds: Bounds = Bounds()
    hint: str = ""

    @property
    def units(self) -> str:
        """The units that may be written, separated by commas."""
        return ", ".join(DIMENSIONS[self.dimension])

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        interval = f" {self.bounds}" if str(self.bounds) else ""
        article = "an" if self.dimension[0] in "ae" else "a"
        unit = ATOMIC_UNIT[self.dimension]
        return f"{article} {self.dimension}{interval} ({unit}), or a string with a unit ({self.units})"

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return f"{self.dimension} ({ATOMIC_UNIT[self.dimension]})"

    def read(self, written: Any, folder: Path) -> float:
        """Return the quantity in atomic units."""
        value = self._from_text(written) if isinstance(written, str) else _finite(written)
        try:
            self.bounds.check(value)
        except Unacceptable as problem:
            raise Unacceptable(f"{problem} {ATOMIC_UNIT[self.dimension]}{self.hint}") from None
        return value

    def _from_text(self, text: str) -> float:
        match = _WITH_UNIT.fullmatch(text)
        if match is None:
            raise Unacceptable("not a number followed by a unit")
        number, unit = match.groups()
        known = DIMENSIONS[self.dimension]
        if unit is None:
            raise Unacceptable("a string without a unit")
        if unit not in known:
            raise Unacceptable(f"{unit!r} is not a unit of {self.dimension}{nearest(unit, list(known))}")
        return _finite(float(number) * known[unit])


@dataclass(frozen=True)
class Boolean:
    """``true`` or ``false``."""

    allowed: str = "true or false"
    short: str = "true | false"

    def read(self, written: Any, folder: Path) -> bool:
        """Return the boolean."""
        if not isinstance(written, bool):
            raise Unacceptable("not a boolean")
        return written


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """See :class:`Kind`."""
        return "one of " + ", ".join(f'"{option}"' for option in self.options)

    @property
    def short(self) -> str:
        """See :class:`Kind`."""
        return " | ".join(self.options)

    def read(self, written: Any, folder: Path) -> str:
        """Return the word."""
        if _string(written) not in self.options:
            raise Unacceptable(f"unknown{nearest(written, list(self.options))}")
        return written


@dataclass(frozen=True)
class Text:
    """A string that ``interpret`` accepts; ``interpret`` returns the stored form or raises Unacceptable."""

    allowed: str
    short: str
    interpret: Callable[[str], str]

    def read(self, written: Any, folder: Path) -> str:
        """Return the interpreted string."""
        return self.interpret(_string(written))


@dataclass(frozen=True)
class PathName:
    """The name of a file, relative to the folder of the input file."""

    allowed: str = "the path of a file, absolute or relative to the input file"
    short: str = "path"

    def read(self, written: Any, folder: Path) -> Path:
        """Return the absolute path (whether the file exists is its reader's business)."""
        if not _string(written).strip() or "\0" in written:
            raise Unacceptable("not a file name")
        try:
            return (folder / Path(written).expanduser()).resolve()
        except (OSError, RuntimeError) as problem:
            raise Unacceptable(f"not a usable file name ({problem})") from None
