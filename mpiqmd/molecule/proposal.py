"""A cell and a grid spacing that fit a molecule, from how far it reaches and how hard its pseudopotentials are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.gth import load_gth, smallest_radius
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.symmetry import CUBE

FUNCTIONAL = "PBE"
"""Whose GTH pseudopotentials are proposed."""
TO_WALLS = 5.5
"""Least distance of an atom from the walls of the cell, bohr: there the density has fallen to 1e-5 and less."""
EDGE_STEP, SPACING_STEP = 0.5, 0.01
"""Cells and spacings are multiples of these, bohr."""
SPACINGS = (0.1, 0.3)
"""The finest and the coarsest spacing that is proposed, bohr."""


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a molecule.

    Attributes
    ----------
    edge
        Of a cubic cell in which the molecule may turn, bohr.
    body_cell_v
        Edges of a cell that is enough in the molecule's body frame, bohr; those across a linear molecule are equal.
    spacing
        Of the grid, bohr.
    hardest
        The element that asks for it.
    """

    edge: float
    body_cell_v: tuple[float, ...]
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
    positions_av = molecule.positions_av
    placed = [positions_av - 0.5 * (positions_av.min(axis=0) + positions_av.max(axis=0))]
    placed += [make_frame(oriented(molecule, sides)).align(positions_av).body_positions_av for sides in (CUBE, (0, 1, 2))]
    radii = {symbol: smallest_radius(symbol, FUNCTIONAL) for symbol in molecule.symbols}
    hardest = min(radii, key=radii.__getitem__)
    spacing = math.floor(min(max(radii[hardest], SPACINGS[0]), SPACINGS[1]) / SPACING_STEP + 1e-9) * SPACING_STEP
    reach = max(float(np.linalg.norm(place_av, axis=1).max()) for place_av in placed)
    return Proposal(_edge(reach), tuple(map(_edge, np.abs(placed[2]).max(axis=0))), round(spacing, 4), hardest)


def _edge(reach: float) -> float:
    """Return the edge of a cell whose walls keep their distance from atoms that reach so far from its centre, bohr."""
    return math.ceil(2.0 * (reach + TO_WALLS) / EDGE_STEP - 1e-9) * EDGE_STEP
