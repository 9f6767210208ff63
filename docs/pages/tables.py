"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with one line per row; raises ValueError for a row of another length."""
    lines = [heads, ["---"] * len(heads), *rows]
    if any(len(line) != len(heads) for line in lines):
        raise ValueError("a row has not as many cells as the table has columns")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
