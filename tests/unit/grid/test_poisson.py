"""Coulomb potentials: Gaussian charges in free space, plane waves in a periodic cell, energies, symmetry, ranks."""

import numpy as np
import pytest

from mpiqmd.grid import Field, Grid
from mpiqmd.grid.poisson import Poisson
from tests.helpers.oracles import (
    distances,
    everywhere,
    gaussian_charge,
    gaussian_interaction,
    gaussian_potential,
    largest,
    local_part,
    on_one_rank,
    plane_wave,
    random_field,
)

WIDTH = 1.0


@pytest.fixture
def free(comm):
    """A cell of three different edges and spacings, wide enough for Gaussians near its centre."""
    grid = Grid(comm, (13.0, 14.0, 14.4), (44, 46, 48), order=4, boundary="isolated")
    yield grid, Poisson(grid)
    grid.destroy()


@pytest.mark.parametrize("centre_v", [(0.0, 0.0, 0.0), (0.31, -0.22, 0.47)])
def test_gaussian_charge_in_free_space(free, centre_v):
    grid, poisson = free
    r = distances(grid, centre_v)
    potential = poisson.solve(Field(grid, gaussian_charge(r, WIDTH)))
    assert largest(grid.comm, potential.local - gaussian_potential(r, WIDTH)) < 1e-10


def test_dipole_and_net_charge_in_free_space(free):
    """Unequal opposite charges: monopole, dipole and higher moments, no images."""
    grid, poisson = free
    charges, centres = (2.0, -1.5), ((0.5, 0.0, -0.2), (-0.4, 0.3, 0.1))
    density, exact = np.zeros(grid.local_shape), np.zeros(grid.local_shape)
    for charge, centre_v in zip(charges, centres, strict=True):
        r = distances(grid, centre_v)
        density += charge * gaussian_charge(r, WIDTH)
        exact += charge * gaussian_potential(r, WIDTH)
    potential = poisson.solve(Field(grid, density))
    assert largest(grid.comm, exact) > 0.5
    assert largest(grid.comm, potential.local - exact) < 1e-10


def test_energy_of_gaussians_in_free_space(free):
    grid, poisson = free
    centres = np.array([[0.5, 0.0, -0.2], [-0.4, 0.3, 0.1]])
    first, second = (Field(grid, gaussian_charge(distances(grid, c), WIDTH)) for c in centres)
    assert first.inner(poisson.solve(first)) == pytest.approx(gaussian_interaction(0.0, WIDTH, WIDTH), abs=1e-10)
    separation = float(np.linalg.norm(centres[0] - centres[1]))
    exact = gaussian_interaction(separation, WIDTH, WIDTH)
    assert first.inner(poisson.solve(second)) == pytest.approx(exact, abs=1e-10)
    assert second.inner(poisson.solve(first)) == pytest.approx(exact, abs=1e-10)


def test_charge_near_a_wall_is_as_good_as_in_the_middle(comm):
    """Free space has no preferred place: moving charge and observer by whole spacings changes nothing."""
    grid = Grid(comm, (8.0, 9.0, 10.0), (20, 21, 22), order=4, boundary="isolated")
    poisson = Poisson(grid)
    whole = np.zeros(grid.shape)
    whole[10, 9, 8] = 1.0
    middle = everywhere(poisson.solve(Field(grid, local_part(grid, whole))))
    moved = everywhere(poisson.solve(Field(grid, local_part(grid, np.roll(whole, (-10, 9, -8), (0, 1, 2))))))
    assert moved[0:5, 18, 0:5] == pytest.approx(middle[10:15, 9, 8:13], abs=1e-12)
    grid.destroy()


@pytest.mark.parametrize("wave", [(1, 0, 0), (0, 2, -1), (3, 1, 2)])
def test_plane_waves_are_exact_in_a_periodic_cell(comm, wave):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="periodic")
    waves_v, phase = plane_wave(grid, wave)
    values = np.cos(phase + 0.4)
    potential = Poisson(grid).solve(Field(grid, values))
    exact = 4 * np.pi / (waves_v @ waves_v) * values
    assert largest(comm, exact) > 0.1
    assert largest(comm, potential.local - exact) < 1e-12
    energy = 0.5 * Field(grid, values).inner(potential)
    assert energy == pytest.approx(np.pi * grid.volume / (waves_v @ waves_v), rel=1e-12)
    grid.destroy()


def test_uniform_charge_has_no_potential_in_a_periodic_cell(comm, rng):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="periodic")
    poisson = Poisson(grid)
    ones = Field(grid, np.ones(grid.local_shape))
    assert largest(comm, poisson.solve(ones).local) < 1e-12
    noise = random_field(grid, rng)
    potential = poisson.solve(noise)
    assert potential.integrate() == pytest.approx(0.0, abs=1e-11)
    noise.local += 1.0
    assert largest(comm, poisson.solve(noise).local - potential.local) < 1e-12
    grid.destroy()


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_symmetric_positive_and_the_same_on_one_rank(comm, serial_comm, rng, boundary):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary=boundary)
    f, g = random_field(grid, rng), random_field(grid, rng)
    poisson = Poisson(grid)
    v, w = poisson.solve(f), poisson.solve(g)
    assert f.inner(w) == pytest.approx(g.inner(v), rel=1e-10)
    assert f.inner(v) > 0
    alone = on_one_rank(grid, serial_comm)
    serial = Poisson(alone).solve(Field(alone, everywhere(f)))
    assert largest(comm, v.local - local_part(grid, serial.local)) < 1e-12
    alone.destroy()
    grid.destroy()
