"""ABPG on small real molecules: what a ground state must satisfy, robustness, errors, ranks."""

import gc
import re

import numpy as np
import pytest

from mpiqmd.errors import AccuracyError, ConvergenceError, GeometryError
from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.iterate import evaluate, orthonormalised
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.kohnsham.occupations import entropy, fermi_occupations
from mpiqmd.kohnsham.terms.hartree import Hartree
from tests.helpers.oracles import density_of, everywhere, gth_model, local_part, random_orbitals, water

WATER = ("O", "H", "H")
POSITIONS = water() + [-0.6, 0.07, 0.11]


def make_grid(comm, boundary="isolated", points=(20, 22, 21), cell=(6.6, 7.0, 6.8)):
    return Grid(comm, cell, points, order=6, boundary=boundary)


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = make_grid(comm, request.param)
    yield grid
    grid.destroy()


@pytest.fixture
def isolated(comm):
    grid = make_grid(comm)
    yield grid
    grid.destroy()


@pytest.fixture
def small(comm):
    grid = make_grid(comm, points=(15, 16, 17))
    yield grid
    grid.destroy()


class Record:
    """Takes the solver's log and keeps free energies and error estimates."""

    def __init__(self):
        self.energies, self.estimates = [], []

    def __call__(self, line):
        energy, error = re.search(r"A = +(\S+) Ha +error ~ +(\S+) Ha", line).groups()
        self.energies.append(float(energy))
        self.estimates.append(float(error))


@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_ground_state_of_water(grid, functional):
    model = gth_model(grid, WATER, functional)
    problem = model.place(POSITIONS)
    record = Record()
    state = AbpgSolver(model, 1e-9, log=record).solve(problem)
    assert state.converged and state.residual < 1e-9 and state.iterations == len(record.energies) < 40

    assert set(state.components) == {"kinetic", "local", "nonlocal", "hartree", "xc", "ion_ion", "entropy"}
    assert sum(state.components.values()) == pytest.approx(state.free_energy, abs=1e-9)
    assert state.energy == state.free_energy
    assert all(abs(value) > 0.1 for name, value in state.components.items() if name != "entropy")

    assert state.density.integrate() == pytest.approx(8.0, abs=1e-10)
    assert state.orbitals.gram() == pytest.approx(np.eye(4), abs=1e-10)
    assert state.occupations_n == pytest.approx(np.ones(4), abs=1e-10)
    same = density_of(state.orbitals, state.density_matrix_nn)
    assert Field(grid, same.local - state.density.local).norm() < 1e-10

    _, potential = problem.density_terms(state.density)
    applied = problem.linear.plus(potential).apply(state.electrons.space)
    # the orbitals are one step ahead of the eigenvalues, a step of the order of the root of the energy error
    assert state.orbitals.gram(applied) == pytest.approx(np.diag(state.eigenvalues_n), abs=np.sqrt(1e-9))
    applied.local -= state.eigenvalues_n[:, None, None, None] * state.orbitals.local
    assert applied.norms().max() < 1e-3
    assert (np.diff(state.eigenvalues_n) > 0).all()
    assert state.forces_av == pytest.approx(-state.gradient_av) and state.forces_av.shape == (3, 3)


def test_energy_falls_and_the_estimate_tells_by_how_much_more(grid):
    """Within a factor of five: it knows neither the gap nor how the potential answers to the orbitals."""
    model = gth_model(grid, WATER)
    record = Record()
    AbpgSolver(model, 1e-11, log=record).solve(model.place(POSITIONS))
    energies, estimates = np.array(record.energies), np.array(record.estimates)
    assert (np.diff(energies) < 1e-9).all()
    errors = energies - energies[-1]
    known = (errors > 1e-8) & (estimates < 1e-2)
    assert known.sum() >= 4
    ratios = estimates[known] / errors[known]
    assert ratios.min() > 0.2 and ratios.max() < 4


def test_the_last_step_brings_the_orbitals_nearer(isolated):
    """Their energy lies between the one reported and the minimum; errors of forces go as its root."""
    model = gth_model(isolated, WATER)
    problem = model.place(POSITIONS)
    exact = AbpgSolver(model, 1e-14).solve(problem)
    for tolerance in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        solver = AbpgSolver(model, tolerance)
        state = solver.solve(problem)
        again = evaluate(problem, state.electrons, solver.timers)
        left, before = again.free_energy - exact.free_energy, state.free_energy - exact.free_energy
        assert -1e-12 < left < 0.6 * before
        assert np.abs(state.forces_av - exact.forces_av).max() < 4.0 * np.sqrt(left)


