"""Nonlinear core correction: the sampled core, what it does to xc alone, and its force."""

from dataclasses import replace

import numpy as np
import pytest

from mpiqmd.grid import Field, Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.kohnsham.core import CoreDensity
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.rom.learned.requirements import require_grid_free
from tests.helpers.oracles import (
    central_difference,
    density_of,
    distances,
    everywhere,
    free_energy_slope,
    largest,
    on_one_rank,
    random_direction,
    smooth_orbitals,
)

CELL, POINTS = (7.0, 7.2, 6.6), (22, 24, 20)
SYMBOLS = ("C", "H", "O")
POSITIONS = np.array([[-0.9, 0.1, 0.05], [-2.3, 1.4, -0.3], [1.3, -0.2, 0.3]])
CHARGE, WIDTH = 1.3, 0.7


def gaussian_core(r, width=WIDTH):
    return CHARGE * np.exp(-((r / width) ** 2)) / (np.sqrt(np.pi) * width) ** 3


def with_core(symbol, functional="LDA"):
    """A GTH atom with a Gaussian core of charge 1.3, narrower on oxygen; hydrogen has none."""
    pseudo = load_gth(symbol, functional)
    width = {"C": WIDTH, "O": 0.6}.get(symbol)
    return pseudo if width is None else replace(pseudo, core_density_r=gaussian_core(pseudo.mesh_r, width))


def core_model(grid, symbols=SYMBOLS, functional="LDA", charge=1):
    species = {symbol: with_core(symbol, functional) for symbol in symbols}
    far_apart_av = 3.0 * np.arange(len(symbols))[:, None] * np.ones(3)
    return KohnShamModel(grid, Molecule(symbols, far_apart_av, charge), species, Functional(functional))


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, CELL, POINTS, order=6, boundary=request.param)
    yield grid
    grid.destroy()


def test_core_on_the_grid_is_the_function(grid):
    found = CoreDensity(grid, {"C": with_core("C")}, ("C",)).evaluate(POSITIONS[:1])
    exact = gaussian_core(distances(grid, POSITIONS[0]))
    assert largest(grid.comm, found.local - exact) < 1e-6
    assert found.integrate() == pytest.approx(CHARGE, abs=1e-6)


def test_core_wraps_around_a_periodic_cell(comm):
    grid = Grid(comm, CELL, POINTS, order=6, boundary="periodic")
    core = CoreDensity(grid, {"C": with_core("C")}, ("C",))
    shift_v = np.array([9, 11, 8]) * grid.spacing_v
    inside = everywhere(core.evaluate(np.zeros((1, 3))))
    across = everywhere(core.evaluate(shift_v[None]))
    assert np.abs(np.roll(inside, (8, 11, 9), axis=(0, 1, 2)) - across).max() < 1e-12
    grid.destroy()


def core_of(model):
    return model.term(ExchangeCorrelation).core


def test_core_enters_exchange_and_correlation_only(grid, rng):
    model = core_model(grid)
    bare = KohnShamModel(grid, model.molecule, {s: load_gth(s, "LDA") for s in SYMBOLS}, Functional("LDA"))
    problem, without = model.place(POSITIONS), bare.place(POSITIONS)
    density = density_of(smooth_orbitals(grid, rng, 2), np.eye(2))
    total = Field(grid, density.local + core_of(model).evaluate(POSITIONS).local)
    (terms, potential), (plain, plain_potential) = problem.density_terms(density), without.density_terms(density)
    energy, xc_potential = ExchangeCorrelation(grid, Functional("LDA")).evaluate(total)
    assert terms["xc"] == pytest.approx(energy, rel=1e-14)
    assert terms["hartree"] == plain["hartree"] and problem.linear.constant == without.linear.constant
    assert largest(grid.comm, problem.linear.potential.local - without.linear.potential.local) == 0.0
    assert abs(terms["xc"] - plain["xc"]) > 0.1
    _, plain_xc = without.terms["xc"].evaluate(density)
    difference = potential.local - plain_potential.local - (xc_potential.local - plain_xc.local)
    assert largest(grid.comm, difference) < 1e-13


@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_core_gradient_is_the_derivative_of_the_xc_energy(grid, rng, functional):
    model = core_model(grid, functional=functional)
    density = density_of(smooth_orbitals(grid, rng, 3), np.eye(3))
    _, potential = model.place(POSITIONS).terms["xc"].evaluate(density)
    gradient_av = core_of(model).gradient(POSITIONS, potential)
    assert gradient_av[1] == pytest.approx(np.zeros(3), abs=0.0)
    for _ in range(2):
        direction_av = rng.normal(size=POSITIONS.shape)

        def energy(t, direction_av=direction_av):
            return model.place(POSITIONS + t * direction_av).terms["xc"].evaluate(density)[0]

        along = np.sum(gradient_av * direction_av)
        assert abs(along) > 1e-3
        assert along == pytest.approx(central_difference(energy, 5e-4), abs=2e-7)


@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_forces_of_a_ground_state(grid, rng, functional):
    """Carbon monoxide, both atoms with a core: forces are differences of the energy."""
    symbols, positions_av = ("C", "O"), np.array([[-1.1, 0.1, 0.05], [1.02, -0.1, 0.2]])
    model = core_model(grid, symbols, functional, charge=0)
    solver = AbpgSolver(model, 1e-13)
    state = solver.solve(model.place(positions_av))
    direction_av = random_direction(rng, positions_av.shape)
    along = np.sum(state.forces_av * direction_av)
    _, potential = model.place(positions_av).terms["xc"].evaluate(state.density)
    assert np.abs(core_of(model).gradient(positions_av, potential)).max() > 1e-2
    assert along == pytest.approx(-free_energy_slope(solver, model, positions_av, direction_av, state, 0.005), abs=2e-6)


def test_both_solvers_find_the_same_ground_state(comm):
    grid = Grid(comm, CELL, (15, 16, 17), order=6, boundary="isolated")
    model = core_model(grid, ("C", "O"), charge=0)
    problem = model.place(np.array([[-1.1, 0.1, 0.05], [1.02, -0.1, 0.2]]))
    direct, cycle = AbpgSolver(model, 1e-11).solve(problem), SlepcSolver(model, 1e-11).solve(problem)
    assert direct.energy == pytest.approx(cycle.energy, abs=1e-10)
    assert direct.forces_av == pytest.approx(cycle.forces_av, abs=1e-4)
    assert sum(direct.components.values()) == pytest.approx(direct.energy, abs=1e-11)
    grid.destroy()


def test_equals_the_serial_result(comm, serial_comm):
    results = []
    whole = Grid(comm, CELL, POINTS, order=6, boundary="periodic")
    for grid in (whole, on_one_rank(whole, serial_comm)):
        model = core_model(grid)
        density = Field(grid, 0.1 + 0.0 * core_of(model).evaluate(POSITIONS).local)
        energy, potential = model.place(POSITIONS).terms["xc"].evaluate(density)
        results.append(np.append(core_of(model).gradient(POSITIONS, potential).ravel(), energy))
        grid.destroy()
    assert results[0] == pytest.approx(results[1], abs=1e-12)


def test_the_grid_free_form_knows_cores(comm):
    grid = Grid(comm, CELL, POINTS, order=6, boundary="isolated")
    require_grid_free(core_model(grid))
    grid.destroy()
