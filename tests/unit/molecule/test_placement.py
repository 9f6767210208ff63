"""An isolated molecule moved into its cell: when, by how much, and that it then stays."""

import numpy as np
import pytest

from mpiqmd.molecule.placement import Placement
from tests.helpers.rigid_motions import laboratory_positions

pytestmark = pytest.mark.serial

CELL = np.array([12.0, 12.0, 14.0])
DIMER = np.array([[-1.0, 0.0, 0.0], [1.0, 0.5, 0.0]])


@pytest.mark.parametrize("offset", [0.0, 0.9, -0.9])
def test_a_molecule_that_fits_stays(offset):
    placement = Placement(CELL)
    assert not placement.place(DIMER + offset)
    assert (placement.shift_v == 0).all()


@pytest.mark.parametrize("offset", [[6.0, 6.0, 7.0], [-250.0, 3.0, 1e4], [2.5, 0, 0]])
def test_another_goes_to_the_middle(offset):
    placement = Placement(CELL)
    positions_av = DIMER + offset
    assert placement.place(positions_av)
    placed_av = placement.alignment(positions_av).body_positions_av
    assert placed_av.max(axis=0) + placed_av.min(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert not placement.place(positions_av)
    assert laboratory_positions(placement.alignment(positions_av)) == pytest.approx(positions_av)


def test_a_large_molecule_gains_nothing_and_stays():
    long_av = np.array([[-5.0, 0.0, 0.0], [5.2, 0.0, 0.0]])
    assert not Placement(CELL).place(long_av)


def test_the_place_is_kept_while_the_molecule_moves():
    placement = Placement(CELL)
    placement.place(DIMER + 20.0)
    first_v = placement.shift_v.copy()
    assert not placement.place(DIMER + 20.5) and (placement.shift_v == first_v).all()
    assert placement.place(DIMER + 24.0) and (placement.shift_v != first_v).any()
