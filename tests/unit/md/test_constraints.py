"""Bonds of fixed length: kept, reversible, second order, momentum-conserving, canonical in what remains."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import AccuracyError, ConfigError
from mpiqmd.md.constraints import BondConstraints
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import make_nuclei
from mpiqmd.md.observables import momentum
from mpiqmd.md.thermostats.csvr import StochasticRescaling
from mpiqmd.md.thermostats.langevin import Langevin
from mpiqmd.md.thermostats.nose_hoover import NoseHoover
from mpiqmd.md.thermostats.thermostat import NoThermostat
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.molecule.internal import measure
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.units import KELVIN_IN_HARTREE
from tests.helpers.md_surfaces import FreeSurface, PairSurface, advance, conserved_vectors, water

pytestmark = pytest.mark.serial
ROOM = 300 * KELVIN_IN_HARTREE
BONDS = ((0, 1), (0, 2))
RIGID = ((0, 1), (0, 2), (1, 2))


class Bending(PairSurface):
    """Water whose angle alone has a potential, through the distance of the hydrogens."""

    def __init__(self, molecule):
        super().__init__(molecule, stiffness=0.15)
        chosen = self.pairs.index((2, 1))
        self.pairs, self.rest = [self.pairs[chosen]], [self.rest[chosen]]


def start(surface, constraints=BONDS, timestep=40.0, thermostat=None, pinned=(), removals=(True, False), seed=11):
    molecule = water()
    nuclei = make_nuclei(molecule, pinned, *removals, constraints)
    velocities_av = maxwell_boltzmann(ROOM, seed, molecule.positions_av, nuclei)
    dynamics = Dynamics(nuclei, molecule.positions_av, velocities_av, timestep, thermostat or NoThermostat())
    dynamics.accept(surface.at(dynamics.propose()))
    return dynamics


@pytest.mark.parametrize("constraints", [BONDS, ((0, 1),), RIGID])
def test_lengths_stay_and_velocities_respect_them(constraints):
    surface = Bending(water())
    dynamics = start(surface, constraints)
    frames = advance(dynamics, surface, 300)
    lengths_k = [measure(water().positions_av, pair) for pair in constraints]
    for frame in frames:
        assert [measure(frame.positions_av, pair) for pair in constraints] == pytest.approx(lengths_k, rel=1e-10)
        for first, second in constraints:
            arm_v = frame.positions_av[first] - frame.positions_av[second]
            assert abs(arm_v @ (frame.velocities_av[first] - frame.velocities_av[second])) < 1e-15
    angles = [measure(frame.positions_av, (1, 0, 2)) for frame in frames]
    assert (np.ptp(angles) > 2.0) == (constraints != RIGID)


def test_momentum_and_angular_momentum_stay():
    surface = Bending(water())
    frames = advance(start(surface), surface, 300)
    momenta, spins = conserved_vectors(frames, water().masses_a)
    assert np.linalg.norm(spins[0]) > 0.1
    assert np.ptp(spins, axis=0).max() < 1e-10
    assert np.abs(momenta).max() < 1e-11


def test_energy_fluctuation_falls_as_the_timestep_squared():
    fluctuations = []
    for timestep in (40.0, 20.0, 10.0):
        surface = Bending(water())
        frames = advance(start(surface, timestep=timestep), surface, int(8000 / timestep))
        energies = np.array([frame.observables["total_energy"] for frame in frames])
        kinetic = np.array([frame.observables["kinetic_energy"] for frame in frames])
        fluctuations.append(energies.std())
        assert np.ptp(kinetic) > 5 * fluctuations[-1]
    assert fluctuations[-1] > 1e-9
    orders = np.diff(np.log(fluctuations)) / np.log(0.5)
    assert (orders > 1.8).all() and (orders < 2.2).all(), orders


def test_running_backwards_returns_to_the_start():
    surface = Bending(water())
    dynamics = start(surface)
    before_av = dynamics.positions_av.copy()
    advance(dynamics, surface, 200)
    assert np.abs(dynamics.positions_av - before_av).max() > 0.05
    dynamics.velocities_av = -dynamics.velocities_av
    advance(dynamics, surface, 200)
    assert np.abs(dynamics.positions_av - before_av).max() < 1e-8


def test_a_rigid_rotor_turns_as_it_must():
    """A pinned dumb-bell: the free atom runs on a circle at constant speed, by the angle 2 asin(v dt / 2 l) a half step."""
    molecule = Molecule(("O", "H"), np.array([[0.0, 0, 0], [1.8, 0, 0]]))
    nuclei = make_nuclei(molecule, (0,), True, False, [(0, 1)])
    assert nuclei.degrees_of_freedom == 2
    speed, timestep = 2e-3, 40.0
    dynamics = Dynamics(nuclei, molecule.positions_av, np.array([[0, 0, 0], [0, speed, 0]]), timestep, NoThermostat())
    dynamics.accept(FreeSurface().at(dynamics.propose()))
    frames = advance(dynamics, FreeSurface(), 100)
    # A half drift goes along the tangent and back to the circle radially: sin(turn) = v t / l.
    turn = np.arcsin(speed * 0.5 * timestep / 1.8)
    for step, frame in enumerate(frames[:10]):
        assert np.allclose(frame.positions_av[1], 1.8 * np.array([np.cos(2 * step * turn), np.sin(2 * step * turn), 0]))
    energies = [frame.observables["kinetic_energy"] for frame in frames]
    assert np.ptp(energies) < 0.01 * energies[0]


def test_fixed_bonds_are_the_limit_of_stiff_ones():
    """Water with bonds a hundred times stiffer, in short steps from the same start, bends as the constrained one."""
    molecule = water()

    class Stiff(PairSurface):
        def __init__(self):
            super().__init__(molecule, stiffness=50.0)
            self.bending = Bending(molecule)
            kept = [k for k, pair in enumerate(self.pairs) if 0 in pair]
            self.pairs, self.rest = [self.pairs[k] for k in kept], [self.rest[k] for k in kept]

        def at(self, positions_av, memory=None):
            bonds, bend = super().at(positions_av, memory), self.bending.at(positions_av)
            return type(bonds)(bonds.energy + bend.energy, bonds.forces_av + bend.forces_av)

    surface = Bending(molecule)
    rigid = start(surface, timestep=8.0)
    stiff = start(Stiff(), (), timestep=1.0)
    stiff.velocities_av = rigid.velocities_av.copy()
    angles = [measure(frame.positions_av, (1, 0, 2)) for frame in advance(rigid, surface, 60)]
    others = [measure(frame.positions_av, (1, 0, 2)) for frame in advance(stiff, Stiff(), 480)][::8]
    assert np.ptp(angles) > 1.7
    assert np.abs(np.subtract(angles, others)).max() < 0.03 * np.ptp(angles)


@pytest.mark.parametrize(
    ("constraints", "pinned", "removals", "count"),
    [
        (BONDS, (), (True, False), 4),
        (BONDS, (), (True, True), 1),
        (RIGID, (), (True, False), 3),
        (RIGID, (), (False, False), 6),
        (RIGID, (), (True, True), 0),
        (BONDS, (0,), (True, True), 4),
    ],
)
@pytest.mark.parametrize("bath", ["langevin", "csvr"])
def test_what_remains_has_the_temperature_of_the_bath(constraints, pinned, removals, count, bath):
    thermostat = Langevin(ROOM, 100.0, 3) if bath == "langevin" else StochasticRescaling(ROOM, 50.0, 3)
    dynamics = start(FreeSurface(), constraints, thermostat=thermostat, pinned=pinned, removals=removals)
    assert dynamics.nuclei.degrees_of_freedom == count
    initial = dynamics.observables()["kinetic_energy"]
    assert initial == pytest.approx(0.5 * count * ROOM, rel=1e-12, abs=1e-30)
    kinetic_t = np.array([frame.observables["kinetic_energy"] for frame in advance(dynamics, FreeSurface(), 1000)])
    if count == 0:
        assert np.abs(kinetic_t).max() < 1e-20
        return
    blocks = kinetic_t[1:].reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    assert error < 0.1 * count * ROOM and abs(blocks.mean() - 0.5 * count * ROOM) < 4 * error


@pytest.mark.parametrize("bath", [Langevin(ROOM, 400.0, 3), StochasticRescaling(ROOM, 400.0, 3), NoseHoover(ROOM, 400.0, 3)])
def test_conserved_energy_accounts_for_bath_and_constraints(bath):
    surface = Bending(water())
    frames = advance(start(surface, timestep=15.0, thermostat=bath), surface, 400)
    conserved, total = (
        np.array([frame.observables[name] for frame in frames]) for name in ("conserved_energy", "total_energy")
    )
    assert np.ptp(conserved) < 0.02 * np.ptp(total)


def test_impossible_constraints_are_refused():
    molecule = water()
    for pairs in ([(0, 3)], [(1, 1)], [(0, 1), (1, 0)], [(0, 1, 2)], [(-1, 0)]):
        with pytest.raises(ConfigError, match=r"md.constraints holds .* pairs of different atoms, numbered 0 to 2"):
            make_nuclei(molecule, (), True, False, pairs)
    with pytest.raises(ConfigError, match="two pinned atoms"):
        make_nuclei(molecule, (0, 1), True, False, [(0, 1)])
    linear = Molecule(("C", "O", "O"), np.array([[0.0, 0, 0], [2.2, 0, 0], [-2.2, 0, 0]]))
    with pytest.raises(ConfigError, match="depend on each other"):
        make_nuclei(linear, (), True, False, RIGID)
    assert make_nuclei(linear, (), True, True, BONDS).degrees_of_freedom == 2


def test_a_step_that_is_too_long_says_so():
    dynamics = start(FreeSurface(), timestep=4000.0)
    with pytest.raises(AccuracyError, match=r"MD step 1: the lengths of md.constraints cannot be kept"):
        dynamics.propose()


def test_projection_is_the_nearest_velocity():
    """M-orthogonal: what is taken out has no kinetic energy in common with what stays, and projecting twice is once."""
    molecule, rng = water(), np.random.default_rng(4)
    constraints = BondConstraints(BONDS, molecule.positions_av, 1.0 / molecule.masses_a, 1e-10)
    velocities_av = rng.normal(size=(3, 3))
    kept_av = constraints.tangent(velocities_av, molecule.positions_av)
    removed_av = velocities_av - kept_av
    assert np.abs(removed_av).max() > 0.1
    assert abs(np.einsum("av,av,a", kept_av, removed_av, molecule.masses_a)) < 1e-10
    assert np.abs(constraints.tangent(kept_av, molecule.positions_av) - kept_av).max() < 1e-14
    assert np.abs(momentum(removed_av, molecule.masses_a)).max() < 1e-11
