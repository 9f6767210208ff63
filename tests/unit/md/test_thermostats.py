"""Thermostats: the canonical distribution, energy book-keeping, reversibility, randomness from the seed alone.

Averages are compared with their exact values within four standard errors, which come from the averages of blocks.
"""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.keys.registries import THERMOSTATS
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.noise import generator_state, replica_seed, restore_generator, thermostat_generator
from mpiqmd.md.nuclei import make_nuclei
from mpiqmd.md.observables import angular_momentum, momentum
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.thermostats import make_thermostat
from mpiqmd.md.thermostats.berendsen import Berendsen
from mpiqmd.md.thermostats.csvr import StochasticRescaling
from mpiqmd.md.thermostats.langevin import Langevin
from mpiqmd.md.thermostats.nose_hoover import NoseHoover
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import KELVIN_IN_HARTREE
from tests.helpers.md_surfaces import FreeSurface, PairSurface, SpringSurface, water

pytestmark = pytest.mark.serial
ROOM = 300 * KELVIN_IN_HARTREE
CANONICAL = ("langevin", "csvr", "nose-hoover")


def start(name, molecule, surface, timestep=20.0, relaxation_time=400.0, pinned=(), removals=(True, False), seed=5):
    settings = DynamicsSettings(
        thermostat=name,
        temperature=ROOM,
        options={"relaxation_time": relaxation_time},
        timestep=timestep,
        seed=seed,
    )
    nuclei = make_nuclei(molecule, pinned, *removals)
    velocities_av = maxwell_boltzmann(ROOM, seed, molecule.positions_av, nuclei)
    dynamics = Dynamics(nuclei, molecule.positions_av, velocities_av, timestep, make_thermostat(settings))
    dynamics.accept(surface.at(dynamics.propose()))
    return dynamics


def advance(dynamics, surface, steps):
    """Return kinetic, potential and conserved energies of the steps that follow."""
    energies = np.empty((steps, 3))
    for step in range(steps):
        dynamics.accept(surface.at(dynamics.propose()))
        values = dynamics.observables()
        energies[step] = values["kinetic_energy"], values["potential_energy"], values["conserved_energy"]
    return energies


