"""Bond lengths, angles, torque, drift and the guess of the bonds."""

from __future__ import annotations

import numpy as np
import pytest
from md_surfaces import water

from mpiqmd.md.connectivity import atom_names, guess_bonds, internal_coordinates
from mpiqmd.md.observables import bond_angle, bond_length, linear_drift, net_force, net_torque
from mpiqmd.units import ATOMIC_TIME_IN_FS, BOHR_IN_ANGSTROM

pytestmark = pytest.mark.serial
ETHYLENE = (
    ("C", "C", "H", "H", "H", "H"),
    np.array(
        [[0, 0, 0.67], [0, 0, -0.67], [0, 0.92, 1.24], [0, -0.92, 1.24], [0, 0.92, -1.24], [0, -0.92, -1.24]]
    )
    / BOHR_IN_ANGSTROM,
)


@pytest.mark.parametrize("angle", [1e-7, 0.5, 2.0, np.pi - 1e-7])
def test_angle_is_accurate_everywhere(angle):
    positions_av = np.array([[2.0, 0, 0], [0, 0, 0], [3 * np.cos(angle), 3 * np.sin(angle), 0]])
    assert bond_angle(positions_av, 0, 1, 2) == pytest.approx(angle, rel=1e-8)
    assert bond_length(positions_av, 1, 2) == pytest.approx(3.0, rel=1e-15)


def test_net_force_and_torque(rng):
    positions_tav, forces_tav = rng.normal(size=(2, 5, 4, 3))
    assert np.allclose(net_force(forces_tav)[2], forces_tav[2].sum(axis=0))
    torque = sum(np.cross(r, f) for r, f in zip(positions_tav[3], forces_tav[3], strict=True))
    assert np.allclose(net_torque(positions_tav, forces_tav)[3], torque)


def test_drift_is_the_slope_per_atom_and_picosecond(rng):
    times_t = np.linspace(0.0, 5000.0, 200)
    picoseconds = times_t * ATOMIC_TIME_IN_FS * 1e-3
    energies_t = -17.0 + 6e-5 * picoseconds
    assert linear_drift(times_t, energies_t, 3) == pytest.approx(2e-5, rel=1e-6)
    assert linear_drift(times_t[:2], energies_t[:2], 3) is None


def test_water_has_two_bonds_and_an_angle():
    molecule = water()
    first, second, angle = internal_coordinates(molecule.symbols, np.array([molecule.positions_av] * 2))
    assert (first.label, second.label, angle.label) == ("O–H1", "O–H2", "H1–O–H2")
    assert (first.unit, angle.unit) == ("bohr", "degrees")
    assert first.values_t == pytest.approx([1.83, 1.83]) and angle.values_t == pytest.approx([104.5, 104.5])
    shuffled = internal_coordinates(("H", "O", "H"), molecule.positions_av[None, [1, 0, 2]])
    assert [coordinate.key for coordinate in shuffled] == ["bond_O-H1", "bond_O-H2", "angle_H1-O-H2"]


def test_bonds_of_other_molecules():
    assert guess_bonds(*ETHYLENE) == [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
    assert len(internal_coordinates(ETHYLENE[0], ETHYLENE[1][None])) == 5
    assert atom_names(ETHYLENE[0]) == ["C1", "C2", "H1", "H2", "H3", "H4"]
    assert guess_bonds(("H", "H"), np.array([[0, 0, 0], [0, 0, 9.0]])) == [(0, 1)]
    assert internal_coordinates(("He",), np.zeros((4, 1, 3))) == []
