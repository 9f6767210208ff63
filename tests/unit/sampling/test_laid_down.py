"""Windows have the molecule lie in the grid so that its energy in one goes over into that in the next."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.inversion import find_inversions
from mpiqmd.molecule.large_amplitude import difference
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import CUBE, grid_symmetries, operations_of_cell
from mpiqmd.molecule.torsion import find_torsions
from mpiqmd.sampling.laid_down import laid_down
from mpiqmd.sampling.windows import Windows, all_around, from_side_to_side, lay_windows
from tests.unit.molecule.test_torsion import named

pytestmark = pytest.mark.serial


def windows_of(name: str) -> tuple[Windows, Molecule]:
    """Windows along the first rotation, or the inversion, of a molecule, and the molecule."""
    molecule = named(name)
    torsions = find_torsions(molecule)
    if torsions:
        return lay_windows(torsions[0], molecule, all_around(torsions[0], np.radians(30.0))), molecule
    (inversion,) = find_inversions(molecule)
    centres = from_side_to_side(inversion.value(molecule.positions_av), np.radians(30.0))
    return lay_windows(inversion, molecule, centres), molecule


def references(windows: Windows, molecule: Molecule, turn_vv: np.ndarray) -> dict[int, Molecule]:
    """The reference of every distinct window; the rigid molecule stands for the relaxed one, turned anyhow."""

    def relaxed(window: int) -> Molecule:
        moved_av = windows.coordinate.moved(molecule.positions_av, float(windows.centres_w[window]))
        return molecule.with_positions(moved_av @ turn_vv.T)

    return {window: laid_down(windows, window, relaxed, molecule, CUBE) for window in windows.distinct}


@pytest.mark.parametrize(("name", "most"), [("H2O2", 0.15), ("NH3", 1e-6), ("N2H4", 0.3), ("CH3OH", 0.3)])
def test_at_every_border_both_windows_have_the_molecule_lie_alike(name, most):
    """But for an operation of the grid, no heavy atom is elsewhere by more than a little: what makes ripple."""
    windows, molecule = windows_of(name)
    laid = references(windows, molecule, np.eye(3))
    heavy = [a for a, symbol in enumerate(molecule.symbols) if symbol != "H"]
    last = len(windows) if windows.coordinate.period is not None else len(windows) - 1
    apart = windows.centres_w[1] - windows.centres_w[0]
    for window in range(last):
        border_av = windows.coordinate.moved(molecule.positions_av, float(windows.centres_w[window] + 0.5 * apart))
        sides = []
        for side in (window, (window + 1) % len(windows)):
            image_av = windows.operations_w[side].image(border_av)
            body_av = make_frame(laid[windows.models_w[side]]).align(image_av).body_positions_av
            sides.append(windows.operations_w[side].back(body_av))
        turned = [sides[1][:, list(axes)] * np.array(signs) for axes, signs in operations_of_cell(CUBE)]
        nearest = min(np.linalg.norm(each[heavy] - sides[0][heavy], axis=1).max() for each in turned)
        assert nearest < most, windows.coordinate.shown(float(windows.centres_w[window]))


@pytest.mark.parametrize(("name", "window"), [("NH3", 1), ("H2O2", 0), ("H2O2", 6)])
def test_where_a_mirror_leaves_a_window_the_grid_has_the_operation_that_exchanges_its_sides(name, window):
    windows, molecule = windows_of(name)
    reference = references(windows, molecule, np.eye(3))[window]
    beside_av = windows.coordinate.moved(reference.positions_av, float(windows.centres_w[window]) + 0.1)
    offsets = [windows.offset(window, symmetry.image(beside_av)) for symmetry in grid_symmetries(reference)]
    assert any(offset == pytest.approx(-0.1, abs=1e-6) for offset in offsets)


def test_the_operations_that_all_shapes_have_stay_operations_of_the_grid():
    windows, molecule = windows_of("H2O2")
    counts = {window: len(grid_symmetries(each)) for window, each in references(windows, molecule, np.eye(3)).items()}
    assert counts == {0: 3, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 3}
    windows, molecule = windows_of("NH3")
    counts = {window: len(grid_symmetries(each)) for window, each in references(windows, molecule, np.eye(3)).items()}
    assert counts == {0: 1, 1: 3}


def test_a_chiral_molecule_follows_its_minimum():
    windows, molecule = windows_of("N2H4")
    symbols = list(molecule.symbols)
    symbols[2] = "F"
    chiral = Molecule(tuple(symbols), molecule.positions_av)
    (torsion,) = find_torsions(chiral)
    windows = lay_windows(torsion, chiral, all_around(torsion, np.radians(30.0)))
    laid = references(windows, chiral, np.eye(3))
    assert list(laid) == list(range(12))
    ways = [difference(torsion, float(centre), torsion.value(chiral.positions_av)) for centre in windows.centres_w]
    # all the way around a frame does not come back to itself: there is one border where it does not follow
    pairs = [window for window in range(11) if ways[window] < ways[window + 1]]
    assert len(pairs) >= 10
    for window in pairs:
        turned_av = torsion.moved(laid[window].positions_av, float(windows.centres_w[window + 1]))
        upon_av = make_frame(laid[window]).align(turned_av).body_positions_av
        assert np.linalg.norm(laid[window + 1].positions_av - upon_av, axis=1).max() < 0.1