def assert_mean(values_t, expected, blocks=20, precision=0.1):
    """The mean is the expected one within four standard errors, and these are small enough to tell."""
    means = values_t[: len(values_t) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(blocks)
    assert error < precision * abs(expected)
    assert abs(means.mean() - expected) < 4 * error, (means.mean() / expected, error / expected)


@pytest.mark.parametrize("name", CANONICAL)
def test_oscillators_are_canonical(name):
    """Kinetic and potential energy of nine oscillators: mean 9/2 kT, variance 9/2 (kT)^2, for every canonical scheme."""
    molecule = water()
    surface = SpringSurface(molecule.positions_av, 0.3)
    dynamics = start(name, molecule, surface, timestep=15.0, relaxation_time=60.0, removals=(False, False))
    assert dynamics.nuclei.degrees_of_freedom == 9
    advance(dynamics, surface, 300)
    energies = advance(dynamics, surface, 12000)
    for energy_t in energies.T[:2]:
        assert_mean(energy_t, 4.5 * ROOM)
    assert_mean((energies[:, 0] - 4.5 * ROOM) ** 2, 4.5 * ROOM**2)


def test_berendsen_has_the_mean_but_not_the_fluctuations():
    """The published flaw: the kinetic energy fluctuates too little, here by far more than the statistical error."""
    molecule = water()
    surface = SpringSurface(molecule.positions_av, 0.3)
    dynamics = start("berendsen", molecule, surface, timestep=15.0, relaxation_time=30.0, removals=(False, False))
    energies = advance(dynamics, surface, 4000)
    assert energies[:, 0].mean() == pytest.approx(4.5 * ROOM, rel=0.1)
    assert energies[:, 0].var() < 0.6 * 4.5 * ROOM**2


@pytest.mark.parametrize(
    ("molecule", "pinned", "removals", "count"),
    [
        (Molecule(("O",), np.zeros((1, 3))), (), (False, False), 3),
        (Molecule(("O", "H"), np.array([[0.0, 0, 0], [0.3, 1.7, 0.4]])), (), (True, False), 3),
        (Molecule(("O", "H"), np.array([[0.0, 0, 0], [0.3, 1.7, 0.4]])), (), (True, True), 1),
        (water(), (), (True, False), 6),
        (water(), (), (True, True), 3),
        (water(), (0,), (True, True), 6),
    ],
    ids=["atom", "diatomic", "diatomic at L = 0", "water", "water at L = 0", "pinned"],
)
@pytest.mark.parametrize("name", ["langevin", "csvr"])
def test_molecules_have_the_temperature_of_the_bath(name, molecule, pinned, removals, count):
    """Mean and variance of K are g/2 kT and g/2 (kT)^2 with g counted for small, linear, free and pinned molecules."""
    surface = PairSurface(molecule, stiffness=0.4) if len(molecule) > 1 else FreeSurface()
    dynamics = start(name, molecule, surface, relaxation_time=100.0, pinned=pinned, removals=removals)
    assert dynamics.nuclei.degrees_of_freedom == count
    energies = advance(dynamics, surface, 6000)
    assert_mean(energies[:, 0], 0.5 * count * ROOM)
    assert_mean((energies[:, 0] - 0.5 * count * ROOM) ** 2, 0.5 * count * ROOM**2, blocks=10, precision=0.2)
    if removals[0] and not pinned:
        assert np.abs(momentum(dynamics.velocities_av, molecule.masses_a)).max() < 1e-10
    if removals[1] and not pinned:
        spin = angular_momentum(dynamics.positions_av, dynamics.velocities_av, molecule.masses_a)
        assert np.abs(spin).max() < 1e-10
    assert not dynamics.velocities_av[list(pinned)].any()


def test_rescaling_draws_the_gamma_distribution_exactly():
    """With tau -> 0 each K is an independent draw: (g/2)-Gamma of width kT, whatever the step before was."""
    molecule = water()
    dynamics = start("csvr", molecule, FreeSurface(), relaxation_time=1e-3)
    kinetic_t = advance(dynamics, FreeSurface(), 6000)[:, 0] / ROOM
    assert_mean(kinetic_t, 3.0)
    assert_mean((kinetic_t - 3.0) ** 2, 3.0)
    assert_mean((kinetic_t - 3.0) ** 3, 6.0)
    assert abs(np.corrcoef(kinetic_t[:-1], kinetic_t[1:])[0, 1]) < 0.06


@pytest.mark.parametrize(("name", "relaxation", "decay"), [("langevin", 200.0, 100.0), ("csvr", 200.0, 200.0)])
def test_kinetic_energy_relaxes_at_the_rate_of_the_scheme(name, relaxation, decay):
    """Mean over many free flights from 4 T: exp(-t/tau) for rescaling, exp(-2t/tau) for Langevin, no potential."""
    molecule = water()
    deviations = []
    for seed in range(200):
        dynamics = start(name, molecule, FreeSurface(), timestep=50.0, relaxation_time=relaxation, seed=seed)
        dynamics.velocities_av = 2 * dynamics.velocities_av
        deviations.append(advance(dynamics, FreeSurface(), 2)[-1, 0] / (3 * ROOM) - 1.0)
    error = np.std(deviations) / np.sqrt(len(deviations))
    expected = 3.0 * np.exp(-100.0 / decay)
    assert error < 0.12 * expected
    assert abs(np.mean(deviations) - expected) < 4 * error


@pytest.mark.parametrize("name", ["berendsen", "csvr", "nose-hoover", "langevin"])
def test_conserved_energy_gets_better_with_shorter_steps(name):
    """The energy exchanged with the bath is large; what the books do not explain falls at least as dt^2."""
    molecule, errors = water(), []
    for timestep in (20.0, 10.0, 5.0):
        surface = PairSurface(molecule)
        dynamics = start(name, molecule, surface, timestep=timestep, relaxation_time=600.0)
        energies = advance(dynamics, surface, round(6000 / timestep))
        errors.append(energies[:, 2].std())
        assert energies[:, :2].sum(axis=1).std() > 5 * errors[-1]
    orders = np.diff(np.log(errors)) / np.log(0.5)
    assert errors[-1] > 1e-9
    assert orders.mean() > 1.5 and orders.mean() < 3.0, orders


def test_without_forces_every_scheme_conserves_to_round_off():
    molecule = water()
    for name in ("berendsen", "csvr", "langevin"):
        conserved_t = advance(start(name, molecule, FreeSurface()), FreeSurface(), 300)[:, 2]
        assert np.ptp(conserved_t) < 1e-14


@pytest.mark.parametrize("chain_length", [1, 2, 5])
def test_nose_hoover_chain_conserves_and_runs_backwards(chain_length):
    """Reversing all velocities, the chain's too, leads back to the start; the order of the splitting is at least two."""
    molecule = water()
    surface = PairSurface(molecule)

    def begin(timestep):
        dynamics = start("none", molecule, surface, timestep=timestep)
        dynamics.thermostat = NoseHoover(ROOM, 300.0, chain_length)
        return dynamics

    dynamics = begin(20.0)
    before_av = dynamics.positions_av.copy()
    advance(dynamics, surface, 150)
    assert np.abs(dynamics.thermostat.velocities_k).min() > 1e-6
    assert np.abs(dynamics.positions_av - before_av).max() > 0.05
    dynamics.velocities_av = -dynamics.velocities_av
    dynamics.thermostat.velocities_k = -dynamics.thermostat.velocities_k
    advance(dynamics, surface, 150)
    assert np.abs(dynamics.positions_av - before_av).max() < 1e-8
    assert np.abs(dynamics.thermostat.coordinates_k).max() < 1e-8
    ripples = [advance(begin(timestep), surface, round(4000 / timestep))[:, 2].std() for timestep in (20.0, 10.0)]
    assert 3.0 < ripples[0] / ripples[1] < 5.0


def test_langevin_at_no_friction_and_no_bath_are_what_they_must_be():
    """Infinite tau is velocity Verlet; a bath at zero temperature only damps, by exp(-dt/tau) a step."""
    molecule = water()
    surface = PairSurface(molecule)
    free, damped = start("none", molecule, surface), start("none", molecule, FreeSurface())
    idle = start("none", molecule, surface)
    idle.thermostat = Langevin(ROOM, 1e300, 3)
    assert np.abs(advance(idle, surface, 50) - advance(free, surface, 50)).max() < 1e-15
    damped.thermostat = Langevin(0.0, 400.0, 3)
    kinetic = damped.observables()["kinetic_energy"]
    assert advance(damped, FreeSurface(), 10)[-1, 0] == pytest.approx(kinetic * np.exp(-2 * 10 * 20.0 / 400.0), rel=1e-12)


@pytest.mark.parametrize("name", THERMOSTATS.entries)
def test_state_and_restore_continue_bit_for_bit(name):
    molecule = water()
    surface = PairSurface(molecule)
    whole, parts = start(name, molecule, surface), start(name, molecule, surface)
    expected = advance(whole, surface, 60)
    first = advance(parts, surface, 25)
    again = start(name, molecule, surface, seed=99)
    again.restore(parts.state())
    again.thermostat.restore({key: array.copy() for key, array in parts.thermostat.state().items()})
    assert np.array_equal(np.concatenate([first, advance(again, surface, 35)]), expected)


def test_a_molecule_at_rest_is_not_divided_by_zero():
    molecule = water()
    nuclei = make_nuclei(molecule, (), True, False)
    resting_av = np.zeros((3, 3))
    for thermostat in (Berendsen(ROOM, 100.0), StochasticRescaling(ROOM, 100.0, 1)):
        assert not thermostat.after(resting_av, molecule.positions_av, nuclei, 5.0).any()
    fixed = make_nuclei(molecule, (0, 1, 2), True, False)
    for thermostat in (StochasticRescaling(ROOM, 100.0, 1), NoseHoover(ROOM, 100.0, 3), Langevin(ROOM, 100.0, 1)):
        for act in (thermostat.before, thermostat.middle, thermostat.after):
            assert not act(resting_av, molecule.positions_av, fixed, 5.0).any()
        assert thermostat.conserved_offset == 0.0


def test_noise_comes_from_the_seed_alone_and_continues_from_its_state():
    first, again, other = thermostat_generator(7), thermostat_generator(7), thermostat_generator(8)
    drawn = first.standard_normal(1000)
    assert np.array_equal(drawn, again.standard_normal(1000)) and not np.isin(drawn, other.standard_normal(1000)).any()
    initial = np.random.Generator(np.random.PCG64(7)).standard_normal(1000)
    assert not np.isin(drawn, initial).any()
    first.integers(3, size=5, dtype=np.uint32)
    copy = thermostat_generator(0)
    restore_generator(copy, generator_state(first))
    assert np.array_equal(copy.integers(9, size=7, dtype=np.uint32), first.integers(9, size=7, dtype=np.uint32))
    assert np.array_equal(copy.chisquare(5, size=9), first.chisquare(5, size=9))
    seeds = {replica_seed(1, index) for index in range(1000)}
    assert len(seeds) == 1000 and max(seeds) < 2**63 and replica_seed(1, 0) != replica_seed(2, 0)
