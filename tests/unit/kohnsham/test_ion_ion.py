"""Ion-ion energy: Madelung constants, independence of Ewald's width, gradients, invariance."""

from itertools import product

import numpy as np
import pytest

from mpiqmd.kohnsham.terms.ion_ion import _long_range, _short_range, ion_ion_energy
from tests.helpers.oracles import MADELUNG, position_gradient

pytestmark = pytest.mark.serial

CELL = np.array([7.0, 8.0, 9.5])
POSITIONS = np.array([[0.2, -0.3, 0.1], [1.4, 1.2, -0.5], [-3.3, 3.9, 4.6]])
VALENCES = np.array([6.0, 1.0, 3.0])


def energy(positions_av, cell_v=CELL):
    return ion_ion_energy(positions_av, VALENCES, cell_v)[0]


def test_pairs_in_free_space():
    positions_av = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    assert energy(positions_av, None) == pytest.approx(6 / 3 + 18 / 4 + 3 / 5, rel=1e-14)


@pytest.mark.parametrize("distance", [2.0, 5.3])
def test_madelung_constant_of_rocksalt(distance):
    sites = np.array(list(product((0, 1), repeat=3)), float)
    charges = (-1.0) ** sites.sum(axis=1)
    found, gradient_av = ion_ion_energy(sites * distance, charges, np.full(3, 2 * distance))
    assert -found * distance / 4 == pytest.approx(MADELUNG["rocksalt"], rel=1e-11)
    assert np.abs(gradient_av).max() < 1e-12


def test_madelung_constant_of_caesium_chloride():
    edge = 4.4
    found, _ = ion_ion_energy(np.array([[0.0] * 3, [edge / 2] * 3]), np.array([1.0, -1.0]), np.full(3, edge))
    assert -found * edge * np.sqrt(3) / 2 == pytest.approx(MADELUNG["caesium chloride"], rel=1e-11)


def test_charge_in_its_neutralising_background():
    """The simple cubic Wigner lattice: E = -2.837297479480620 q² / 2L."""
    found, _ = ion_ion_energy(np.array([[0.3, 1.0, -2.0]]), np.array([2.0]), np.full(3, 6.0))
    assert found == pytest.approx(-0.5 * 2.837297479480620 * 4 / 6.0, rel=1e-11)


def test_independent_of_the_width():
    volume = CELL.prod()

    def ewald(width):
        itself = -(VALENCES**2).sum() / (np.sqrt(np.pi) * width) - np.pi * width**2 * VALENCES.sum() ** 2 / (2 * volume)
        short, short_av = _short_range(POSITIONS, VALENCES, CELL, width)
        long, long_av = _long_range(POSITIONS, VALENCES, CELL, width)
        return itself + short + long, short_av + long_av, short

    found, gradient_av = ion_ion_energy(POSITIONS, VALENCES, CELL)
    shares = []
    for width in (1.5, 2.2, 3.5):
        other, other_av, short = ewald(width)
        assert other == pytest.approx(found, abs=1e-10)
        assert other_av == pytest.approx(gradient_av, abs=1e-10)
        shares.append(short)
    assert np.ptp(shares) > 1.0


@pytest.mark.parametrize("cell_v", [None, CELL], ids=["isolated", "periodic"])
def test_gradient_against_finite_differences(cell_v):
    _, gradient_av = ion_ion_energy(POSITIONS, VALENCES, cell_v)
    numerical_av = position_gradient(lambda r: energy(r, cell_v), POSITIONS, 1e-3)
    assert np.abs(gradient_av).max() > 0.1
    assert gradient_av == pytest.approx(numerical_av, abs=1e-9)
    assert gradient_av.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-11)


@pytest.mark.parametrize("cell_v", [None, CELL], ids=["isolated", "periodic"])
def test_translation_changes_nothing(cell_v):
    assert energy(POSITIONS + [0.7, -5.1, 2.2], cell_v) == pytest.approx(energy(POSITIONS, cell_v), abs=1e-11)


def test_moving_one_ion_by_a_lattice_vector_changes_nothing():
    moved_av = POSITIONS.copy()
    moved_av[1] += CELL * [1, -1, 0]
    assert energy(moved_av) == pytest.approx(energy(POSITIONS), abs=1e-11)


def test_large_cells_tend_to_free_space():
    """Neutral and without dipole, so that images interact only weakly."""
    positions_av = np.array([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]])
    charges = np.array([1.0, -2.0, 1.0])
    free, _ = ion_ion_energy(positions_av, charges, None)
    errors = [abs(ion_ion_energy(positions_av, charges, np.full(3, edge))[0] - free) for edge in (12.0, 24.0)]
    assert 1e-5 < errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(2**5, rel=0.1)


@pytest.mark.parametrize("edges", [4, 5, -5, 8, 1000, 10**6])
def test_any_number_of_lattice_vectors_changes_nothing(edges):
    cell_v = np.array([7.0, 8.0, 9.5])
    moved_av = POSITIONS.copy()
    moved_av[1] += cell_v * [edges, 0, -edges]
    expected, expected_av = ion_ion_energy(POSITIONS, VALENCES, cell_v)
    found, found_av = ion_ion_energy(moved_av, VALENCES, cell_v)
    resolution = 1e-11 + 1e-15 * abs(edges) * 100
    assert found == pytest.approx(expected, abs=resolution)
    assert found_av == pytest.approx(expected_av, abs=resolution)


def test_ions_of_water_in_its_cell_of_ten_bohr():
    """-2.072587 Ha by another program's Ewald sum."""
    positions_av = np.array([[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.12, -1.447 + 50.0, 0.0]])
    found, _ = ion_ion_energy(positions_av, np.array([6.0, 1.0, 1.0]), np.full(3, 10.0))
    assert found == pytest.approx(-2.072587, abs=1e-6)