def test_result_does_not_depend_on_the_start(isolated, rng):
    model = gth_model(isolated, WATER)
    problem = model.place(POSITIONS)
    solver = AbpgSolver(model, 1e-13)
    from_atoms = solver.solve(problem)
    noise = random_orbitals(isolated, rng, 4)
    perturbed = Orbitals(isolated, from_atoms.orbitals.local + 0.01 * noise.local)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0] * 1.7
    starts = [perturbed, from_atoms.orbitals.combine(rotation)]
    for start in starts:
        state = solver.solve(problem, start)
        assert state.free_energy == pytest.approx(from_atoms.free_energy, abs=1e-10)
        assert state.forces_av == pytest.approx(from_atoms.forces_av, abs=1e-5)
        assert state.eigenvalues_n == pytest.approx(from_atoms.eigenvalues_n, abs=5e-6)
    assert state.iterations == 1


def test_any_orbitals_lie_above(isolated, rng):
    """The ground state is a minimum: the error estimate of any disturbed state is how far above."""
    model = gth_model(isolated, WATER)
    problem = model.place(POSITIONS)
    best = AbpgSolver(model, 1e-10).solve(problem)
    for size in (0.003, 0.001):
        noise = random_orbitals(isolated, rng, 4)
        disturbed = Orbitals(isolated, best.orbitals.local + size * noise.local)
        record = Record()
        with pytest.raises(ConvergenceError):
            AbpgSolver(model, 1e-14, max_iterations=1, log=record).solve(problem, disturbed)
        assert record.energies[0] > best.free_energy + 1e-5


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_same_on_one_rank(comm, serial_comm, boundary):
    results = []
    for ranks in (comm, serial_comm):
        grid = make_grid(ranks, boundary, points=(16, 17, 18))
        model = gth_model(grid, WATER, "PBE")
        state = AbpgSolver(model, 1e-11).solve(model.place(POSITIONS))
        results.append((state.free_energy, state.forces_av, state.eigenvalues_n, everywhere(state.density)))
        grid.destroy()
    (energy, forces_av, eigenvalues_n, density), (energy_1, forces_1_av, eigenvalues_1_n, density_1) = results
    assert energy == pytest.approx(energy_1, abs=1e-10)
    assert forces_av == pytest.approx(forces_1_av, abs=1e-8)
    assert eigenvalues_n == pytest.approx(eigenvalues_1_n, abs=1e-8)
    assert density == pytest.approx(density_1, abs=1e-7)


def test_ranks_agree_bitwise(isolated):
    model = gth_model(isolated, ("H", "H"))
    state = AbpgSolver(model, 1e-8).solve(model.place(np.array([[-0.7, 0, 0.1], [0.7, 0, 0.1]])))
    mine = (state.free_energy, state.iterations, state.forces_av.tobytes(), state.eigenvalues_n.tobytes())
    assert isolated.comm.allgather(mine) == [mine] * isolated.comm.size


# ---- electronic temperature ------------------------------------------------------------------------------------------

HOT = 0.08
"""Hot enough to occupy water's lowest empty levels."""


def hot_state(grid, temperature, tolerance=1e-10):
    model = gth_model(grid, WATER, temperature=temperature)
    return AbpgSolver(model, tolerance, max_iterations=60, empty_orbitals=2).solve(model.place(POSITIONS))


def test_occupations_and_entropy_at_finite_temperature(small):
    state = hot_state(small, HOT)
    expected, _, disorder = fermi_occupations(state.eigenvalues_n, 8.0, HOT)
    assert 1e-3 < expected[-1] < 0.5 < expected[3] < 0.999
    assert state.occupations_n == pytest.approx(expected, abs=1e-4)
    assert np.trace(state.density_matrix_nn) == pytest.approx(4.0, abs=1e-10)
    assert state.components["entropy"] == pytest.approx(-HOT * disorder, rel=1e-3)
    assert state.energy - state.free_energy == pytest.approx(-state.components["entropy"], abs=1e-10)
    assert state.components["entropy"] == pytest.approx(
        -HOT * entropy(np.linalg.eigvalsh(state.density_matrix_nn)),
        rel=1e-6,  # P is one step ahead, as the orbitals
    )
    assert sum(state.components.values()) == pytest.approx(state.free_energy, abs=1e-9)


