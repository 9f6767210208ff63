"""Anderson acceleration: exact on linear problems, minimal residual, safeguards, the same on any number of ranks."""

from itertools import pairwise

import numpy as np
import pytest

from mpiqmd.hifi.anderson import Anderson

ANYTHING = (-np.inf, np.inf)


def linear_problem(rng, size=12, distinct=12, slowest=0.05):
    """A fixed point x* of ``f(x) = A (x* - x)`` with A symmetric, eigenvalues between ``slowest`` and 1."""
    values = np.linspace(slowest, 1.0, distinct)[np.arange(size) % distinct]
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    matrix = (vectors * values) @ vectors.T
    solution = rng.normal(size=size)
    return solution, lambda x: matrix @ (solution - x)


def share(comm, array):
    """This rank's part of an array, along its last axis."""
    return np.array_split(array, comm.size, axis=-1)[comm.rank]


def whole(comm, part):
    return np.concatenate(comm.allgather(part), axis=-1)


def advance(anderson, x, f):
    """The next iterate of one part."""
    return anderson.next([x], [f])[0]


def iterate(comm, anderson, step_of, size, steps):
    """Distributed iterates, each the next of the one before; returned whole."""
    x, history = np.zeros(size), []
    for _ in range(steps):
        x = whole(comm, advance(anderson, share(comm, x), share(comm, step_of(x))))
        history.append(x)
    return history


def test_without_history_it_is_the_plain_iteration(comm, rng):
    _, step_of = linear_problem(rng)
    x = np.zeros(12)
    for found in iterate(comm, Anderson(comm, 0), step_of, 12, 4):
        x = x + step_of(x)
        assert found == pytest.approx(x, abs=1e-13)


@pytest.mark.parametrize("distinct", [2, 4])
def test_exact_after_as_many_steps_as_distinct_eigenvalues(comm, rng, distinct):
    solution, step_of = linear_problem(rng, distinct=distinct)
    history = iterate(comm, Anderson(comm, distinct, ANYTHING, 0.0), step_of, 12, distinct + 1)
    assert np.abs(history[distinct - 1] - solution).max() > 1e-3
    assert history[distinct] == pytest.approx(solution, abs=1e-10)


def test_residual_never_grows_and_beats_the_plain_iteration(comm, rng):
    _, step_of = linear_problem(rng, size=30, distinct=30, slowest=0.01)
    accelerated = [np.linalg.norm(step_of(x)) for x in iterate(comm, Anderson(comm, 8, ANYTHING, 0.0), step_of, 30, 25)]
    plain = [np.linalg.norm(step_of(x)) for x in iterate(comm, Anderson(comm, 0), step_of, 30, 25)]
    assert all(later < 1.01 * earlier for earlier, later in pairwise(accelerated))
    assert accelerated[-1] < 0.05 * plain[-1]


def test_average_has_the_smallest_residual(comm, rng):
    """``f̄ = f - Σ θ_j (f - f_j)`` is orthogonal to every difference; it is what remains after x̄ is known."""
    steps = rng.normal(size=(3, 10))
    anderson = Anderson(comm, 2, ANYTHING, 0.0)
    zero = np.zeros(10)
    for step in steps:
        result = whole(comm, advance(anderson, share(comm, zero), share(comm, step)))
    differences = np.array([steps[2] - steps[1], steps[2] - steps[0]])
    assert np.abs(differences @ result).max() < 1e-12
    theta = np.linalg.lstsq(differences.T, steps[2], rcond=None)[0]
    assert result == pytest.approx(steps[2] - theta @ differences)


def test_weighted_norm(comm, rng):
    """With products ``f·G f`` the residual is orthogonal in the inner product of G."""
    weights = rng.uniform(0.1, 3.0, size=10)
    steps = rng.normal(size=(2, 10))

    def products(parts):
        local = np.array([part[0] for part in parts])
        return comm.allreduce((local * share(comm, weights)) @ local.T)

    anderson = Anderson(comm, 1, ANYTHING, 0.0, products)
    for step in steps:
        result = whole(comm, advance(anderson, share(comm, np.zeros(10)), share(comm, step)))
    assert (steps[1] - steps[0]) * weights @ result == pytest.approx(0.0, abs=1e-12)
    assert abs((steps[1] - steps[0]) @ result) > 1e-3


def test_a_single_coefficient_is_clipped_into_its_range(comm):
    """θ = f / (f - f_old) of a scalar secant; here 0.9 and -9, beyond either end."""
    for old, new, theta in ((1.0, -9.0, 0.5), (10.0, 9.0, -3.0)):
        anderson = Anderson(comm, 1)
        ones = np.ones(comm.size)
        advance(anderson, share(comm, 0 * ones), share(comm, old * ones))
        result = advance(anderson, share(comm, 2 * ones), share(comm, new * ones))
        assert result == pytest.approx(2.0 + new - theta * (2.0 + new - old) * np.ones(len(result)))


def test_dependent_history_is_dropped(comm, rng):
    """Two nearly parallel differences: only the last step is used, as with a depth of one."""
    step = rng.normal(size=10)
    steps = [step * factor + 1e-6 * rng.normal(size=10) for factor in (4.0, 2.0, 1.0)]
    deep, shallow = Anderson(comm, 2), Anderson(comm, 1)
    for f in steps:
        results = [whole(comm, advance(a, share(comm, 0 * f), share(comm, f))) for a in (deep, shallow)]
    assert results[0] == pytest.approx(results[1], abs=1e-12)


def test_repeated_step_is_survived(comm):
    anderson = Anderson(comm, 2)
    ones = np.ones(2 * comm.size)
    for _ in range(3):
        result = advance(anderson, share(comm, ones), share(comm, ones))
    assert result == pytest.approx(2.0 * np.ones(2))


def test_a_second_part_follows_the_first(comm, rng):
    """Also where it alone would ask for other coefficients."""
    solution, step_of = linear_problem(rng, distinct=3)
    anderson, x = Anderson(comm, 3, ANYTHING, 0.0), np.zeros(12)
    second = np.zeros(2)
    for _ in range(5):
        f = step_of(x)
        following = np.array([1.0, -2.0]) * f[:1]
        parts = anderson.next([share(comm, x), second], [share(comm, f), following])
        x, second = whole(comm, parts[0]), parts[1]
    assert x == pytest.approx(solution, abs=1e-9)
    assert second == pytest.approx(np.array([1.0, -2.0]) * x[0], abs=1e-9)


def test_forget(comm, rng):
    anderson = Anderson(comm, 3)
    x, f, g = rng.normal(size=(3, 12))
    advance(anderson, share(comm, x), share(comm, f))
    anderson.forget()
    assert whole(comm, advance(anderson, share(comm, x), share(comm, g))) == pytest.approx(x + g)


def test_arguments_are_left_alone(comm, rng):
    anderson = Anderson(comm, 2)
    for _ in range(3):
        x, f = rng.normal(size=(2, 4))
        before = x.copy(), f.copy()
        advance(anderson, x, f)
        assert np.array_equal(x, before[0]) and np.array_equal(f, before[1])


def test_same_on_one_rank(comm, serial_comm, rng):
    _, step_of = linear_problem(rng)
    spread = iterate(comm, Anderson(comm, 3), step_of, 12, 8)
    alone = iterate(serial_comm, Anderson(serial_comm, 3), step_of, 12, 8)
    assert spread[-1] == pytest.approx(alone[-1], abs=1e-12)
