"""The total energy converges at the order of the stencil, where nothing but the stencil is approximate.

Two electrons on two Gaussian ions in a periodic cell: the ions' potential, electrostatics and (as fast) the integrals of
smooth functions are spectrally accurate, so the error is that of the kinetic energy alone, ``C h^order``.
"""

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.molecule import Molecule
from tests.helpers.oracles import observed_orders, order_table, soft_ion

POSITIONS = np.array([[-0.6, 0.1, 0.2], [0.7, -0.2, 0.05]])
CELL = np.array([6.8, 7.6, 8.0])
POINTS = [(18, 20, 22), (27, 30, 33), (36, 40, 44)]


def energy(comm, points, order, functional="LDA"):
    grid = Grid(comm, CELL, points, order, "periodic")
    ions = {"H": soft_ion("H", 1.0, 0.7)}
    model = KohnShamModel(grid, Molecule(("H", "H"), POSITIONS), ions, Functional(functional))
    state = AbpgSolver(model, 1e-11).solve(model.place(POSITIONS))
    grid.destroy()
    return state.free_energy


@pytest.fixture(scope="module")
def exact_energy():
    """One value per functional for every order, from the finest grid at order 12, on this rank alone."""
    return {name: energy(MPI.COMM_SELF, POINTS[-1], 12, name) for name in ("LDA", "PBE")}


@pytest.mark.parametrize("order, functional", [(2, "LDA"), (4, "LDA"), (6, "LDA"), (4, "PBE")])
def test_total_energy_converges_at_the_order_of_the_stencil(comm, exact_energy, order, functional):
    spacings = [float((CELL / count).max()) for count in POINTS]
    errors = [abs(energy(comm, count, order, functional) - exact_energy[functional]) for count in POINTS]
    print(order_table(f"total energy, {functional}, order {order}", spacings, errors))
    assert errors[-1] > 1e-7
    assert order - 0.5 < observed_orders(spacings, errors)[-1] < order + 0.25


@pytest.mark.parametrize("order", [2, 4, 6])
def test_kinetic_energy_is_approached_from_below(comm, exact_energy, order):
    """The stencil's symbol is below k² / 2 for every wave, so the discrete minimum is below the exact one."""
    assert energy(comm, POINTS[0], order) < exact_energy["LDA"] - 1e-5