def test_free_energy_falls_with_temperature_at_the_rate_of_the_entropy(small):
    """``dA/dT = -S`` holds only for a state that is stationary in orbitals and occupations."""
    step = 0.004
    states = {HOT + shift: hot_state(small, HOT + shift) for shift in (-step, 0.0, step)}
    below, _, above = states.values()
    entropies = [-state.components["entropy"] / temperature for temperature, state in states.items()]
    assert entropies == sorted(entropies) and entropies[0] > 0.1
    slope = (above.free_energy - below.free_energy) / (2 * step)
    assert slope == pytest.approx(-entropies[1], rel=2e-3)


def test_cold_limit_of_smearing_is_integer_filling(small):
    """A temperature far below the gap changes nothing, empty orbitals or not."""
    model = gth_model(small, WATER)
    filled = AbpgSolver(model, 1e-9).solve(model.place(POSITIONS))
    with_empty = AbpgSolver(model, 1e-9, empty_orbitals=2).solve(model.place(POSITIONS))
    cold = hot_state(small, 0.002, 1e-9)
    for state in (with_empty, cold):
        assert state.free_energy == pytest.approx(filled.free_energy, abs=1e-8)
        assert state.eigenvalues_n[:4] == pytest.approx(filled.eigenvalues_n, abs=5e-5)
        assert state.occupations_n[:4] == pytest.approx(np.ones(4), abs=1e-6)


STRETCHED = np.array([[-2.0, 0, 0], [2.0, 0, 0]])


@pytest.mark.parametrize("temperature", [0.01, 0.003])
def test_a_molecule_torn_apart_converges_to_what_the_other_solver_finds(comm, temperature):
    """Stretched N2 has four levels within 0.05 Ha: their filling moves charge, which moves them back."""
    grid = Grid(comm, (9.0, 7.0, 7.0), (24, 18, 18), order=6)
    model = gth_model(grid, ("N", "N"), temperature=temperature)
    problem = model.place(STRETCHED)
    state = AbpgSolver(model, 1e-8, empty_orbitals=4).solve(problem)
    other = SlepcSolver(model, 1e-9, empty_orbitals=4).solve(problem)
    assert state.free_energy == pytest.approx(other.free_energy, abs=2e-8)
    assert state.iterations < 80
    expected, _, _ = fermi_occupations(other.eigenvalues_n, 10.0, temperature)
    assert state.occupations_n == pytest.approx(expected, abs=1e-3)
    grid.destroy()


# ---- when it goes wrong ----------------------------------------------------------------------------------------------


def test_the_fallback_goes_on_where_progress_stops(small, monkeypatch):
    """A far too timid preconditioner does not get anywhere; the answer is the other solver's."""
    monkeypatch.setattr("mpiqmd.hifi.abpg.PATIENCE", 5)
    model, lines = gth_model(small, WATER), []
    problem = model.place(POSITIONS)
    solver = AbpgSolver(model, 1e-8, shift=1e3, history=0, log=lines.append, fallback=SlepcSolver(model, 1e-8))
    state = solver.solve(problem)
    assert any("SlepcSolver goes on" in line for line in lines)
    assert state.free_energy == pytest.approx(AbpgSolver(model, 1e-9).solve(problem).free_energy, abs=2e-8)
    assert state.iterations > 5


def test_a_step_that_goes_wrong_is_taken_back(small, rng, monkeypatch):
    """Disturbed orbitals raise the energy; the iterate before them is taken up again, and the ground state found."""
    model, record, calls = gth_model(small, WATER), Record(), []
    noise = random_orbitals(small, rng, 4)

    def disturbed(orbitals):
        calls.append(1)
        found = orthonormalised(orbitals)
        return orthonormalised(Orbitals(small, found.local + 0.05 * noise.local)) if len(calls) == 7 else found

    monkeypatch.setattr("mpiqmd.hifi.abpg.orthonormalised", disturbed)
    state = AbpgSolver(model, 1e-8, log=record).solve(model.place(POSITIONS))
    steps = np.diff(record.energies)
    worst = int(np.argmax(steps))
    assert steps[worst] > 1e-3
    assert record.energies[worst + 2] == pytest.approx(record.energies[worst], abs=1e-9)
    monkeypatch.undo()
    assert state.free_energy == pytest.approx(AbpgSolver(model, 1e-9).solve(model.place(POSITIONS)).free_energy, abs=2e-8)


