"""Forces of converged states equal minus the central differences of the converged free energy."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.slepc import SlepcSolver
from tests.helpers.oracles import central_difference, free_energy_slope, gth_model, random_direction, water

HYDROGEN = (("H", "H"), np.array([[-0.61, 0.13, 0.05], [0.66, -0.2, 0.3]]))
WATER = (("O", "H", "H"), water(1.9, 1.75, 108.0) + [-0.6, 0.07, 0.11])


CASES = {
    "H2 isolated LDA": (HYDROGEN, "isolated", "LDA"),
    "H2 isolated PBE": (HYDROGEN, "isolated", "PBE"),
    "H2 periodic LDA": (HYDROGEN, "periodic", "LDA"),
    "H2 periodic PBE": (HYDROGEN, "periodic", "PBE"),
    "H2O isolated PBE": (WATER, "isolated", "PBE"),
    "H2O periodic LDA": (WATER, "periodic", "LDA"),
}


@pytest.mark.parametrize("molecule, boundary, functional", CASES.values(), ids=CASES)
def test_forces_are_derivatives_of_the_energy(comm, rng, molecule, boundary, functional):
    symbols, positions_av = molecule
    grid = Grid(comm, (7.0, 7.2, 6.6), (22, 24, 20), order=6, boundary=boundary)
    model = gth_model(grid, symbols, functional)
    solver = AbpgSolver(model, 1e-12)
    state = solver.solve(model.place(positions_av))
    direction_av = random_direction(rng, positions_av.shape)
    along = np.sum(state.forces_av * direction_av)
    assert abs(along) > 1e-3
    assert along == pytest.approx(-free_energy_slope(solver, model, positions_av, direction_av, state, 0.01), abs=2e-6)
    grid.destroy()


def test_forces_with_fractional_occupations(comm, rng):
    """At finite electronic temperature they are the derivatives of the free energy, not of the energy."""
    symbols, positions_av = HYDROGEN
    grid = Grid(comm, (6.6, 7.0, 6.8), (15, 16, 17), order=6, boundary="isolated")
    model = gth_model(grid, symbols, temperature=0.1)
    solver = SlepcSolver(model, 1e-11, empty_orbitals=2)
    state = solver.solve(model.place(positions_av))
    direction_av = random_direction(rng, positions_av.shape)

    def energies(t):
        moved = solver.solve(model.place(positions_av + t * direction_av), state.orbitals)
        return np.array([moved.free_energy, moved.energy])

    free, total = central_difference(energies, 0.02)
    along = np.sum(state.forces_av * direction_av)
    assert along == pytest.approx(-free, abs=1e-5)
    assert abs(free - total) > 1e-4
    grid.destroy()
