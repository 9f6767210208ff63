"""Minimisers over density matrices on small mean-field problems with known or brute-force answers."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from mpiqmd.errors import AccuracyError, ConvergenceError
from mpiqmd.kohnsham.ensemble_minimiser import minimise_diis, minimise_mvp
from mpiqmd.kohnsham.occupations import entropy, fermi_occupations

MINIMISERS = pytest.mark.parametrize("minimise", [minimise_mvp, minimise_diis])


class MeanField:
    """E = 2 tr(hP) + ½ ρ·J·ρ + (a/3) Σ ρ³ with ρ_i = 2 P_ii: convex for J >= 0, a >= 0."""

    def __init__(self, rng, size=7, repulsion=0.5, cubic=0.1, gap=1.0):
        h = rng.normal(size=(size, size))
        self.h = 0.15 * (h + h.T) + np.diag(gap * np.arange(size))
        j = rng.normal(size=(size, size))
        self.j = repulsion * (j @ j.T / size + 0.2 * np.eye(size))
        self.cubic = cubic
        self.calls = 0

    def __call__(self, p):
        self.calls += 1
        rho = 2.0 * np.diag(p)
        v = self.j @ rho + self.cubic * rho**2
        energy = 2.0 * np.sum(self.h * p) + 0.5 * rho @ self.j @ rho + self.cubic / 3.0 * np.sum(rho**3)
        return float(energy), self.h + np.diag(v)


def core_guess(problem, n_electrons, temperature=0.0):
    values, vectors = np.linalg.eigh(problem.h)
    f, _, _ = fermi_occupations(values, n_electrons, temperature)
    return (vectors * f) @ vectors.T


def free_energy(problem, p, temperature):
    return problem(p)[0] - temperature * entropy(np.linalg.eigvalsh(p))


def test_the_model_problem_is_consistent(rng):
    problem = MeanField(rng)
    p = core_guess(problem, 4)
    d = rng.normal(size=p.shape)
    d += d.T
    slope = (problem(p + 1e-4 * d)[0] - problem(p - 1e-4 * d)[0]) / 2e-4
    assert slope == pytest.approx(2.0 * np.sum(problem(p)[1] * d), rel=1e-6)


@MINIMISERS
def test_independent_electrons_fill_the_lowest_levels(comm, rng, minimise):
    problem = MeanField(rng, repulsion=0.0, cubic=0.0)
    guess = np.diag([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    result = minimise(comm, problem, guess, 4)
    levels = np.linalg.eigvalsh(problem.h)
    assert result.energy == pytest.approx(2.0 * levels[:2].sum(), abs=1e-13)
    assert result.eigenvalues_m == pytest.approx(levels, abs=1e-12)
    assert result.occupations_m.tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert result.converged and result.evaluations <= 3


@MINIMISERS
def test_two_functions_against_a_scan(comm, rng, minimise):
    """One pair in two functions: P is a projector on an angle; a scan of it is the exact answer."""
    problem = MeanField(rng, size=2, repulsion=2.0)

    def energy(angle):
        c = np.array([np.cos(angle), np.sin(angle)])
        return problem(np.outer(c, c))[0]

    exact = min(minimize_scalar(energy, bracket=(a, a + 0.1), tol=1e-14).fun for a in np.linspace(0, np.pi, 8))
    result = minimise(comm, problem, np.diag([0.0, 1.0]), 2)
    assert result.energy == pytest.approx(exact, abs=1e-12)


@MINIMISERS
@pytest.mark.parametrize("temperature", [0.0, 1e-3, 0.3])
def test_the_minimum_is_the_target_of_its_own_hamiltonian(comm, rng, minimise, temperature):
    problem = MeanField(rng)
    result = minimise(comm, problem, core_guess(problem, 6, temperature), 6, temperature)
    p = result.density_matrix_mm
    energy, hamiltonian = problem(p)
    assert result.energy == energy and (result.hamiltonian_mm == hamiltonian).all()
    f, _, s = fermi_occupations(result.eigenvalues_m, 6, temperature)
    target = (result.coefficients_mm * f) @ result.coefficients_mm.T
    assert np.linalg.norm(target - p) < 1e-8
    assert np.trace(p) == pytest.approx(3.0, abs=1e-12)
    occupations = np.linalg.eigvalsh(p)
    assert occupations.min() > -1e-12 and occupations.max() < 1 + 1e-12
    assert result.free_energy == pytest.approx(energy - temperature * s, abs=1e-8)
    assert result.occupations_m == pytest.approx(f)


@pytest.mark.parametrize("temperature", [0.0, 0.05, 0.5])
def test_mvp_never_raises_the_free_energy(comm, rng, temperature):
    for repulsion in (0.5, 3.0, 12.0):
        problem = MeanField(rng, repulsion=repulsion)
        guess = core_guess(problem, 4, temperature)
        result = minimise_mvp(comm, problem, guess, 4, temperature, max_iterations=30, must_converge=False)
        assert (np.diff(result.history) < 1e-11).all()
        assert result.history[-1] < result.history[0]


@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.4])
def test_both_minimisers_agree(comm, rng, temperature):
    for repulsion in (0.5, 2.0):
        problem = MeanField(rng, repulsion=repulsion)
        guess = core_guess(problem, 4, temperature)
        one = minimise_mvp(comm, problem, guess, 4, temperature, tolerance=1e-9)
        two = minimise_diis(comm, problem, guess, 4, temperature, tolerance=1e-9)
        assert one.free_energy == pytest.approx(two.free_energy, abs=1e-13)
        assert np.abs(one.density_matrix_mm - two.density_matrix_mm).max() < 1e-8


def test_diis_needs_far_fewer_evaluations_from_a_neighbour(comm, rng):
    problem = MeanField(rng, size=12)
    start = minimise_mvp(comm, problem, core_guess(problem, 8), 8).density_matrix_mm
    problem.h = problem.h + 1e-3 * np.diag(rng.normal(size=12))
    mvp = minimise_mvp(comm, problem, start, 8)
    diis = minimise_diis(comm, problem, start, 8)
    assert diis.evaluations <= 10
    assert diis.evaluations < 0.7 * mvp.evaluations


def test_no_density_matrix_is_lower(comm, rng):
    """Against a general optimiser over all ensembles, P = X (X^T X)^-1 X^T mixed by softmax weights."""
    problem, temperature = MeanField(rng, size=3, repulsion=1.5), 0.25

    def ensemble(x):
        q, _ = np.linalg.qr(x[:9].reshape(3, 3))
        f, _, _ = fermi_occupations(x[9:], 2, 1.0)
        return (q * f) @ q.T

    trials = [
        minimize(lambda x: free_energy(problem, ensemble(x), temperature), rng.normal(size=12), tol=1e-12).fun for _ in range(4)
    ]
    result = minimise_mvp(comm, problem, core_guess(problem, 2, temperature), 2, temperature)
    assert result.free_energy == pytest.approx(min(trials), abs=1e-8)
    assert result.free_energy <= min(trials) + 1e-12


def test_entropy_is_minus_the_derivative_by_temperature(comm, rng):
    problem, t = MeanField(rng), 0.2
    low, middle, high = (
        minimise_mvp(comm, problem, core_guess(problem, 4, s), 4, s, tolerance=1e-9) for s in (t - 1e-3, t, t + 1e-3)
    )
    assert (high.free_energy - low.free_energy) / 2e-3 == pytest.approx(-middle.entropy, rel=1e-4)


@pytest.mark.parametrize("temperature", [1e-4, 1e-3, 1e-2])
def test_a_gap_far_above_the_temperature_gives_integer_occupations(comm, rng, temperature):
    problem = MeanField(rng, gap=3.0)
    guess = core_guess(problem, 4)
    cold = minimise_mvp(comm, problem, guess, 4)
    for minimise in (minimise_mvp, minimise_diis):
        warm = minimise(comm, problem, guess, 4, temperature)
        assert warm.free_energy == pytest.approx(cold.free_energy, abs=1e-12)
        assert np.abs(warm.density_matrix_mm - cold.density_matrix_mm).max() < 1e-7


@MINIMISERS
def test_degenerate_frontier_needs_a_temperature_and_then_is_shared(comm, minimise):
    """One pair on three equal, repelling sites spreads evenly: no integer filling is self-consistent."""
    problem = MeanField(np.random.default_rng(0), size=3)
    problem.h, problem.j, problem.cubic = np.zeros((3, 3)), np.eye(3), 0.0
    start = np.diag([1.0, 0.0, 0.0])
    with pytest.raises(ConvergenceError, match="electronic_temperature"):
        minimise(comm, problem, start, 2)
    result = minimise(comm, problem, start, 2, 0.05)
    assert np.diag(result.density_matrix_mm) == pytest.approx(np.ones(3) / 3, abs=1e-8)
    assert result.energy == pytest.approx(0.5 * 3 * (2 / 3) ** 2, abs=1e-10)


def test_diis_hands_over_where_it_would_rise(comm, rng):
    """A strong response makes the fixed point oscillate and extrapolation stall; line searches go on."""
    problem = MeanField(rng, repulsion=2.0)
    guess = core_guess(problem, 6)
    mvp, diis = minimise_mvp(comm, problem, guess, 6), minimise_diis(comm, problem, guess, 6)
    assert (np.diff(diis.history) < 1e-10).all()
    assert diis.free_energy == pytest.approx(mvp.free_energy, abs=1e-12)
    assert diis.evaluations > len(diis.history) + 10


def test_not_converging_is_an_error_that_says_what_to_try(comm, rng):
    problem = MeanField(rng, repulsion=5.0)
    guess = core_guess(problem, 4)
    with pytest.raises(ConvergenceError, match=r"residual .* at most 1\.00e-08 .* loosen"):
        minimise_mvp(comm, problem, guess, 4, max_iterations=1)
    result = minimise_mvp(comm, problem, guess, 4, max_iterations=1, must_converge=False)
    assert not result.converged and result.free_energy < result.history[0]


@MINIMISERS
def test_wrong_starts_are_refused(comm, rng, minimise):
    problem = MeanField(rng)
    with pytest.raises(AccuracyError, match="holds 4 electrons, the system has 6"):
        minimise(comm, problem, core_guess(problem, 4), 6)
    with pytest.raises(AccuracyError, match="NaN"):
        minimise(comm, lambda p: (np.nan, np.nan * p), core_guess(problem, 4), 4)


def test_evaluations_are_counted(comm, rng):
    problem = MeanField(rng)
    result = minimise_mvp(comm, problem, core_guess(problem, 4), 4)
    assert result.evaluations == problem.calls
