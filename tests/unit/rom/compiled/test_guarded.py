"""What a reduced surface does about its own error: estimates, warnings, stops, and full solves."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import AccuracyError, ConfigError, ConvergenceError, GeometryError
from mpiqmd.molecule.frame import make_frame
from mpiqmd.parallel.log import Log
from mpiqmd.rom.compiled.provider import CompiledForceProvider
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.full import FullSolution
from mpiqmd.rom.guarded import GuardedProvider
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.watch import Watch

sys.path.insert(0, str(Path(__file__).parent))

from compiled_water import serial_water
from tiny_water import UNSEEN, geometry, train

OUTSIDE = geometry(2.2, 1.83, 0.0)
ROTATION = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()


def guard(reaction="warn", check_every=1, tolerance=1.0):
    """A compiled surface under guard, and what it says."""
    water, stream = serial_water(), io.StringIO()
    inner = CompiledForceProvider(make_frame(water.model.molecule), water.solver(1e-9))
    estimator = ErrorEstimator(water.model, water.modes)
    full = FullSolution(estimator, lambda: water.trained.solver)
    limits = Limits.named(check_every, tolerance, reaction)
    return GuardedProvider(inner, estimator, full, limits, Log(water.model.grid.comm, stream)), stream


def with_tolerance(provider, tolerance):
    """Another tolerance from now on."""
    provider.limits = replace(provider.limits, tolerance=tolerance)


@pytest.mark.serial
def test_estimate_is_near_the_true_error():
    provider, _ = guard()
    for point in UNSEEN:
        evaluation = provider.evaluate(geometry(*point))
        exact = serial_water().trained.hifi(geometry(*point)).free_energy
        reduced = serial_water().trained.rom().solve(geometry(*point)).free_energy
        error = evaluation.energy - exact
        assert error > 3.0 * abs(reduced - exact) or error > 1e-5
        assert 0.4 < evaluation.extras["error_estimate"] / error < 2.5


@pytest.mark.serial
def test_estimates_come_every_few_steps_and_survive_a_restart():
    provider, _ = guard(check_every=3)
    points = [geometry(1.83 + 0.005 * k, 1.83, 0.0) for k in range(7)]
    seen = [provider.evaluate(point).extras for point in points]
    assert [extras["error_age"] for extras in seen] == [0, 1, 2, 0, 1, 2, 0]
    assert len({extras["error_estimate"] for extras in seen}) == 3
    first, _ = guard(check_every=3)
    for point in points[:4]:
        first.evaluate(point)
    second, _ = guard(check_every=3)
    second.restore(first.state())
    assert [second.evaluate(point).extras for point in points[4:]] == seen[4:]
    never, _ = guard(check_every=0)
    assert "error_estimate" not in never.evaluate(points[0]).extras


def smallest_estimate():
    return min(guard()[0].evaluate(geometry(*point)).extras["error_estimate"] for point in UNSEEN)


@pytest.mark.serial
def test_warns_once_per_event():
    small = smallest_estimate() / 2
    provider, stream = guard(tolerance=small)
    for point in UNSEEN:
        provider.evaluate(geometry(*point))
    assert stream.getvalue().count("warning") == 1
    with_tolerance(provider, 1.0)
    provider.evaluate(geometry(*UNSEEN[0]))
    with_tolerance(provider, small)
    provider.evaluate(geometry(*UNSEEN[0]))
    assert stream.getvalue().count("warning") == 2


@pytest.mark.serial
def test_stops_with_a_reason():
    provider, _ = guard("stop", tolerance=1e-12)
    with pytest.raises(AccuracyError, match=r"rom\.error_tolerance = 1\.0e-12 Ha"):
        provider.evaluate(geometry(*UNSEEN[0]))


@pytest.mark.serial
def test_a_warning_does_not_suffice_for_a_hundred_times_the_tolerance():
    estimates = [guard()[0].evaluate(geometry(*point)).extras["error_estimate"] for point in UNSEEN]
    for factor, fails in ((99.0, False), (101.0, True)):
        provider, stream = guard("warn", tolerance=estimates[0] / factor)
        if fails:
            with pytest.raises(AccuracyError, match=r"at most 100 times rom\.error_tolerance.*more geometries.*more modes"):
                provider.evaluate(geometry(*UNSEEN[0]))
            assert provider.watch == Watch()
        else:
            assert provider.evaluate(geometry(*UNSEEN[0])).extras["error_estimate"] == estimates[0]
            assert "going on" in stream.getvalue()


@pytest.mark.serial
def test_the_watch_counts_checks_and_remembers_the_worst():
    estimates = [guard()[0].evaluate(geometry(*point)).extras["error_estimate"] for point in UNSEEN]
    tolerance = sorted(estimates)[0] * 1.0001
    provider, _ = guard(tolerance=tolerance)
    for point in UNSEEN:
        provider.evaluate(geometry(*point))
    other, _ = guard(tolerance=tolerance)
    other.restore(provider.state())
    assert other.watch == provider.watch
    summary = provider.watch.as_dict(tolerance)
    assert (summary["checks"], summary["exceeded"], summary["solved_in_full"]) == (3, 2, 0)
    assert (summary["largest"], summary["largest_at"]) == (max(estimates), int(np.argmax(estimates)))
    (line,) = provider.watch.lines(tolerance)
    assert f"warning: 2 of 3 checks found an estimated energy error above rom.error_tolerance = {tolerance:.1e} Ha" in line
    assert f"up to {max(estimates):.1e} Ha at step {int(np.argmax(estimates))}" in line


@pytest.mark.serial
def test_leaving_the_tables_is_an_error_where_the_reaction_is_to_stop():
    provider, _ = guard("stop")
    with pytest.raises(GeometryError, match="outside the box"):
        provider.evaluate(OUTSIDE)
    assert provider.watch == Watch()


@pytest.mark.serial
def test_warns_outside_the_tables_and_solves_in_full_until_the_molecule_is_back():
    """There is no reduced energy outside; the full one is right, and the check that was due comes when there is one."""
    provider, stream = guard("warn", check_every=5)
    extras = [provider.evaluate(body).extras for body in (OUTSIDE, OUTSIDE, geometry(*UNSEEN[0]), geometry(*UNSEEN[1]), OUTSIDE)]
    exact = serial_water().trained.hifi(OUTSIDE)
    assert provider.evaluate(OUTSIDE).energy == pytest.approx(exact.free_energy, abs=1e-10)
    assert [each["hifi"] for each in extras] == [1, 1, 0, 0, 1]
    assert [each.get("error_age") for each in extras] == [None, None, 0, 1, None]
    assert stream.getvalue().count("warning") == 2 and stream.getvalue().count("solving in full") == 2
    assert "atom 2 is" in stream.getvalue()
    assert provider.watch.lines(1.0)[-1] == "4 of 6 geometries solved in full, 4 of them outside the tables"


@pytest.mark.serial
@pytest.mark.parametrize("reaction", ["warn", "stop", "hifi"])
def test_a_reduced_minimum_that_is_not_found_is_solved_in_full(reaction, monkeypatch):
    provider, stream = guard(reaction)

    def lost(positions_av):
        raise ConvergenceError("the reduced ground state did not converge: last step 1e-3. See the model.")

    monkeypatch.setattr(provider.inner, "evaluate", lost)
    if reaction == "stop":
        with pytest.raises(ConvergenceError, match="did not converge"):
            provider.evaluate(geometry(*UNSEEN[0]))
        return
    exact = serial_water().trained.hifi(geometry(*UNSEEN[0]))
    assert provider.evaluate(geometry(*UNSEEN[0])).energy == pytest.approx(exact.free_energy, abs=1e-10)
    assert "no reduced ground state (the reduced ground state did not converge" in stream.getvalue()


@pytest.mark.serial
@pytest.mark.parametrize("where", ["outside the tables", "estimate too large"])
def test_solves_in_full(where):
    body = OUTSIDE if where.startswith("outside") else geometry(*UNSEEN[0])
    provider, stream = guard("hifi", tolerance=1e-12)
    provider.evaluate(geometry(*UNSEEN[1]))
    evaluation = provider.evaluate(body @ ROTATION.T + 0.5)
    exact = serial_water().trained.hifi(body)
    assert evaluation.extras["hifi"] == 1.0
    assert evaluation.energy == pytest.approx(exact.free_energy, abs=1e-10)
    alignment = provider.inner.frame.align(body @ ROTATION.T + 0.5)
    np.testing.assert_allclose(evaluation.forces_av, alignment.gradient_forces(exact.gradient_av), atol=1e-5)
    np.testing.assert_allclose(evaluation.forces_av.sum(axis=0), 0, atol=1e-14)
    assert "solving in full" in stream.getvalue()


@pytest.mark.serial
def test_starts_the_full_solve_from_the_reduced_orbitals():
    provider, _ = guard("hifi", tolerance=1e-12)
    provider.evaluate(geometry(*UNSEEN[0]))
    assert provider.full.last.iterations < serial_water().trained.hifi(geometry(*UNSEEN[0])).iterations


@pytest.mark.serial
def test_full_and_reduced_dipoles_agree():
    full, _ = guard("hifi", tolerance=1e-12)
    reduced, _ = guard("hifi")
    body = geometry(*UNSEEN[0])
    one, other = full.evaluate(body).extras, reduced.evaluate(body).extras
    assert (one["hifi"], other["hifi"]) == (1.0, 0.0)
    for axis in "xyz":
        assert one[f"dipole_{axis}"] == pytest.approx(other[f"dipole_{axis}"], abs=5e-3)


@pytest.mark.serial
def test_an_unknown_reaction_is_refused():
    with pytest.raises(ConfigError, match="on_large_error"):
        guard("panic")


def test_guards_the_reduced_energy_on_the_grid_on_any_number_of_ranks(comm):
    trained = train(comm)
    inner = trained.provider(14)
    estimator = ErrorEstimator(trained.model, trained.basis.truncated(14).modes)
    log = Log(comm, io.StringIO())
    full = FullSolution(estimator, lambda: trained.solver)
    provider = GuardedProvider(inner, estimator, full, Limits.named(1, 1e-12, "hifi"), log)
    body = geometry(*UNSEEN[0])
    evaluation = provider.evaluate(body)
    assert evaluation.extras["hifi"] == 1.0 and evaluation.extras["error_estimate"] > 1e-6
    assert evaluation.energy == pytest.approx(trained.hifi(body).free_energy, abs=1e-10)
    assert len(set(comm.allgather(evaluation.energy))) == 1
    trained.model.grid.destroy()


def same(one, other):
    return one.energy == other.energy and np.array_equal(one.forces_av, other.forces_av) and one.extras == other.extras


@pytest.mark.serial
def test_each_member_of_a_batch_has_estimates_of_its_own():
    """Members begin at different steps; each reports what it would alone, but for the last bits of the energy."""
    provider, _ = guard(check_every=2)
    late = provider.fork()
    first = provider.evaluate_together([provider], np.array([geometry(*UNSEEN[0])]))
    both = provider.evaluate_together([provider, late], np.array([geometry(*UNSEEN[1]), geometry(*UNSEEN[0])]))
    assert [each.extras["error_age"] for each in (*first, *both)] == [0, 1, 0]
    assert both[0].extras["error_estimate"] == first[0].extras["error_estimate"]
    assert same(both[1], first[0])
    alone, _ = guard(check_every=2)
    assert alone.evaluate(geometry(*UNSEEN[0])).energy == pytest.approx(first[0].energy, abs=1e-12)
    assert provider.batches


@pytest.mark.serial
def test_a_member_outside_the_tables_fails_or_is_solved_alone():
    inside = geometry(*UNSEEN[0])
    for reaction in ("stop", "hifi"):
        provider, _ = guard(reaction, check_every=0)
        members = [provider, provider.fork(), provider.fork()]
        good, outside, other = provider.evaluate_together(members, np.array([inside, OUTSIDE, inside @ ROTATION.T]))
        assert good.energy == pytest.approx(other.energy, abs=1e-12)
        if reaction == "stop":
            assert isinstance(outside, GeometryError)
        else:
            exact = serial_water().trained.hifi(OUTSIDE)
            assert outside.extras["hifi"] == 1.0 and outside.energy == pytest.approx(exact.free_energy, abs=1e-10)
            assert [member.watch.is_unknown for member in members] == [False, True, False]


@pytest.mark.serial
def test_a_full_solve_after_a_restart_starts_where_it_would_have():
    first, _ = guard("hifi", check_every=0)
    first.evaluate(geometry(*UNSEEN[1]))
    second, _ = guard("hifi", check_every=0)
    second.restore(first.state())
    assert same(first.evaluate(OUTSIDE), second.evaluate(OUTSIDE))
