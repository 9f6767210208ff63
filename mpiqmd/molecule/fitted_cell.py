r"""The cell that an isolated molecule needs: how far the density of its elements reaches, and how the molecule lies.

Far from an atom its density falls as :math:`e^{-2 \kappa r}` with :math:`\kappa = \sqrt{2 I}`, I the first ionisation energy.
An atom is given room up to where this has fallen to ``LEFT``: little for fluorine and helium, much for lithium and silicon.
What walls cost falls with about 0.8 κ, for density functionals bind electrons less firmly (He, Ne, Ar, Mg, H2O, Na2, Li2).
The molecule lies in its body frame (``molecule.orientation``), in which it never turns, so that each edge follows from the
extent along it.  Edges that differ take operations from the grid which exchange axes, and every operation makes another
training geometry of each that is solved: of all ways to make edges equal, the one that shows most operations is chosen, and
then the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.ionisation import IONISATION_ENERGIES
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.symmetry import CUBE, grid_symmetries

LEFT = 1e-6
"""Of :math:`e^{-2 \\kappa r}` at the walls.  They then raise energies by 0.15 mHa at most and change forces by 0.004 to
0.08 mHa/bohr in 22 molecules and He (`docs/accuracy-and-cost.md`); extrapolated, 6e-8 is good to a tenth, at half as many
points again."""
MOTION = 0.3
"""How far atoms are expected to move towards a wall, bohr: hydrogen at 400 K in a bend of 600 1/cm, one standard deviation."""
ALIKE = 0.03
"""Relative difference up to which edges are made equal."""
TURNING = 0.5
"""Edges of cells in which the molecule may turn are multiples of this, bohr."""
WAYS = (CUBE, (0, 1, 1), (0, 1, 0), (0, 0, 1), (0, 1, 2))
"""Which edges are equal: all, two, none."""


@dataclass(frozen=True)
class FittedCell:
    """A cell for a molecule in its body frame.

    Attributes
    ----------
    intervals_v
        Even numbers of spacings along x, y, z.
    edges_v
        Edges, bohr.
    symmetries
        How many operations of the molecule the grid has besides the identity.
    turning_edge
        Of a cubic cell in which the molecule may turn, bohr.
    """

    intervals_v: tuple[int, ...]
    edges_v: tuple[float, ...]
    symmetries: int
    turning_edge: float


def room(symbol: str) -> float:
    """Return how far the walls must be from an atom of an element, bohr, its motion included.  Not collective."""
    return -math.log(LEFT) / (2.0 * math.sqrt(2.0 * IONISATION_ENERGIES[symbol])) + MOTION


def fit_cell(molecule: Molecule, spacing: float) -> FittedCell:
    """Return the cell for a molecule on a grid of this spacing (bohr).  Not collective.

    All edges are whole numbers of spacings, so that the grid is equally fine along all.
    """
    ways = [_intervals(molecule, way, spacing) for way in WAYS]
    lasting = [sides for sides in ways if _fits(_intervals(molecule, sides, spacing), sides)]
    shown = {sides: len(grid_symmetries(oriented(molecule, sides), sides)) for sides in lasting}
    best = max(lasting, key=lambda sides: (shown[sides], -math.prod(sides)))
    edges_v = tuple(round(count * spacing, 6) for count in best)
    return FittedCell(best, edges_v, shown[best], turning_edge(molecule))


def turning_edge(molecule: Molecule) -> float:
    """Return the edge of a cubic cell in which a molecule may turn about its middle or the origin of its frame, bohr.

    Not collective.
    """
    middle_v = 0.5 * (molecule.positions_av.min(axis=0) + molecule.positions_av.max(axis=0))
    placed = (molecule.positions_av - middle_v, body_positions(molecule))
    reach = max(float((np.linalg.norm(place_av, axis=1) + _rooms(molecule)).max()) for place_av in placed)
    return math.ceil(2.0 * reach / TURNING - 1e-9) * TURNING


def body_positions(molecule: Molecule, sides: Sequence[float] = CUBE) -> np.ndarray:
    """Return where the atoms lie in the frame in which a molecule is solved and trained, shape (N, 3), bohr.

    Not collective.  ``sides`` tells the sides of the cell apart.
    """
    return make_frame(oriented(molecule, sides)).align(molecule.positions_av).body_positions_av


def _rooms(molecule: Molecule) -> np.ndarray:
    """Return the room of every atom, shape (N,), bohr."""
    return np.array([room(symbol) for symbol in molecule.symbols])


def _intervals(molecule: Molecule, sides: Sequence[int], spacing: float) -> tuple[int, ...]:
    """Return even numbers of spacings that the molecule needs as it lies among such sides, those of equal sides equal."""
    reach_v = (np.abs(body_positions(molecule, sides)) + _rooms(molecule)[:, None]).max(axis=0)
    needed_v = [2 * math.ceil(reach / spacing - 1e-9) for reach in reach_v]
    equal_v = [max(count for count, other in zip(needed_v, sides, strict=True) if other == side) for side in sides]
    return _alike(equal_v)


def _alike(counts_v: Sequence[int]) -> tuple[int, ...]:
    """Return counts of which those that are nearly as large as a larger one are made equal to it."""
    made: dict[int, int] = {}
    largest = max(counts_v)
    for count in sorted(counts_v, reverse=True):
        largest = largest if count >= (1.0 - ALIKE) * largest else count
        made[count] = largest
    return tuple(made[count] for count in counts_v)


def _fits(needed_v: Sequence[int], sides: Sequence[int]) -> bool:
    """Return whether the sides are enough: where they have become equal, the molecule may lie otherwise."""
    return all(needed <= side for needed, side in zip(needed_v, sides, strict=True))
