"""The SLEPc route: its eigensolver against separable oscillators, its ground state against direct minimisation."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid import Grid, Orbitals, stencils
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.eigensolver import LowestEigenpairs
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.hifi.slepc import SlepcSolver
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule

WATER = np.array([[0.0, 0.0, 0.0], [1.12, 1.447, 0.0], [1.05, -1.40, 0.1]])
HYDROGEN = np.array([[-0.75, 0.05, 0.0], [0.75, 0.0, 0.1]])


class Oscillator:
    """``-∇²/2 + ½ Σ_v (ω_v v)²`` on a grid, and the calls made to it."""

    def __init__(self, grid: Grid, frequencies_v: tuple[float, float, float]) -> None:
        self.grid, self.frequencies_v = grid, frequencies_v
        self.laplacian, self.calls = Laplacian(grid), 0
        z, y, x = grid.local_coordinates
        wx, wy, wz = frequencies_v
        self.potential = 0.5 * ((wx * x) ** 2 + (wy * y) ** 2 + (wz * z) ** 2)

    def apply(self, orbitals: Orbitals) -> Orbitals:
        self.calls += len(orbitals)
        applied = Orbitals(self.grid, self.laplacian.apply(orbitals, scale=-0.5))
        applied.local += self.potential * orbitals.local
        return applied

    def discrete_levels(self, count: int) -> np.ndarray:
        """Sums of the eigenvalues of the three dense 1-D problems: the exact answer on this grid."""
        levels = np.zeros(1)
        for axis, frequency in zip(range(3), self.frequencies_v[::-1], strict=True):
            weights = stencils.second_derivative(self.grid.order)
            power = self.grid.spacing_v[2 - axis] ** -2.0
            matrix = -0.5 * stencils.matrix(weights, power, self.grid.shape[axis], self.grid.is_periodic)
            matrix += np.diag(0.5 * (frequency * self.grid.coordinates(axis)) ** 2)
            levels = np.add.outer(levels, np.linalg.eigvalsh(matrix)).ravel()
        return np.sort(levels)[:count]

    def solve(self, count: int, guess: Orbitals, tolerance: float = 1e-7, max_iterations: int = 200):
        precondition = ShiftedKineticInverse(self.grid, 1.0).apply_orbitals
        with LowestEigenpairs(self.grid, count) as solver:
            return solver.solve(self.apply, precondition, guess, tolerance, max_iterations)


def random_orbitals(grid: Grid, count: int, rng: np.random.Generator) -> Orbitals:
    whole = rng.standard_normal((count, *grid.shape))
    return Orbitals(grid, whole[(slice(None), *grid.local_slices)])


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_eigenpairs_of_an_uneven_grid_are_those_of_the_separated_problem(comm, rng, boundary):
    grid = Grid(comm, (7.0, 8.0, 9.0), (11, 12, 13), 4, boundary)
    oscillator = Oscillator(grid, (1.0, 1.1, 1.3))
    eigenvalues, orbitals, iterations = oscillator.solve(4, random_orbitals(grid, 4, rng), 1e-6)
    residual = oscillator.apply(orbitals)
    residual.local -= eigenvalues[:, None, None, None] * orbitals.local
    np.testing.assert_allclose(eigenvalues, oscillator.discrete_levels(4), rtol=0, atol=1e-11)
    np.testing.assert_allclose(orbitals.gram(), np.eye(4), rtol=0, atol=1e-10)
    assert residual.norms().max() < 1.01e-6
    assert 1 < iterations <= 200


def shells(grid: Grid) -> Orbitals:
    """Gaussians of a wrong width times all monomials up to degree 2: a rough start for the first three shells."""
    z, y, x = grid.local_coordinates
    envelope = np.exp(-0.4 * (x**2 + y**2 + z**2))
    monomials = [1.0, x, y, z, x * x, y * y, z * z, x * y, y * z, z * x]
    return Orbitals(grid, np.stack([monomial * envelope for monomial in monomials]))


def test_order_of_convergence_of_the_oscillator(comm):
    """Levels 3/2 and 5/2 (three times) at order 4, bounded from both sides."""
    points, errors = (18, 22, 27), []
    for n in points:
        oscillator = Oscillator(Grid(comm, 10.0, n, 4), (1.0, 1.0, 1.0))
        eigenvalues, _, _ = oscillator.solve(4, shells(oscillator.grid).select(slice(0, 4)), 1e-3)
        errors.append(np.abs(eigenvalues - np.array([1.5, 2.5, 2.5, 2.5])))
    orders = np.log(np.array(errors[:-1]) / np.array(errors[1:])) / np.log(np.divide(points[1:], points[:-1]))[:, None]
    print("errors", errors, "orders", orders)
    assert min(error.min() for error in errors) > 1e-4
    assert (orders > 3.8).all() and (orders < 4.05).all()


def test_degenerate_levels_are_all_found(comm):
    """One, three and six states: on the grid the shell at 7/2 splits by symmetry into two threes."""
    oscillator = Oscillator(Grid(comm, 10.0, 16, 4), (1.0, 1.0, 1.0))
    eigenvalues, _, _ = oscillator.solve(10, shells(oscillator.grid), 1e-3)
    np.testing.assert_allclose(eigenvalues, oscillator.discrete_levels(10), rtol=0, atol=1e-6)
    np.testing.assert_allclose(eigenvalues, [1.5] + 3 * [2.5] + 6 * [3.5], rtol=0, atol=0.06)
    assert max(np.ptp(eigenvalues[level]) for level in (slice(1, 4), slice(4, 7), slice(7, 10))) < 1e-6


def test_guess_of_one_symmetry_still_finds_the_lowest_states(comm):
    """A guess odd in x, exact and converged, must not hide the even ground state."""
    grid = Grid(comm, 9.0, 16, 4)
    oscillator = Oscillator(grid, (1.0, 1.0, 1.0))
    z, y, x = grid.local_coordinates
    guess = Orbitals(grid, (x * np.exp(-0.5 * (x**2 + y**2 + z**2)))[None])
    eigenvalues, _, _ = oscillator.solve(1, guess, 1e-6)
    assert eigenvalues[0] == pytest.approx(oscillator.discrete_levels(1)[0], abs=1e-10)


def test_converged_guess_is_returned_at_once(comm, rng):
    grid = Grid(comm, 9.0, 14, 4)
    oscillator = Oscillator(grid, (1.0, 1.1, 1.2))
    eigenvalues, orbitals, _ = oscillator.solve(3, random_orbitals(grid, 3, rng), 1e-5)
    oscillator.calls = 0
    again, _, _ = oscillator.solve(3, orbitals, 1e-4)
    np.testing.assert_allclose(again, eigenvalues, rtol=0, atol=1e-9)
    assert oscillator.calls <= 6


def test_too_few_iterations_are_an_error(comm, rng):
    oscillator = Oscillator(Grid(comm, 9.0, 14, 4), (1.0, 1.0, 1.0))
    with pytest.raises(ConvergenceError, match="of 4 orbitals"):
        oscillator.solve(4, random_orbitals(oscillator.grid, 4, rng), 1e-10, max_iterations=2)


def water(comm, boundary: str = "isolated", temperature: float = 0.0, xc: str = "LDA"):
    functional = Functional(xc)
    molecule = Molecule(("O", "H", "H"), WATER)
    pseudopotentials = {symbol: load_gth(symbol, functional.family) for symbol in ("O", "H")}
    model = KohnShamModel(Grid(comm, 8.0, 22, 4, boundary), molecule, pseudopotentials, functional, temperature)
    return model, model.place(WATER)


def assert_same_ground_state(first, second, energy: float = 1e-8, force: float = 1e-6) -> None:
    assert first.free_energy == pytest.approx(second.free_energy, abs=energy)
    np.testing.assert_allclose(first.forces_av, second.forces_av, rtol=0, atol=force)
    np.testing.assert_allclose(first.eigenvalues_n, second.eigenvalues_n, rtol=0, atol=1e-5)
    np.testing.assert_allclose(first.occupations_n, second.occupations_n, rtol=0, atol=1e-5)
    assert first.components.keys() == second.components.keys()
    assert sum(first.components.values()) == pytest.approx(first.free_energy, abs=1e-9)


@pytest.mark.parametrize(("boundary", "xc"), [("isolated", "LDA"), ("periodic", "PBE")])
def test_both_routes_reach_the_same_ground_state(comm, boundary, xc):
    model, problem = water(comm, boundary, xc=xc)
    direct = AbpgSolver(model, 1e-13).solve(problem)
    cycle = SlepcSolver(model, 1e-10).solve(problem)
    assert_same_ground_state(cycle, direct)
    assert cycle.converged and cycle.residual < 1e-10 and cycle.iterations < 20
    assert cycle.free_energy > direct.free_energy - 1e-11
    assert cycle.density.integrate() == pytest.approx(8.0, abs=1e-10)
    np.testing.assert_allclose(cycle.orbitals.gram(), np.eye(4), rtol=0, atol=1e-9)


def test_both_routes_agree_at_a_finite_electronic_temperature(comm):
    functional = Functional("LDA")
    molecule = Molecule(("H", "H"), HYDROGEN)
    grid = Grid(comm, 8.0, 20, 4)
    model = KohnShamModel(grid, molecule, {"H": load_gth("H", "LDA")}, functional, electronic_temperature=0.1)
    problem = model.place(HYDROGEN)
    direct = AbpgSolver(model, 1e-12, empty_orbitals=1).solve(problem)
    cycle = SlepcSolver(model, 1e-10, empty_orbitals=1).solve(problem)
    assert_same_ground_state(cycle, direct)
    assert 0.01 < cycle.occupations_n[1] < 0.99
    assert cycle.occupations_n.sum() == pytest.approx(1.0, abs=1e-12)
    assert cycle.free_energy < cycle.energy


def test_result_does_not_depend_on_the_ranks(comm, serial_comm):
    shared, alone = (SlepcSolver(model, 1e-8).solve(problem) for model, problem in (water(comm), water(serial_comm)))
    assert shared.free_energy == pytest.approx(alone.free_energy, abs=1e-10)
    np.testing.assert_allclose(shared.forces_av, alone.forces_av, rtol=0, atol=1e-8)
    assert shared.iterations == alone.iterations


def test_previous_orbitals_shorten_the_next_solve(comm):
    model, problem = water(comm)
    solver = SlepcSolver(model, 1e-8)
    first = solver.solve(problem)
    again = solver.solve(problem, first.orbitals)
    moved = solver.solve(model.place(WATER + 0.01 * np.eye(3)), first.orbitals)
    assert again.iterations <= 2
    assert again.free_energy == pytest.approx(first.free_energy, abs=1e-9)
    assert moved.iterations < first.iterations


def test_cycle_that_does_not_converge_is_an_error(comm):
    model, problem = water(comm)
    with pytest.raises(ConvergenceError, match="scf.max_iterations"):
        SlepcSolver(model, 1e-10, max_iterations=3).solve(problem)
