"""The online step: exact derivatives, the same minimum as the general minimiser, and a start that needs no history."""

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.errors import ConvergenceError
from mpiqmd.kohnsham.ensemble_minimiser import minimise_diis
from mpiqmd.molecule.frame import make_frame
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.inner import InverseHessians
from mpiqmd.rom.compiled.learning import fit_predictor
from mpiqmd.rom.learned.polynomials import GeometryPolynomials
from mpiqmd.sampling.mixtures import sample_geometries
from tests.helpers.compiled_water import loose_water, random_density_matrix, serial_water
from tests.helpers.oracles import central_difference
from tests.helpers.tiny_water import UNSEEN, geometry

pytestmark = pytest.mark.serial

FUNCTIONALS = ["LDA", "PBE"]


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_hamiltonian_is_the_derivative_of_the_energy(functional, rng):
    water = serial_water(functional)
    energy, pairs = water.energy(), water.arrays.pairs
    placed = energy.place(geometry(*UNSEEN[0]))
    matrix = water.training.density_matrices_smm[1]
    change = random_density_matrix(rng, pairs) - random_density_matrix(rng, pairs)
    numeric = central_difference(lambda t: energy.evaluate(placed, matrix + t * change)[0], 1e-3)
    exact = 2.0 * np.sum(energy.evaluate(placed, matrix)[1] * change)
    assert exact == pytest.approx(numeric, abs=1e-8)


@pytest.fixture
def chart(rng):
    sectors = np.array([0] * 7 + [1] * 4)
    orbitals = np.zeros((11, 11))
    orbitals[:7, :7] = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    orbitals[7:, 7:] = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return GrassmannChart(orbitals, np.isin(np.arange(11), (0, 2, 3, 8)), sectors)


def test_chart_makes_projectors_and_takes_them_apart(chart, rng):
    assert len(chart) == 3 * 4 + 1 * 3
    kappa = rng.normal(size=len(chart))
    u, w = chart.span(kappa)
    projector = w @ u.T
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-13)
    assert np.trace(projector) == pytest.approx(4.0)
    assert np.abs(projector[:7, 7:]).max() == 0.0
    np.testing.assert_allclose(chart.coordinates(projector), kappa, atol=1e-12)


def test_chart_gradient(chart, rng):
    hamiltonian, kappa = rng.normal(size=(11, 11)), rng.normal(size=len(chart))
    hamiltonian += hamiltonian.T
    direction = rng.normal(size=len(chart))

    def energy(t):
        u, w = chart.span(kappa + t * direction)
        return 2.0 * np.sum((w @ u.T) * hamiltonian)

    u, w = chart.span(kappa)
    exact = chart.gradient(u, w, hamiltonian @ u) @ direction
    assert exact == pytest.approx(central_difference(energy, 1e-3), abs=1e-8)


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_inner_loop_equals_the_plain_form(functional, rng):
    water = serial_water(functional)
    solver = water.solver()
    inner, chart = solver.inner, solver.chart
    placed = solver.energy.place(geometry(*UNSEEN[1]))
    kappa = 0.1 * rng.normal(size=len(chart))
    energies, sizes, slopes = inner.evaluate(placed.linear_p[None], kappa[None], InverseHessians.same(solver.inverse_hessian))
    value, size, slope = placed.base + energies[0], sizes[0], slopes[0]
    found, step = inner.gradient_bk[0], inner.step_bk[0]
    u, w = chart.span(kappa)
    exact, hamiltonian = solver.energy.evaluate(placed, w @ u.T)
    gradient = chart.gradient(u, w, hamiltonian @ u)
    assert value == pytest.approx(exact, abs=1e-12)
    np.testing.assert_allclose(found, gradient, atol=1e-11)
    inverse = np.zeros((len(chart), len(chart)))
    inverse[np.tril_indices(len(chart))] = solver.inverse_hessian
    inverse += np.tril(inverse, -1).T
    np.testing.assert_allclose(step, -inverse @ gradient, atol=1e-6)
    assert size == np.abs(step).max() and slope == pytest.approx(step @ found)


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_finds_the_minimum_of_the_general_minimiser(functional):
    water = serial_water(functional)
    solver = water.solver(tolerance=1e-9)
    for point in UNSEEN:
        placed = solver.energy.place(geometry(*point))
        solution = solver.solve(placed)
        start = water.training.density_matrices_smm[0]
        minimum = minimise_diis(
            MPI.COMM_SELF, lambda p, placed=placed: solver.energy.evaluate(placed, p), start, 8.0, tolerance=1e-8
        )
        assert solution.energy == pytest.approx(minimum.energy, abs=1e-11)
        np.testing.assert_allclose(solution.density_matrix_mm, minimum.density_matrix_mm, atol=1e-7)


