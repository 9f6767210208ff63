"""The bonds of a molecule as a graph: who is whose neighbour, and what hangs on a bond."""

from __future__ import annotations

from collections.abc import Sequence


def partners_of(n_atoms: int, bonds: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the neighbours of each atom, counted from 0, in ascending order.  Not collective."""
    return [sorted({i for bond in bonds if a in bond for i in bond} - {a}) for a in range(n_atoms)]


def side_of(partners: Sequence[Sequence[int]], blocked: int, start: int) -> set[int]:
    """Return the atoms reached from ``start`` without its bond to ``blocked``, which is among them in a ring."""
    reached, front = {start}, [start]
    while front:
        atom = front.pop()
        following = [p for p in partners[atom] if p not in reached and (atom, p) != (start, blocked)]
        reached.update(following)
        front += following
    return reached
