"""Molecule: masses, immutability and the geometries it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.elements import ATOMIC_NUMBERS, ATOMIC_WEIGHTS
from mpiqmd.molecule.molecule import Molecule

pytestmark = pytest.mark.serial

WATER_AV = [[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447, 0.0]]


def test_masses_are_standard_weights_in_electron_masses():
    molecule = Molecule(("O", "H", "H"), WATER_AV)
    assert molecule.masses_a == pytest.approx([29164.39, 1837.47, 1837.47], abs=0.01)
    assert len(molecule) == 3


def test_elements_are_in_order_and_complete_up_to_radon():
    assert [ATOMIC_NUMBERS[symbol] for symbol in ("H", "C", "Ne", "Kr", "Xe", "Rn")] == [1, 6, 10, 36, 54, 86]
    assert len(ATOMIC_WEIGHTS) == 86
    # the table may fall with the number only at the known inversions
    inversions = [
        symbol
        for symbol, following in zip(list(ATOMIC_WEIGHTS), list(ATOMIC_WEIGHTS)[1:], strict=False)
        if ATOMIC_WEIGHTS[following] < ATOMIC_WEIGHTS[symbol]
    ]
    assert inversions == ["Ar", "Co", "Te"]


def test_given_masses_are_kept_when_the_nuclei_move():
    heavy = Molecule(("H", "H"), [[0, 0, 0], [1.4, 0, 0]], masses_a=np.array([3671.5, 3671.5]))
    moved = heavy.with_positions(heavy.positions_av + 1.0)
    assert moved.masses_a.tolist() == [3671.5, 3671.5]
    assert moved.positions_av[0].tolist() == [1.0, 1.0, 1.0]
    assert heavy.positions_av[0].tolist() == [0.0, 0.0, 0.0]


def test_arrays_are_private_copies_that_cannot_be_written():
    positions_av = np.array(WATER_AV)
    molecule = Molecule(("O", "H", "H"), positions_av)
    positions_av[0] = 7.0
    assert molecule.positions_av[0, 0] == 0.0
    with pytest.raises(ValueError):
        molecule.positions_av[0, 0] = 1.0


def test_centre_of_mass():
    molecule = Molecule(("O", "H", "H"), WATER_AV)
    expected = 2 * 1.008 * 1.12 / (15.999 + 2 * 1.008)
    assert molecule.centre_of_mass_v == pytest.approx([expected, 0, 0], abs=1e-12)


@pytest.mark.parametrize(
    "positions, words",
    [
        ([[0, 0, 0], [0.2, 0, 0]], "0.2 bohr apart"),
        ([[0, 0, 0], [np.nan, 0, 0]], "finite"),
        ([[0, 0, np.inf], [1, 0, 0]], "finite"),
    ],
)
def test_impossible_positions_are_refused(positions, words):
    with pytest.raises(GeometryError, match=words):
        Molecule(("O", "H"), positions).check()


def test_possible_positions_pass():
    Molecule(("O", "H", "H"), WATER_AV).check()


def test_unknown_element_and_wrong_shape_are_refused():
    with pytest.raises(GeometryError, match="'Ox'"):
        Molecule(("Ox",), [[0, 0, 0]])
    with pytest.raises(GeometryError, match="shape"):
        Molecule(("O", "H"), [[0, 0, 0]])
    with pytest.raises(GeometryError, match="positive"):
        Molecule(("H",), [[0, 0, 0]], masses_a=np.array([-1.0])).check()