def test_accepted_step_has_the_energy_and_error_it_claims():
    solver = serial_water().solver()
    for point in UNSEEN:
        placed = solver.energy.place(geometry(*point))
        solver.tolerance = 1e-6
        solution = solver.solve(placed)
        solver.tolerance = 1e-12
        exact = solver.solve(placed)
        assert solution.evaluations < exact.evaluations
        assert np.abs(solution.kappa - exact.kappa).max() < 3.0 * solution.error < 3e-6
        assert solution.energy == pytest.approx(exact.energy, abs=1e-11)
        np.testing.assert_allclose(solution.coefficients_p, exact.coefficients_p, atol=1e-5)


def largest_gradient_error(solver, positions, moving):
    placed = solver.energy.place(positions)
    solution = solver.solve(placed)
    plain = solver.energy.gradient(placed, solution.density_matrix_mm)
    batch = solver.energy.place_batch(positions[None])
    parts = solution.orbitals_mn, solution.dual_mn, solution.coefficients_p
    (gradient,) = solver.energy.gradients_of(batch, *(part[None] for part in parts))
    np.testing.assert_allclose(gradient, plain, atol=1e-12)
    errors = []
    for a, v in moving:

        def energy(t, a=a, v=v):
            moved = positions.copy()
            moved[a, v] += t
            return solver.solve(solver.energy.place(moved)).energy

        errors.append(abs(central_difference(energy, 1e-3) - gradient[a, v]))
    return max(errors)


@pytest.mark.parametrize("case", [("LDA", "isolated"), ("PBE", "isolated"), ("LDA", "periodic")], ids="-".join)
def test_gradient_is_that_of_the_solved_energy(case):
    solver = serial_water(*case).solver()
    moving = [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert largest_gradient_error(solver, geometry(*UNSEEN[0]), moving) < 1e-8


def test_gradient_with_moving_projectors(rng):
    water = loose_water()
    assert [len(atom.coupling_pp) for atom in water.arrays.atoms] == [1, 0, 0]
    solver = water.solver()
    positions = water.training.positions_sav.mean(axis=0) + rng.uniform(-0.02, 0.02, size=(3, 3))
    assert largest_gradient_error(solver, positions, [(0, 0), (0, 1), (0, 2), (1, 2), (2, 0)]) < 1e-8


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_predicted_start_saves_evaluations_and_changes_nothing(functional):
    water = serial_water(functional)
    solver, saved = water.solver(1e-9), []
    placed = [solver.energy.place(geometry(*point)) for point in UNSEEN]
    plain = [solver.solve(each) for each in placed]
    solver.predictor = fit_predictor(solver, water.training.positions_sav, make_frame(water.model.molecule))
    learned = [solver.solve(each) for each in placed]
    for one, other in zip(plain, learned, strict=True):
        assert other.energy == pytest.approx(one.energy, abs=1e-12)
        np.testing.assert_allclose(other.kappa, one.kappa, atol=1e-8)
        saved.append(one.evaluations - other.evaluations)
    assert min(saved) >= 2


def test_polynomials_are_all_products_up_to_their_degree():
    water = serial_water()
    samples = sample_geometries(water.training.positions_sav, make_frame(water.model.molecule), 300, seed=2)
    polynomials = GeometryPolynomials.spanning(samples, 3)
    positions = geometry(*UNSEEN[0])
    x = polynomials.axes @ positions.ravel() - polynomials.offset
    terms = polynomials.terms(positions[None])[0]
    assert len(x) == 3 and np.abs(x).max() < 1.0
    assert terms[0] == 1.0 and np.allclose(terms[1:4], x, rtol=0, atol=1e-14)
    products = [a**i * b**j * c**k for a, b, c in [x] for i, j, k in np.ndindex(13, 13, 13) if i + j + k <= 12]
    assert polynomials.degree == 12 and len(polynomials) == 455
    np.testing.assert_allclose(np.sort(terms), np.sort(products), rtol=1e-11)


def test_samples_are_in_the_frame_and_reach_beyond_the_training():
    water, frame = serial_water(), make_frame(serial_water().model.molecule)
    samples = sample_geometries(water.training.positions_sav, frame, 200, seed=2)
    for positions_av in samples:
        np.testing.assert_allclose(frame.align(positions_av).body_positions_av, positions_av, atol=1e-12)
    trained = np.ptp(water.training.positions_sav[:, 1], axis=0)
    assert (np.ptp(samples[:, 1], axis=0)[:2] > 0.7 * trained[:2]).all()


def test_giving_up_is_an_error():
    solver = serial_water().solver()
    solver.max_iterations = 1
    with pytest.raises(ConvergenceError, match="after 1 evaluations"):
        solver.solve(solver.energy.place(geometry(*UNSEEN[2])))
