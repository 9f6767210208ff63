"""The ground state does not depend on how the preconditioner is applied, and hardly on how Poisson's equation is solved."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.hifi.abpg import AbpgSolver
from tests.helpers.oracles import gth_model

POSITIONS_AV = np.array([[0.1, 0.0, -0.7], [0.1, 0.0, 0.7]])


@pytest.fixture(params=["isolated", "periodic"])
def grids(request, comm):
    choices = ("direct", "multigrid")
    grids = {choice: Grid(comm, 8.0, 24, 8, request.param, poisson=choice) for choice in choices}
    yield grids
    for grid in grids.values():
        grid.destroy()


def ground_state(grid, preconditioner=None):
    model = gth_model(grid, ("H", "H"))
    solver = AbpgSolver(model, energy_tolerance=1e-10)
    if preconditioner is not None:
        solver.preconditioner = preconditioner
    return solver.solve(model.place(POSITIONS_AV))


def test_multigrid_preconditioner_reaches_the_same_energy(grids):
    """The functional is the same, so only the solver's tolerance is between the two; one cycle costs few iterations."""
    direct = ground_state(grids["direct"])
    cycled = ground_state(grids["direct"], ShiftedKineticInverse(grids["multigrid"], 1.0))
    assert cycled.free_energy == pytest.approx(direct.free_energy, abs=1e-8)
    assert direct.iterations <= cycled.iterations <= direct.iterations + 6


def test_multigrid_throughout_agrees_to_the_error_of_its_differences(grids):
    """Order 12 against spectral accuracy at a third of a bohr: a tenth of a millihartree, forces to match."""
    direct, multigrid = ground_state(grids["direct"]), ground_state(grids["multigrid"])
    assert multigrid.free_energy == pytest.approx(direct.free_energy, abs=1e-4)
    assert multigrid.free_energy != pytest.approx(direct.free_energy, abs=1e-9)
    assert multigrid.gradient_av == pytest.approx(direct.gradient_av, abs=1e-4)
