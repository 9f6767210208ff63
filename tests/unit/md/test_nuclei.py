"""Degrees of freedom, velocities, and thermostats."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.md.nuclei import count_degrees_of_freedom, make_nuclei
from mpiqmd.md.observables import angular_momentum, kinetic_energy, momentum
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.thermostats import make_thermostat
from mpiqmd.md.thermostats.berendsen import Berendsen
from mpiqmd.md.thermostats.thermostat import NoThermostat
from mpiqmd.md.velocities import initial_velocities, maxwell_boltzmann
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import KELVIN_IN_HARTREE
from tests.helpers.md_surfaces import water

pytestmark = pytest.mark.serial
ROOM = 300 * KELVIN_IN_HARTREE
CARBON_DIOXIDE = Molecule(("C", "O", "O"), np.array([[0.0, 0, 0], [1.3, 1.3, 1.3], [-1.3, -1.3, -1.3]]))


@pytest.mark.parametrize(
    "molecule, n_pinned, translation, rotation, expected",
    [
        (water(), 0, False, False, 9),
        (water(), 0, True, False, 6),
        (water(), 0, True, True, 3),
        (water(), 0, False, True, 6),
        (water(), 1, True, True, 6),
        (water(), 3, True, True, 0),
        (CARBON_DIOXIDE, 0, True, True, 4),
        (Molecule(("H", "H"), np.array([[0.0, 0, 0], [0.3, 1.2, 0.4]])), 0, True, True, 1),
        (Molecule(("H",), np.zeros((1, 3))), 0, True, True, 0),
        (Molecule(("H",), np.zeros((1, 3))), 0, False, False, 3),
    ],
)
def test_degrees_of_freedom(molecule, n_pinned, translation, rotation, expected):
    count = count_degrees_of_freedom(molecule.positions_av, molecule.masses_a, n_pinned, translation, rotation)
    assert count == expected


@pytest.mark.parametrize("rotation", [False, True])
@pytest.mark.parametrize("molecule", [water(), CARBON_DIOXIDE])
def test_random_velocities_have_exactly_the_temperature_and_no_rigid_motion(molecule, rotation):
    nuclei = make_nuclei(molecule, (), True, rotation)
    velocities_av = maxwell_boltzmann(ROOM, 7, molecule.positions_av, nuclei)
    kinetic = kinetic_energy(velocities_av, molecule.masses_a)
    assert kinetic == pytest.approx(0.5 * nuclei.degrees_of_freedom * ROOM, rel=1e-13)
    assert np.abs(momentum(velocities_av, molecule.masses_a)).max() < 1e-14
    spin = np.abs(angular_momentum(molecule.positions_av, velocities_av, molecule.masses_a)).max()
    assert (spin < 1e-13) if rotation else (spin > 1e-3)


def test_random_velocities_are_maxwell_boltzmann():
    """Many independent atoms: mean 0, variance kT/M for each element, kurtosis of a normal distribution."""
    n_atoms = 4000
    symbols = ("O", "H") * (n_atoms // 2)
    molecule = Molecule(symbols, np.random.default_rng(1).normal(size=(n_atoms, 3)) * 30)
    nuclei = make_nuclei(molecule, (), False, False)
    velocities_av = maxwell_boltzmann(ROOM, 3, molecule.positions_av, nuclei)
    for element in (0, 1):
        scaled = (velocities_av * np.sqrt(molecule.masses_a / ROOM)[:, None])[element::2].ravel()
        assert abs(scaled.mean()) < 4 / np.sqrt(scaled.size)
        assert scaled.var() == pytest.approx(1.0, abs=4 * np.sqrt(2 / scaled.size))
        assert (scaled**4).mean() == pytest.approx(3.0, abs=4 * np.sqrt(96 / scaled.size))


def test_seed_decides_and_pinned_atoms_rest():
    molecule = water()
    nuclei = make_nuclei(molecule, [0, 0], True, True)
    first, again, other = (maxwell_boltzmann(ROOM, seed, molecule.positions_av, nuclei) for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    assert nuclei.pinned == (0,) and np.array_equal(first[0], np.zeros(3))
    assert nuclei.temperature(first) == pytest.approx(ROOM, rel=1e-13)
    assert np.abs(momentum(first, molecule.masses_a)).max() > 1e-2


def test_given_velocities_lose_net_momentum_only():
    molecule = water()
    nuclei = make_nuclei(molecule, (), True, False)
    given = np.array([[1e-3, 0, 0], [0, 1e-3, 0], [0, 0, 1e-3]])
    velocities_av = initial_velocities(given, ROOM, 1, molecule.positions_av, nuclei)
    assert np.abs(momentum(velocities_av, molecule.masses_a)).max() < 1e-13
    assert np.ptp(velocities_av - given, axis=0).max() < 1e-18
    kept = initial_velocities(given, ROOM, 1, molecule.positions_av, make_nuclei(molecule, (), False, False))
    assert np.array_equal(kept, given)
    assert not initial_velocities("zero", ROOM, 1, molecule.positions_av, nuclei).any()


def test_impossible_choices_are_refused():
    molecule = water()
    nuclei = make_nuclei(molecule, (), True, False)
    for choice in ("maxwell", np.zeros((2, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(ConfigError, match="allowed: 'random', 'zero'"):
            initial_velocities(choice, ROOM, 1, molecule.positions_av, nuclei)
    with pytest.raises(ConfigError, match="numbered 0 to 2"):
        make_nuclei(molecule, (3,), True, False)
    with pytest.raises(ConfigError, match="none, berendsen"):
        make_thermostat(DynamicsSettings(thermostat="nose", temperature=ROOM))
    for name in ("berendsen", "nose-hoover"):
        hasty = DynamicsSettings(thermostat=name, temperature=ROOM, options={"relaxation_time": 10.0}, timestep=20.0)
        with pytest.raises(ConfigError, match="at least one time step"):
            make_thermostat(hasty)
    with pytest.raises(ConfigError, match="above zero"):
        make_thermostat(DynamicsSettings(thermostat="nose-hoover", temperature=0.0))
    assert isinstance(make_thermostat(DynamicsSettings(options={"relaxation_time": 10.0}, timestep=20.0)), NoThermostat)


def test_berendsen_moves_the_temperature_by_its_rule_and_books_the_heat():
    molecule = water()
    nuclei = make_nuclei(molecule, (), True, False)
    velocities_av = maxwell_boltzmann(2 * ROOM, 1, molecule.positions_av, nuclei)
    thermostat = Berendsen(ROOM, 100.0)
    cooled_av = thermostat.after(velocities_av, molecule.positions_av, nuclei, 5.0)
    assert nuclei.temperature(cooled_av) == pytest.approx(2 * ROOM - 0.05 * ROOM, rel=1e-12)
    lost = kinetic_energy(velocities_av, nuclei.masses_a) - kinetic_energy(cooled_av, nuclei.masses_a)
    assert thermostat.conserved_offset == pytest.approx(lost, rel=1e-12)
    copy = Berendsen(ROOM, 100.0)
    copy.restore(thermostat.state())
    assert copy.conserved_offset == thermostat.conserved_offset
    assert not thermostat.after(np.zeros((3, 3)), molecule.positions_av, nuclei, 5.0).any()


def test_linear_molecules_keep_the_angular_momentum_of_their_bends(rng):
    """As many velocities are left as degrees of freedom are counted, also of a linear molecule that is bent at the moment."""
    for molecule, about_axis in ((CARBON_DIOXIDE, True), (water(), False)):
        nuclei = make_nuclei(molecule, (), True, True)
        bent_av = molecule.positions_av + 0.2 * rng.normal(size=(3, 3))
        left = [nuclei.at_rest(unit.reshape(3, 3), bent_av) for unit in np.eye(9)]
        assert np.linalg.matrix_rank(np.reshape(left, (9, 9)), tol=1e-9) == nuclei.degrees_of_freedom
        momenta = np.array([angular_momentum(bent_av, velocities_av, molecule.masses_a) for velocities_av in left])
        assert np.linalg.matrix_rank(momenta, tol=1e-6) == about_axis
