"""Symmetries the discrete problem has exactly: whole spacings, the 48 of the cube, equal atoms."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from tests.helpers.oracles import gth_model, water

SYMBOLS = ("O", "H", "H")
TILTED = np.linalg.qr(np.array([[1.0, 0.3, 0.2], [0.1, 1.0, -0.4], [0.5, 0.2, 1.0]]))[0]
POSITIONS = (water(1.9, 1.75, 108.0) - [0.6, 0, 0]) @ TILTED


@pytest.fixture(params=["isolated", "periodic"])
def solve(request, comm):
    grid = Grid(comm, 7.0, 16, order=6, boundary=request.param)
    model = gth_model(grid, SYMBOLS, "PBE")
    solver = AbpgSolver(model, 1e-10)
    yield lambda positions_av: solver.solve(model.place(positions_av))
    grid.destroy()


GENERATORS = {
    "threefold axis": np.eye(3)[[1, 2, 0]],
    "fourfold axis": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "inversion": -np.eye(3),
}
"""Of all 48 operations."""


def test_symmetries_of_the_cube(solve):
    reference = solve(POSITIONS)
    for operation in GENERATORS.values():
        state = solve(POSITIONS @ operation.T)
        assert state.free_energy == pytest.approx(reference.free_energy, abs=1e-9)
        assert state.forces_av == pytest.approx(reference.forces_av @ operation.T, abs=1e-5)
        assert state.eigenvalues_n == pytest.approx(reference.eigenvalues_n, abs=1e-5)


def test_whole_spacings_in_a_periodic_cell(comm):
    grid = Grid(comm, (6.8, 7.0, 7.2), (16, 17, 18), order=6, boundary="periodic")
    model = gth_model(grid, SYMBOLS)
    solver = AbpgSolver(model, 1e-10)
    reference = solver.solve(model.place(POSITIONS))
    for steps in ([8, 0, 0], [3, -8, 11]):
        state = solver.solve(model.place(POSITIONS + steps * grid.spacing_v))
        assert state.free_energy == pytest.approx(reference.free_energy, abs=1e-9)
        assert state.forces_av == pytest.approx(reference.forces_av, abs=1e-5)
    half = solver.solve(model.place(POSITIONS + 0.5 * grid.spacing_v))
    assert abs(half.free_energy - reference.free_energy) > 1e-6
    grid.destroy()


def test_equal_atoms_can_be_exchanged(solve):
    reference = solve(POSITIONS)
    exchanged = solve(POSITIONS[[0, 2, 1]])
    assert np.abs(reference.forces_av[1] - reference.forces_av[2]).max() > 1e-2
    assert exchanged.free_energy == pytest.approx(reference.free_energy, abs=1e-9)
    assert exchanged.forces_av == pytest.approx(reference.forces_av[[0, 2, 1]], abs=1e-7)


def test_a_doubled_density_grid_forgets_where_the_molecule_lies(comm):
    """Half a spacing changes energy and net force many times less, at the same energy."""
    found = []
    for doubled in (False, True):
        grid = Grid(comm, 7.2, 24, order=8, boundary="periodic")
        model = gth_model(grid, SYMBOLS, density_refinement=2.0 if doubled else 1.0)
        solver = AbpgSolver(model, 1e-9)
        states = [solver.solve(model.place(POSITIONS + part * grid.spacing_v)) for part in (0.0, 0.5)]
        ripple = abs(states[1].free_energy - states[0].free_energy)
        found.append((states[0].free_energy, ripple, np.abs(states[1].forces_av.sum(axis=0)).max()))
        grid.destroy()
    (energy, ripple, net_force), (doubled_energy, doubled_ripple, doubled_net_force) = found
    assert doubled_energy == pytest.approx(energy, abs=0.02)
    assert doubled_ripple < 0.2 * ripple and ripple > 1e-4
    assert doubled_net_force < 0.2 * net_force and net_force > 1e-2
