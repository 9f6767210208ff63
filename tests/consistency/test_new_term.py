"""An energy term defined in this file alone: every solver, force and check takes it up, since all of them sum over terms."""

import numpy as np
import pytest
from oracles import central_difference, gth_model, smooth_orbitals, water

from mpiqmd.errors import ConfigError
from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.kohnsham import terms
from mpiqmd.kohnsham.terms import register_term
from mpiqmd.kohnsham.terms.term import LinearTerm
from mpiqmd.rom.compiled.compile import require_compilable
from mpiqmd.rom.grid_model import GridReducedModel
from mpiqmd.rom.online import RomSolver

STRENGTH = 0.05


class Spring:
    """A harmonic well about the first nucleus, ``k/2 |r - R_0|²``: for the electrons, and with charge Z for the other ions."""

    name = "spring"

    def __init__(self, system):
        self.grid, self.valences_a = system.density_grid, system.valences_a

    def at(self, positions_av):
        return PlacedSpring(self, positions_av)


class PlacedSpring(LinearTerm):
    def __init__(self, spring, positions_av):
        self.spring, self.positions_av = spring, positions_av
        z, y, x = spring.grid.local_coordinates
        self.steps = [axis - centre for axis, centre in zip((x, y, z), positions_av[0], strict=True)]
        self.potential = Field(spring.grid, 0.5 * STRENGTH * sum(step**2 for step in self.steps))
        self.arms_av = positions_av - positions_av[0]

    def add_to(self, hamiltonian):
        hamiltonian.add_potential(self.potential)
        hamiltonian.add_constant(self.of_ions())

    def of_ions(self):
        return 0.5 * STRENGTH * float(self.spring.valences_a @ (self.arms_av**2).sum(axis=1))

    def energy(self, electrons):
        return electrons.density.inner(self.potential) + self.of_ions()

    def gradient(self, electrons):
        pull_av = STRENGTH * self.spring.valences_a[:, None] * self.arms_av
        shape = self.spring.grid.local_shape
        fields = [Field(self.spring.grid, np.broadcast_to(step, shape).copy()) for step in self.steps]
        pull_av[0] -= pull_av.sum(axis=0) + STRENGTH * np.array([electrons.density.inner(field) for field in fields])
        return pull_av


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(terms, "MAKERS", [*terms.MAKERS])
    register_term(Spring)


@pytest.fixture(params=[1.0, 1.5], ids=["one grid", "finer density"])
def model(comm, request, registered):
    grid = Grid(comm, (7.0, 7.5, 8.0), (16, 17, 18), order=6, boundary="isolated")
    yield gth_model(grid, ("O", "H", "H"), "PBE", density_refinement=request.param)
    grid.destroy()


POSITIONS = water() + [-0.4, 0.1, 0.05]


def test_both_solvers_and_the_finite_differences_agree(model, rng):
    problem, solver = model.place(POSITIONS), AbpgSolver(model, 1e-12)
    state = solver.solve(problem)
    assert SlepcSolver(model, 1e-11).solve(problem).free_energy == pytest.approx(state.free_energy, abs=1e-9)
    assert state.components["spring"] > 0.1
    assert sum(state.components.values()) == pytest.approx(state.free_energy, abs=1e-10)
    direction_av = rng.normal(size=(3, 3))
    direction_av /= np.linalg.norm(direction_av)

    def energy(t):
        return solver.solve(model.place(POSITIONS + t * direction_av), state.orbitals).free_energy

    along = float(np.sum(state.forces_av * direction_av))
    assert along == pytest.approx(-central_difference(energy, 0.005), abs=3e-6)


def test_it_raises_the_energy_by_what_the_variational_principle_allows(model):
    """Between its expectation in its own ground state and in that without it."""
    plain_model = gth_model(model.grid, ("O", "H", "H"), "PBE", density_refinement=1.5 if model.refinement else 1.0)
    plain_model.terms = plain_model.terms[:-1]
    problem = model.place(POSITIONS)
    spring = problem.terms["spring"]
    plain = AbpgSolver(plain_model, 1e-12).solve(plain_model.place(POSITIONS))
    state = AbpgSolver(model, 1e-12).solve(problem)
    rise = state.free_energy - plain.free_energy
    assert spring.energy(state.electrons) - 1e-9 < rise < spring.energy(plain.electrons) + 1e-9
    assert rise > 0.1 and spring.energy(plain.electrons) - spring.energy(state.electrons) > 1e-4


def test_the_reduced_energy_of_full_modes_is_the_full_one(model, rng):
    state = AbpgSolver(model, 1e-12).solve(model.place(POSITIONS))
    noise = smooth_orbitals(model.grid, rng, 2)
    block = Orbitals(model.grid, np.concatenate([state.orbitals.local, noise.local]))
    modes = block.combine(np.linalg.inv(np.linalg.cholesky(block.gram())).T)
    reduced = RomSolver(model, modes, tolerance=1e-10).solve(POSITIONS)
    assert reduced.free_energy == pytest.approx(state.free_energy, abs=1e-8)
    assert reduced.components["spring"] == pytest.approx(state.components["spring"], abs=1e-4)
    assert reduced.gradient_av == pytest.approx(state.gradient_av, abs=3e-4)
    placed = GridReducedModel(model, modes).place(POSITIONS)
    assert sum(placed.components(reduced.density_matrix_nn).values()) == pytest.approx(reduced.energy, abs=1e-10)


def test_the_compiled_stage_refuses_what_it_does_not_know(model):
    with pytest.raises(ConfigError, match="spring.*rom.online = 'grid'"):
        require_compilable(model)
