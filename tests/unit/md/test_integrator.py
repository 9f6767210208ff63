"""Velocity Verlet: reversible, second order, conserving what it must; the same on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import make_nuclei
from mpiqmd.md.thermostats.berendsen import Berendsen
from mpiqmd.md.thermostats.thermostat import NoThermostat
from mpiqmd.md.velocities import maxwell_boltzmann
from mpiqmd.units import KELVIN_IN_HARTREE
from tests.helpers.md_surfaces import FreeSurface, PairSurface, SpringSurface, advance, conserved_vectors, water

pytestmark = pytest.mark.serial
ROOM = 300 * KELVIN_IN_HARTREE


def start(surface, timestep, temperature=ROOM, thermostat=None, pinned=()):
    molecule = water()
    nuclei = make_nuclei(molecule, pinned, True, False)
    velocities_av = maxwell_boltzmann(temperature, 11, molecule.positions_av, nuclei)
    dynamics = Dynamics(nuclei, molecule.positions_av, velocities_av, timestep, thermostat or NoThermostat())
    dynamics.accept(surface.at(dynamics.propose()))
    return dynamics


def test_running_backwards_returns_to_the_start():
    surface = PairSurface(water())
    dynamics = start(surface, 20.0)
    before = dynamics.frame()
    advance(dynamics, surface, 200)
    assert np.abs(dynamics.positions_av - before.positions_av).max() > 0.05
    dynamics.velocities_av = -dynamics.velocities_av
    advance(dynamics, surface, 200)
    assert np.abs(dynamics.positions_av - before.positions_av).max() < 1e-10
    assert np.abs(dynamics.velocities_av + before.velocities_av).max() < 1e-13


def test_energy_fluctuation_falls_as_the_timestep_squared():
    fluctuations = []
    for timestep in (20.0, 10.0, 5.0):
        surface = PairSurface(water())
        frames = advance(start(surface, timestep), surface, int(4000 / timestep))
        fluctuations.append(np.std([frame.observables["total_energy"] for frame in frames]))
    assert fluctuations[-1] > 1e-9
    orders = np.diff(np.log(fluctuations)) / np.log(0.5)
    assert (orders > 1.8).all() and (orders < 2.2).all()


def test_harmonic_oscillator_has_the_period_of_the_discrete_equations():
    """With x'' = -w^2 x, Verlet turns by the angle acos(1 - (w dt)^2 / 2) per step, exactly."""
    stiffness, timestep = 0.3, 15.0
    molecule = water()
    surface = SpringSurface(molecule.positions_av, stiffness)
    dynamics = start(surface, timestep, temperature=0.0)
    dynamics.positions_av = molecule.positions_av + 0.1
    dynamics.evaluation = surface.at(dynamics.positions_av)
    frames = advance(dynamics, surface, 100)
    for atom in (0, 1):
        turn = np.arccos(1 - 0.5 * stiffness / molecule.masses_a[atom] * timestep**2)
        expected = 0.1 * np.cos(turn * np.arange(101))
        found = [frame.positions_av[atom, 0] - molecule.positions_av[atom, 0] for frame in frames]
        assert np.abs(found - expected).max() < 1e-12
    assert turn * 100 > 2 * np.pi


def test_positions_obey_the_position_verlet_recursion():
    surface = PairSurface(water())
    frames = advance(start(surface, 20.0), surface, 50)
    masses_a = water().masses_a
    for before, now, after in zip(frames, frames[1:], frames[2:], strict=False):
        expected = 2 * now.positions_av - before.positions_av + 400.0 * now.forces_av / masses_a[:, None]
        assert np.abs(after.positions_av - expected).max() < 1e-13


def test_momentum_and_angular_momentum_stay():
    surface = PairSurface(water())
    frames = advance(start(surface, 20.0), surface, 300)
    momenta, spins = conserved_vectors(frames, water().masses_a)
    assert np.linalg.norm(spins[0]) > 0.1
    assert np.ptp(spins, axis=0).max() < 1e-11
    assert np.abs(momenta).max() < 1e-11


def test_pinned_atoms_do_not_move():
    surface = PairSurface(water())
    frames = advance(start(surface, 20.0, pinned=(0,)), surface, 100)
    assert all(np.array_equal(frame.positions_av[0], np.zeros(3)) for frame in frames)
    assert not frames[-1].velocities_av[0].any() and np.abs(frames[-1].forces_av[0]).max() > 0
    energies = [frame.observables["total_energy"] for frame in frames]
    assert np.ptp(energies) < 1e-4 < np.ptp([frame.observables["kinetic_energy"] for frame in frames])


def test_berendsen_relaxes_exponentially():
    """Without forces the deviation shrinks by exactly (1 - dt/tau) a step: exp(-t/tau) for small dt."""
    surface = FreeSurface()
    dynamics = start(surface, 2.0, temperature=3 * ROOM, thermostat=Berendsen(ROOM, 400.0))
    frames = advance(dynamics, surface, 400)
    deviation = np.array([frame.observables["temperature"] - ROOM for frame in frames]) / (2 * ROOM)
    assert np.abs(deviation - (1 - 2.0 / 400.0) ** np.arange(401)).max() < 1e-12
    assert deviation[200] == pytest.approx(np.exp(-1), rel=5e-3)
    conserved = [frame.observables["conserved_energy"] for frame in frames]
    assert np.ptp(conserved) < 1e-15


def test_berendsen_conserved_energy_is_as_good_as_without_thermostat():
    timesteps, ripples = (20.0, 10.0), []
    for timestep in timesteps:
        surface = PairSurface(water())
        dynamics = start(surface, timestep, temperature=2 * ROOM, thermostat=Berendsen(ROOM, 800.0))
        frames = advance(dynamics, surface, int(4000 / timestep))
        total, conserved = (
            np.array([frame.observables[name] for frame in frames]) for name in ("total_energy", "conserved_energy")
        )
        ripples.append(conserved.std())
        assert np.ptp(total) > 20 * conserved.std()
    assert 3.0 < ripples[0] / ripples[1] < 5.0


def test_steps_are_counted_in_64_bits():
    surface = FreeSurface()
    dynamics = start(surface, 1.0)
    late = {**dynamics.state(), "step": np.array(2**40, dtype=np.int64)}
    dynamics.restore(late)
    (_, after) = advance(dynamics, surface, 1)
    assert after.step == 2**40 + 1 and dynamics.state()["step"] == 2**40 + 1 and after.time == float(2**40 + 1)
