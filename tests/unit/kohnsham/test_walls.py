"""What walls do, against a particle in a box, exact profiles, and helium in cells of two sizes."""

import numpy as np
import pytest

from mpiqmd.grid import Grid, stencils
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.electrons import Electrons, OrbitalSpace
from mpiqmd.kohnsham.walls import TOLERATED, Walls, _decay, examine_walls, first_point
from tests.helpers.oracles import gth_model, local_part


def box_state(grid):
    """The lowest state of a particle in the cell by the grid's own finite differences."""
    factors = []
    for axis in range(3):
        n, spacing = grid.shape[axis], grid.spacing_v[2 - axis]
        laplacian = stencils.matrix(stencils.second_derivative(grid.order), spacing**-2, n, periodic=False)
        factors.append(np.abs(np.linalg.eigh(-laplacian)[1][:, 0]) / np.sqrt(spacing))
    z, y, x = factors
    return Orbitals(grid, local_part(grid, z[:, None, None] * y[:, None] * x)[None].copy())


@pytest.mark.parametrize("order", [2, 4, 12])
def test_pressure_of_a_particle_in_a_box(comm, order):
    """``E = Σ π² / 2 L²``, so that each wall feels ``π² / L³`` for each particle, here two."""
    cell_v = np.array([5.0, 6.0, 7.0])
    grid = Grid(comm, cell_v, [30, 32, 36], order=order)
    walls = examine_walls(Electrons(OrbitalSpace(box_state(grid)), np.eye(1)))
    expected_v = 2 * np.pi**2 / cell_v**3
    assert walls.pressures_vs == pytest.approx(np.stack([expected_v, expected_v], axis=1), rel=0.04)
    assert walls.net_force_v == pytest.approx(np.zeros(3), abs=1e-10)
    kept, steepest = first_point(order), (grid.spacing_v / cell_v).max()
    assert walls.density == pytest.approx(2 * 8 / cell_v.prod() * (np.pi * steepest) ** 2 * kept, rel=0.1)


@pytest.mark.serial
@pytest.mark.parametrize("decay", [0.5, 0.9, 1.4])
def test_decay_of_an_exact_profile(decay):
    distances = 0.2 * np.arange(1, 40)
    assert _decay(np.sinh(decay * distances) ** 2, 0.2) == pytest.approx(decay, rel=1e-9)
    assert _decay(np.ones(40), 0.2) == _decay(np.zeros(40), 0.2) == 0.3


@pytest.mark.serial
def test_a_cell_that_would_do():
    """Error E of each wall, decay κ: the error falls to the tolerated one at ln(6 E / T) / 2κ more on each side."""
    errors_vs, decays_vs = np.full((3, 2), 0.01), np.full((3, 2), 0.8)
    errors_vs[1, 1] = 0.04
    walls = Walls(1e-4, errors_vs * 2 * decays_vs, decays_vs, np.full(3, 10.0))
    assert walls.energy_error == pytest.approx(0.09)
    sides_v = np.log(6 * np.array([0.01, 0.04, 0.01]) / TOLERATED) / 1.6
    assert (walls.sufficient_cell_v >= 10 + 2 * sides_v).all()
    assert (walls.sufficient_cell_v < 10.5 + 2 * sides_v).all()
    quiet = Walls(1e-9, 1e-3 * TOLERATED * decays_vs, decays_vs, np.full(3, 10.0))
    assert quiet.sufficient_cell_v.tolist() == [10.0] * 3


def ground_state(comm, points, position_v):
    grid = Grid(comm, 0.4 * points, points, order=12)
    model = gth_model(grid, ("He",), density_refinement=1.5)
    return grid, AbpgSolver(model, 1e-8).solve(model.place(np.array([position_v])))


def test_energy_and_force_of_the_walls_on_helium(comm):
    """Against a cell of 12.8 bohr with the atom at the same place of grids of the same spacings; forces ripple, too."""
    for x, by_walls in ((0.0, 0.0), (1.6, 0.02)):
        _, state = ground_state(comm, 20, [x, 0.0, 0.0])
        _, free = ground_state(comm, 32, [x, 0.0, 0.0])
        walls = examine_walls(state.electrons)
        assert walls.energy_error == pytest.approx(state.energy - free.energy, rel=0.25)
        pushed_v = (state.forces_av - free.forces_av).sum(axis=0)
        assert walls.net_force_v == pytest.approx(pushed_v, abs=1e-6 + 0.5 * by_walls)
    assert -0.04 < walls.net_force_v[0] < -by_walls


def test_walls_are_the_same_on_any_ranks(comm, serial_comm):
    _, state = ground_state(comm, 20, [0.3, -0.4, 0.5])
    _, alone = ground_state(serial_comm, 20, [0.3, -0.4, 0.5])
    found, expected = examine_walls(state.electrons), examine_walls(alone.electrons)
    assert found.pressures_vs == pytest.approx(expected.pressures_vs, rel=1e-4)
    assert found.density == pytest.approx(expected.density, rel=1e-3)
