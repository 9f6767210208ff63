"""The kinds of value that the keys of an input file hold: names that are checked, quantities in their range."""

from __future__ import annotations

import math
import re

from mpiqmd.keys.composites import ListOf
from mpiqmd.keys.values import Bounds, Integer, Number, Quantity, Text, Unacceptable, nearest

SHORT_FUNCTIONALS = ("LDA", "PW92", "TETER93", "PBE", "REVPBE", "BLYP")
_LIBXC_NAME = re.compile(r"(lda|gga)_(xc|x|c)(_[a-z0-9]+)*")
_ELEMENT = re.compile(r"[A-Z][a-z]?")


def functional_name(text: str) -> str:
    """Return a functional as stored: short names in capitals, libxc names in small letters joined by '+'."""
    if text.upper() in SHORT_FUNCTIONALS:
        return text.upper()
    parts = [part.strip() for part in text.lower().split("+")]
    if len(parts) > 2 or not all(_LIBXC_NAME.fullmatch(part) for part in parts):
        raise Unacceptable(f"not a known functional{nearest(text, list(SHORT_FUNCTIONALS))}")
    return "+".join(parts)


def element_symbol(text: str) -> str:
    """Return a chemical symbol as it is if it has the form of one (which elements exist is checked later)."""
    if not _ELEMENT.fullmatch(text):
        raise Unacceptable("not a chemical symbol")
    return text


def pseudopotential_name(text: str) -> str:
    """Return the name of the tables ("gth", "gth:6") or the name of a file."""
    if not text.strip() or "\0" in text:
        raise Unacceptable("neither a table nor a file name")
    return text


FUNCTIONAL = Text(
    f'one of {", ".join(SHORT_FUNCTIONALS)} or libxc names such as "lda_xc_teter93" or "gga_x_pbe+gga_c_pbe"',
    "functional",
    functional_name,
)
SYMBOL = Text('a chemical symbol such as "O"', "symbol", element_symbol)
PSEUDOPOTENTIAL = Text(
    '"gth", "gth:VALENCE" (the table with that ion charge), or the path of a psp8 or UPF file relative to the input file',
    "gth | path",
    pseudopotential_name,
)
WITH_KELVIN = ': did you mean kelvin? Write "300 K"'
TEMPERATURE = Quantity("temperature", Bounds(minimum=0.0, maximum=1.0), WITH_KELVIN)
POSITIVE_LENGTH = Quantity("length", Bounds(above=0.0))
SPACING = Bounds(0.005, 4.0)
"""Of the grid, bohr: far beyond what resolves atoms on either side, but what a slip of the unit leaves."""
POSITIVE_TIME = Quantity("time", Bounds(above=0.0))
POSITIVE_ENERGY = Quantity("energy", Bounds(above=0.0))
SMALLEST_COMPILATION_ERROR = 1e-12
"""Ha: the numbers of a model have no more digits."""
COMPILATION_ERROR = Quantity("energy", Bounds(minimum=SMALLEST_COMPILATION_ERROR))
POSITIVE_FORCE = Quantity("force", Bounds(above=0.0))
MASS = Quantity("mass", Bounds(minimum=100.0), ': did you mean dalton? Write "15.999 Da"')
ANGLE = Quantity("angle", Bounds(above=0.0, maximum=math.pi), ': did you mean degrees? Write "104.5 deg"')
ANGLE_OFFSET = Quantity("angle", Bounds(-math.pi, math.pi), ': did you mean degrees? Write "5 deg"')
VECTORS = ListOf(ListOf(Number(), 3))
COUNT = Integer(Bounds(minimum=0))
POSITIVE_COUNT = Integer(Bounds(minimum=1))
