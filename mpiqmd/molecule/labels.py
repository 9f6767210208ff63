"""How atoms and molecules are called, in every message, table and file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def labels(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each atom: its symbol and its place in the input, counted from 1. Not collective.

    Water written as O, H, H gives ``("O1", "H2", "H3")``.
    """
    return tuple(f"{symbol}{number}" for number, symbol in enumerate(symbols, start=1))


def hill_formula(symbols: Sequence[str]) -> str:
    """Return the sum formula in Hill's order: carbon, hydrogen, then the alphabet. Not collective.

    Without carbon, hydrogen has its place in the alphabet too: ``CH2O2``, ``H2O``, ``H4Si``, ``ClH``.
    """
    counts = Counter(symbols)
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    ordered = first + sorted(set(counts) - set(first))
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in ordered)