@pytest.mark.parametrize("solver", [AbpgSolver, SlepcSolver])
@pytest.mark.parametrize("temperature, empty", [(0.0, 0), (0.01, 2)])
def test_nothing_outlives_a_solve(small, solver, temperature, empty):
    """Arrays in reference cycles stay until Python happens to look for them: gigabytes in a long run."""
    model = gth_model(small, WATER, temperature=temperature)
    chosen = solver(model, 1e-6, empty_orbitals=empty)
    chosen.solve(model.place(POSITIONS))
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        chosen.solve(model.place(POSITIONS))
        gc.collect()
        left = [type(item) for item in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not [kind for kind in left if kind.__module__.startswith(("mpiqmd", "ctypes", "numpy"))]


# ---- charge ----------------------------------------------------------------------------------------------------------

HYDROXIDE = (("O", "H"), -1, np.array([[-0.6, 0.1, 0.0], [1.23, 0.0, 0.1]]))
HYDRONIUM = (
    ("O", "H", "H", "H"),
    1,
    np.array([[0.0, 0.0, 0.3], [1.75, 0.0, -0.3], [-0.87, 1.52, -0.3], [-0.87, -1.52, -0.3]]),
)


@pytest.mark.parametrize("symbols, charge, positions_av", [HYDROXIDE, HYDRONIUM], ids=["OH-", "H3O+"])
def test_charged_molecules_converge(isolated, symbols, charge, positions_av):
    model = gth_model(isolated, symbols, "PBE", charge=charge)
    state = AbpgSolver(model, 1e-8).solve(model.place(positions_av))
    assert state.density.integrate() == pytest.approx(8.0, abs=1e-9)
    assert np.isfinite(state.forces_av).all()
    problem = model.place(positions_av)
    total = Field(isolated, problem.linear.potential.local + model.term(Hartree).potential(state.density).local)
    corner = everywhere(total)[0, 0, 0]
    distance = np.linalg.norm([line[0] for line in (isolated.coordinates(axis) for axis in range(3))])
    assert -corner * distance == pytest.approx(charge, abs=0.25)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_too_few_iterations_is_an_error_that_says_what_to_try(isolated):
    model = gth_model(isolated, WATER)
    with pytest.raises(ConvergenceError, match="1 iterations.*Try more scf.max_iterations.*slepc") as caught:
        AbpgSolver(model, 1e-9, max_iterations=1).solve(model.place(POSITIONS))
    assert "1.0e-09" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_is_found_on_every_rank(isolated, rng, bad):
    model = gth_model(isolated, WATER)
    whole = rng.normal(size=(4, *isolated.shape))
    whole[2, 3, 4, 5] = bad
    with pytest.raises(AccuracyError, match=r"NaN|not a number"):
        AbpgSolver(model, 1e-9).solve(model.place(POSITIONS), Orbitals(isolated, local_part(isolated, whole)))


def test_dependent_orbitals_are_an_error(isolated, rng):
    model = gth_model(isolated, WATER)
    block = random_orbitals(isolated, rng, 4)
    block.local[3] = block.local[0]
    with pytest.raises(AccuracyError, match="linearly dependent"):
        AbpgSolver(model, 1e-9).solve(model.place(POSITIONS), block)


@pytest.mark.parametrize("shift, words", [([4.0, 0, 0], "outside"), ([0, 0, 2.5], "walls"), ([np.nan, 0, 0], "finite")])
def test_atoms_outside_an_isolated_cell(isolated, shift, words):
    with pytest.raises(GeometryError, match=words):
        gth_model(isolated, WATER).place(POSITIONS + shift)


def test_atoms_on_top_of_each_other(grid):
    positions_av = POSITIONS.copy()
    positions_av[2] = positions_av[1] + 0.05
    with pytest.raises(GeometryError, match="bohr apart"):
        gth_model(grid, WATER).place(positions_av)


def test_an_atom_outside_a_periodic_cell_is_its_image(comm):
    grid = make_grid(comm, "periodic")
    model = gth_model(grid, ("H", "H"))
    positions_av = np.array([[-0.7, 0, 0.1], [0.7, 0, 0.1]])
    states = [AbpgSolver(model, 1e-10).solve(model.place(positions_av + s)) for s in (0.0, grid.cell_v * [2, 0, -1])]
    assert states[1].free_energy == pytest.approx(states[0].free_energy, abs=1e-10)
    assert states[1].forces_av == pytest.approx(states[0].forces_av, abs=1e-8)
    grid.destroy()
