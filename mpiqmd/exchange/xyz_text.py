"""XYZ files as text, before ASE reads them: counts that agree, and symbols of all the kinds that people write.

Atoms go by a chemical symbol in any case (``CL``), a symbol with a number behind it (``H1``), an atomic number (``8``), or
``D`` and ``T``, hydrogen with another mass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mpiqmd.datafiles import Unfit
from mpiqmd.molecule.elements import ATOMIC_NUMBERS, ISOTOPES, SYMBOLS


@dataclass(frozen=True)
class XyzText:
    """An XYZ file whose atoms go by their element symbols, with the isotopes that it names.

    Attributes
    ----------
    text
        The file.
    isotopes
        For each frame, the mass in dalton of the atoms that are named as an isotope, by index.
    """

    text: str
    isotopes: list[dict[int, float]] = field(default_factory=list)


def normalised(text: str) -> XyzText:
    """Return a file with plain element symbols.  Not collective.

    Raises Unfit, with the line, for a frame without the lines and columns it announces, which ASE would try to make, and for
    what is no element.
    """
    lines, isotopes, at = text.splitlines(), [], 0
    while at < len(lines) and lines[at].strip():
        count = _count(lines, at)
        columns = _Columns(lines[at + 1])
        found = len(lines[at + 2].split())
        if columns.width > found:
            raise Unfit(f"line {at + 2} announces {columns.width} columns, {found} follow")
        isotopes.append(_rename(lines, at + 2, count, columns))
        at += 2 + count
        while at < len(lines) and lines[at].startswith("VEC"):
            at += 1
    return XyzText("\n".join(lines) + "\n", isotopes)


def element(label: str) -> tuple[str, float | None]:
    """Return the element symbol that an atom's label means and, for an isotope, its mass in dalton; raises Unfit."""
    if label.isascii() and label.isdigit() and 1 <= int(label[:9]) <= len(SYMBOLS):
        return SYMBOLS[int(label) - 1], None
    letters = label.rstrip("0123456789")
    # CA1 may be calcium or a carbon: with a number, only a symbol as it is written counts
    name = letters.capitalize() if letters == label else letters
    if name in ISOTOPES:
        return ISOTOPES[name]
    if name in ATOMIC_NUMBERS:
        return name, None
    raise Unfit(
        f"an atom is called {label[:20]!r}; a chemical symbol (H to Rn, D, T), one with a number behind it such as H1, or an "
        "atomic number is expected"
    )


class _Columns:
    """Where things are in the lines of atoms: what extended XYZ announces, else the symbol first."""

    def __init__(self, comment: str) -> None:
        announced = re.search(r"Properties\s*=\s*[\"'{]?([^\s\"'}]*)", comment, re.IGNORECASE)
        self.width, self.species, self.number = 0, None if announced else 0, None
        fields = announced[1].split(":") if announced else []
        for name, width in zip(fields[0::3], fields[2::3], strict=False):
            if name.lower() == "species":
                self.species = self.width
            if name == "Z":
                self.number = self.width
            self.width += int(width) if width.isascii() and width.isdigit() else 0


def _count(lines: list[str], at: int) -> int:
    """Return the number of atoms of the frame that starts at a line."""
    try:
        count = int(lines[at])
    except ValueError:
        raise Unfit(f"line {at + 1} reads {lines[at].strip()[:30]!r}, a number of atoms is expected") from None
    if not 0 < count <= len(lines) - at - 2:
        raise Unfit(f"line {at + 1} announces {str(count)[:20]} atoms, {max(0, len(lines) - at - 2)} lines follow")
    return count


def _rename(lines: list[str], first: int, count: int, columns: _Columns) -> dict[int, float]:
    """Write the symbols of a frame's atoms plainly and return the masses of its isotopes."""
    isotopes: dict[int, float] = {}
    if columns.species is None:
        return isotopes
    for atom in range(count):
        words = lines[first + atom].split()
        if len(words) <= max(columns.species, columns.number or 0):
            raise Unfit(f"line {first + atom + 1} reads {lines[first + atom].strip()[:40]!r}, an atom is expected")
        try:
            symbol, mass = element(words[columns.species])
        except Unfit as problem:
            raise Unfit(f"line {first + atom + 1}: {problem}") from None
        if columns.number is not None and words[columns.number] != str(ATOMIC_NUMBERS[symbol]):
            called, number = words[columns.species], words[columns.number]
            raise Unfit(f"line {first + atom + 1} calls an atom {called} and gives it Z = {number}")
        if mass is not None:
            isotopes[atom] = mass
        words[columns.species] = symbol
        lines[first + atom] = " ".join(words)
    return isotopes
