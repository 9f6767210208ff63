"""What is known of the worth of a result, and the one line that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    good
        Whether it is good enough; None where that cannot be told.
    words
        What was found, a part of a sentence.
    """

    good: bool | None
    words: str


def closing(purpose: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return ``good`` and ``words``: whether a result is good enough for a purpose, and why.  Not collective.

    What speaks against it comes first, then what cannot be told.  Nothing is good of which nothing is known.
    """
    against, unknown = ([each for each in findings if each.good is good] for good in (False, None))
    order = [*against, *unknown, *(each for each in findings if each.good)]
    because = "; ".join(each.words for each in order)
    if against:
        return {"good": False, "words": f"warning: NOT good enough for {purpose}: {because}"}
    if unknown or not findings:
        return {"good": None, "words": f"not proven to be good enough for {purpose}: {because or 'nothing was looked at'}"}
    return {"good": True, "words": f"good enough for {purpose}: {because}"}
