"""A cell and a grid spacing that fit a molecule, from how far its density reaches and how hard its pseudopotentials are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.fitted_cell import FittedCell, fit_cell
from mpiqmd.molecule.gth import load_gth, smallest_radius
from mpiqmd.molecule.hardness import CARRIED, PseudoAtom
from mpiqmd.molecule.molecule import Molecule

FUNCTIONAL = "PBE"
"""Whose GTH pseudopotentials are proposed."""
SPACING_STEP = 0.01
"""Spacings are multiples of this, bohr."""
SPACINGS = (0.1, 0.3)
"""The finest and the coarsest spacing that is proposed, bohr."""


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a molecule.

    Attributes
    ----------
    cell
        In the molecule's body frame.
    spacing
        Of the grid, bohr.
    hardest
        The element that asks for it.
    """

    cell: FittedCell
    spacing: float
    hardest: str


def count_electrons(molecule: Molecule) -> int:
    """Return the number of valence electrons.  Not collective.

    Raises ConfigError if it is odd or not positive, or an element has no pseudopotential.
    """
    electrons = round(sum(load_gth(symbol, FUNCTIONAL).valence for symbol in molecule.symbols)) - molecule.charge
    if electrons < 2 or electrons % 2:
        raise ConfigError(
            f"{molecule.formula} with charge {molecule.charge:+d} has {electrons} valence electrons; an even "
            "number of at least 2 is needed, all paired. Give the charge with --charge."
        )
    return electrons


def propose(molecule: Molecule) -> Proposal:
    """Return cell and spacing for an isolated molecule.  Not collective."""
    fit = {symbol: _fitting_spacing(symbol) for symbol in set(molecule.symbols)}
    hardest = min(sorted(fit), key=fit.__getitem__)
    bounded = min(max(fit[hardest], SPACINGS[0]), SPACINGS[1])
    spacing = round(math.floor(bounded / SPACING_STEP + 1e-9) * SPACING_STEP, 4)
    return Proposal(fit_cell(molecule, spacing), spacing, hardest)


def _fitting_spacing(symbol: str) -> float:
    """Return a spacing (bohr) as narrow as an element's core, with which the full solver does not call the grid too coarse."""
    return min(smallest_radius(symbol, FUNCTIONAL), PseudoAtom(load_gth(symbol, FUNCTIONAL)).needed_spacing(CARRIED))
