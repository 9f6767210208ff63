"""How a molecule lies in the grid in each window: so that its energy in one goes over into that in the next.

A grid has ripple: the energy depends on how a molecule lies in it, and where two windows have it lie differently, their
energies differ by that.  So all windows follow from one: the molecule is moved along the coordinate in small steps, each laid
upon the one before (Eckart's conditions), which keeps what symmetry all shapes on the way have in common where it was.

A window that a mirror image leaves where it is (the planar shape on the way of an inversion, cis and trans of a torsion) has to
have one energy for both directions from its centre.  There the molecule is laid down so that the operation which exchanges them
is one of the grid, and of such orientations as near as may be to what the steps come to.  One of these windows is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from mpiqmd.molecule.frame import EckartFrame
from mpiqmd.molecule.large_amplitude import LargeAmplitude, difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import ALMOST_SYMMETRIC, orientations, oriented
from mpiqmd.molecule.symmetry import Symmetry, grid_symmetries, operations_of_cell, symmetrised
from mpiqmd.sampling.windows import Windows

STEPS = 12
"""From one window to another: small enough for each shape to lie upon the one before."""
BESIDE = 0.2
"""How far from the centre, in half-widths, an operation is tried, and how exactly it has to exchange both directions."""


def laid_down(
    windows: Windows, window: int, relaxed: Callable[[int], Molecule], minimum: Molecule, sides: Sequence[Hashable]
) -> Molecule:
    """Return the relaxed molecule of a window as it lies in the grid.  Collective if ``relaxed`` is.

    Parameters
    ----------
    windows, window
        All windows, and which one.
    relaxed
        Returns the molecule that is relaxed in the middle of a window, however it lies.
    minimum
        The molecule at its minimum in its body frame.
    sides
        What tells the sides of the cell apart.
    """
    first = next((w for w in windows.distinct if _reflected(windows, w, relaxed(w), sides)), None)
    if first is None:
        return _symmetric(_followed(windows.coordinate, minimum, relaxed(window)), sides)
    master = _best(windows, first, relaxed(first), sides, oriented(relaxed(first), sides))
    if window == first:
        return _symmetric(master, sides)
    followed = _followed(windows.coordinate, _symmetric(master, sides), relaxed(window))
    return _symmetric(_best(windows, window, followed, sides, followed), sides)


def _followed(coordinate: LargeAmplitude, start: Molecule, end: Molecule) -> Molecule:
    """Return a molecule as it lies when another is moved along the coordinate to its value in small steps."""
    here, value = start, coordinate.value(start.positions_av)
    way = difference(coordinate, coordinate.value(end.positions_av), value)
    for step in range(1, STEPS + 1):
        moved_av = coordinate.moved(here.positions_av, value + way * step / STEPS)
        here = here.with_positions(EckartFrame(here).align(moved_av).body_positions_av)
    return end.with_positions(EckartFrame(here).align(end.positions_av).body_positions_av)


def _best(windows: Windows, window: int, molecule: Molecule, sides: Sequence[Hashable], near: Molecule) -> Molecule:
    """Return the orientation with most operations, ``near`` another, if some exchange both directions; or else that other."""
    tried = [(_reflections(windows, window, each, sides), each) for each in _orientations(molecule, sides)]
    found = [(reflections, each) for reflections, each in tried if reflections]
    if not found:
        return near
    masses_a = molecule.masses_a[:, None]

    def quality(pair: tuple[int, Molecule]) -> tuple[int, float]:
        apart = float((masses_a * (pair[1].positions_av - near.positions_av) ** 2).sum())
        return len(grid_symmetries(pair[1], sides, ALMOST_SYMMETRIC)), -round(apart, 3)

    return max(found, key=quality)[1]


def _orientations(molecule: Molecule, sides: Sequence[Hashable]) -> Iterator[Molecule]:
    """Yield the orientations that show symmetry, each in all ways in which the cell can be turned."""
    for candidate in orientations(molecule, sides):
        for axes, signs in operations_of_cell(sides):
            turn = np.eye(3)[list(axes)] * np.array(signs)[:, None]
            if np.linalg.det(turn) > 0.0:
                yield candidate.with_positions(candidate.positions_av @ turn.T)


def _reflected(windows: Windows, window: int, molecule: Molecule, sides: Sequence[Hashable]) -> bool:
    return any(_reflections(windows, window, each, sides) for each in orientations(molecule, sides))


def _reflections(windows: Windows, window: int, molecule: Molecule, sides: Sequence[Hashable]) -> int:
    """Return how many operations of the grid exchange both directions from a window's centre."""
    offset = BESIDE * windows.half_width
    beside_av = windows.coordinate.moved(molecule.positions_av, float(windows.centres_w[window]) + offset)

    def exchanges(symmetry: Symmetry) -> bool:
        return abs(windows.offset(window, symmetry.image(beside_av)) + offset) < BESIDE * offset

    return sum(exchanges(symmetry) for symmetry in grid_symmetries(molecule, sides, ALMOST_SYMMETRIC))


def _symmetric(molecule: Molecule, sides: Sequence[Hashable]) -> Molecule:
    """Return the molecule about its centre of mass, as symmetric as it nearly is."""
    centred = molecule.with_positions(molecule.positions_av - molecule.centre_of_mass_v)
    return symmetrised(centred, grid_symmetries(centred, sides, ALMOST_SYMMETRIC))
