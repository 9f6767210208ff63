"""Chemical elements H to Rn: atomic numbers and standard atomic weights.

Weights are the abridged or conventional values of the IUPAC table of 2016 in dalton; for elements without
stable isotopes, the mass of the longest-lived one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import GeometryError
from mpiqmd.units import DALTON_IN_ELECTRON_MASS

_WEIGHTS = """
H 1.008       He 4.002602   Li 6.94       Be 9.012183   B 10.81       C 12.011      N 14.007
O 15.999      F 18.998403   Ne 20.1797    Na 22.989769  Mg 24.305     Al 26.981538  Si 28.085
P 30.973762   S 32.06       Cl 35.45      Ar 39.948     K 39.0983     Ca 40.078     Sc 44.955908
Ti 47.867     V 50.9415     Cr 51.9961    Mn 54.938044  Fe 55.845     Co 58.933194  Ni 58.6934
Cu 63.546     Zn 65.38      Ga 69.723     Ge 72.63      As 74.921595  Se 78.971     Br 79.904
Kr 83.798     Rb 85.4678    Sr 87.62      Y 88.90584    Zr 91.224     Nb 92.90637   Mo 95.95
Tc 97.90721   Ru 101.07     Rh 102.9055   Pd 106.42     Ag 107.8682   Cd 112.414    In 114.818
Sn 118.71     Sb 121.76     Te 127.6      I 126.90447   Xe 131.293    Cs 132.905452 Ba 137.327
La 138.90547  Ce 140.116    Pr 140.90766  Nd 144.242    Pm 144.91276  Sm 150.36     Eu 151.964
Gd 157.25     Tb 158.92535  Dy 162.5      Ho 164.93033  Er 167.259    Tm 168.93422  Yb 173.054
Lu 174.9668   Hf 178.49     Ta 180.94788  W 183.84      Re 186.207    Os 190.23     Ir 192.217
Pt 195.084    Au 196.966569 Hg 200.592    Tl 204.38     Pb 207.2      Bi 208.9804   Po 208.98243
At 209.98715  Rn 222.01758
"""

_FIELDS = _WEIGHTS.split()

SYMBOLS: tuple[str, ...] = tuple(_FIELDS[0::2])
"""Element symbols in the order of the atomic number, hydrogen first."""

ATOMIC_WEIGHTS: dict[str, float] = dict(zip(SYMBOLS, map(float, _FIELDS[1::2]), strict=True))
"""Standard atomic weight in dalton, by symbol."""

ATOMIC_NUMBERS: dict[str, int] = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
"""Atomic number, by symbol."""

ISOTOPES: dict[str, tuple[str, float]] = {"D": ("H", 2.01410178), "T": ("H", 3.01604928)}
"""Isotopes with a symbol of their own: element and mass in dalton (AME2016)."""


def standard_masses(symbols: Sequence[str]) -> np.ndarray:
    """Return the standard atomic weights of elements, shape (N,), electron masses. Not collective."""
    return np.array([ATOMIC_WEIGHTS[symbol] for symbol in symbols]) * DALTON_IN_ELECTRON_MASS


def without_isotopes(symbols: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Return element symbols, and masses (N,) in electron masses if an isotope (``D``, ``T``) is among them.

    Not collective.  Raises GeometryError for a symbol that no element or isotope has.
    """
    elements = tuple(require_element(ISOTOPES[symbol][0] if symbol in ISOTOPES else symbol) for symbol in symbols)
    if elements == tuple(symbols):
        return elements, None
    masses_a = standard_masses(elements)
    for atom, symbol in enumerate(symbols):
        if symbol in ISOTOPES:
            masses_a[atom] = ISOTOPES[symbol][1] * DALTON_IN_ELECTRON_MASS
    return elements, masses_a


def require_element(symbol: str) -> str:
    """Return ``symbol`` unchanged, or raise GeometryError if no element is called so. Not collective."""
    if symbol not in ATOMIC_NUMBERS:
        raise GeometryError(
            f"unknown element symbol {symbol!r}; known are H to Rn, written with a capital first letter "
            "('O', 'Cl'). Correct the symbol in the structure."
        )
    return symbol
