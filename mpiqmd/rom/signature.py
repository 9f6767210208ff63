"""Whether results belong to the same physics: signatures compared field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mpiqmd.printable import printable

MOST_LISTED = 4
"""Differences that a message shows."""


def plain(signature: Mapping[str, object]) -> dict[str, object]:
    """Return a signature as it comes back from a file: nested dictionaries, lists, strings and numbers."""
    return json.loads(json.dumps(signature))


def differences(stored: Mapping[str, object], expected: Mapping[str, object], prefix: str = "") -> list[str]:
    """Return one line per field that differs beyond round-off, with both values.  Not collective."""
    stored, expected = plain(stored), plain(expected)
    lines = []
    for name in sorted({*stored, *expected}):
        one, two = stored.get(name), expected.get(name)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += differences(one, two, f"{prefix}{name}.")
        elif not _same(one, two):
            lines.append(f"{printable(prefix + name, 60)}: {_shown(one)} in the file, {_shown(two)} now")
    return lines


def _same(one: object, two: object) -> bool:
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, int | float) and isinstance(two, int | float):
        return abs(one - two) <= 1e-10 * max(abs(one), abs(two))
    return one == two


def listed(lines: Sequence[str]) -> str:
    """Return differences as one line of bearable length, which says how many it leaves out."""
    more = len(lines) - MOST_LISTED
    return "; ".join(lines[:MOST_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _shown(value: object) -> str:
    return "nothing" if value is None else printable(value, 40)
