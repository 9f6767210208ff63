"""Whether a run that is to be continued is the same: what identified it, as text by name, compared."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

LONGEST = 60
"""Characters of a value in a message."""
BEFORE = 15
"""Of them so many before the place where two long values begin to differ."""


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return one phrase for each name whose values differ, with both values.  Not collective."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name} was {_shown(before, now, name)}, is {_shown(now, before, name)}" for name in names]


def _shown(one: Mapping[str, object], other: Mapping[str, object], name: str) -> str:
    """Return a value, if it is long the part where it differs from the other one."""
    if name not in one:
        return "absent"
    text = str(one[name])
    if len(text) <= LONGEST:
        return text
    pairs = zip(text, str(other.get(name, "")), strict=False)
    first = max(0, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) - BEFORE)
    part = text[first : first + LONGEST]
    return ("..." if first else "") + part + ("..." if first + LONGEST < len(text) else "")
