"""What a reduced surface does about its own error: estimates, warnings, stops, and full solves."""

import io
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpiqmd.errors import AccuracyError, ConfigError, ConvergenceError, GeometryError
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.rom.error_control import ErrorControl
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.otherwise import Otherwise
from mpiqmd.rom.reactions import Limits, Tolerance
from mpiqmd.rom.watch import Watch, numbered
from tests.helpers.learned_water import serial_water
from tests.helpers.tiny_water import UNSEEN, geometry, train

OUTSIDE = geometry(2.2, 1.83, 0.0)
ROTATION = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()


def guard(reaction="warn-stop", check_every=1, tolerance=1.0, force_tolerance=inf, forces="gradient"):
    """The owner of a grid-free surface under control, and what that says."""
    water, stream = serial_water(), io.StringIO()
    inner = water.surface(tolerance=1e-9, forces=forces)
    estimator = ErrorEstimator(water.model, water.trained.basis.modes)
    otherwise = Otherwise(estimator, water.trained.rom(tolerance=1e-9), lambda: water.trained.solver)
    limits = Limits.named(check_every, Tolerance(tolerance, force_tolerance), reaction)
    return Owner(ErrorControl(inner, estimator, otherwise, limits, Log(water.model.grid.comm, stream))), stream


def with_tolerance(owner, tolerance):
    """Another tolerance of energies from now on."""
    owner.surface.limits = replace(owner.surface.limits, tolerance=Tolerance(tolerance, inf))


def lines_of(owner):
    """The summary of what an owner saw, in words."""
    return owner.surface.summary_lines(owner.memory.watch, numbered("step"))


@pytest.mark.serial
def test_estimate_is_near_the_true_error():
    owner, _ = guard()
    for point in UNSEEN:
        evaluation = owner.at(geometry(*point))
        exact = serial_water().trained.hifi(geometry(*point)).free_energy
        reduced = serial_water().trained.rom().solve(geometry(*point)).free_energy
        error = evaluation.energy - exact
        assert error > 3.0 * abs(reduced - exact) or error > 1e-5
        assert 0.4 < evaluation.extras["error_estimate"] / error < 2.5


@pytest.mark.serial
def test_estimates_come_every_few_steps_and_survive_a_restart():
    owner, _ = guard(check_every=3)
    points = [geometry(1.83 + 0.005 * k, 1.83, 0.0) for k in range(7)]
    seen = [owner.at(point).extras for point in points]
    assert [extras["error_age"] for extras in seen] == [0, 1, 2, 0, 1, 2, 0]
    assert len({extras["error_estimate"] for extras in seen}) == 3
    first, _ = guard(check_every=3)
    for point in points[:4]:
        first.at(point)
    second, _ = guard(check_every=3)
    second.memory.restore(first.memory.state())
    assert [second.at(point).extras for point in points[4:]] == seen[4:]
    assert np.array_equal(second.at(points[5]).per_atom["force_error"], owner.memory.force_errors_a)
    never, _ = guard(check_every=0)
    assert "error_estimate" not in never.at(points[0]).extras


def smallest_estimate():
    return min(guard()[0].at(geometry(*point)).extras["error_estimate"] for point in UNSEEN)


@pytest.mark.serial
def test_warns_once_per_event():
    small = smallest_estimate() / 2
    owner, stream = guard(tolerance=small)
    for point in UNSEEN:
        owner.at(geometry(*point))
    assert stream.getvalue().count("warning") == 1
    with_tolerance(owner, 1.0)
    owner.at(geometry(*UNSEEN[0]))
    with_tolerance(owner, small)
    owner.at(geometry(*UNSEEN[0]))
    assert stream.getvalue().count("warning") == 2


@pytest.mark.serial
def test_stops_with_a_reason():
    owner, _ = guard("stop", tolerance=1e-12)
    with pytest.raises(AccuracyError, match=r"rom\.error_tolerance = 1\.0e-12 Ha.*no more is allowed.*'stop'"):
        owner.at(geometry(*UNSEEN[0]))


@pytest.mark.serial
@pytest.mark.parametrize("of", ["energy", "force"])
def test_by_default_a_warning_does_not_suffice_for_a_hundred_times_the_tolerance(of):
    name = "error_estimate" if of == "energy" else "force_error_estimate"
    estimate = guard()[0].at(geometry(*UNSEEN[0])).extras[name]
    for factor, fails in ((99.0, False), (101.0, True)):
        tolerance, force_tolerance = (estimate / factor, inf) if of == "energy" else (1.0, estimate / factor)
        owner, stream = guard(tolerance=tolerance, force_tolerance=force_tolerance)
        if fails:
            with pytest.raises(AccuracyError, match=r"at most 100 times as much is allowed.*more geometries.*more modes"):
                owner.at(geometry(*UNSEEN[0]))
            assert owner.memory.watch == Watch() and owner.memory.force_errors_a is None
        else:
            assert owner.at(geometry(*UNSEEN[0])).extras[name] == estimate
            assert "going on" in stream.getvalue()


@pytest.mark.serial
def test_a_warning_that_was_asked_for_never_stops():
    owner, stream = guard("warn", tolerance=1e-12)
    assert owner.at(geometry(*UNSEEN[0])).extras["error_estimate"] > 1e-12 * 1e6
    assert owner.at(OUTSIDE).extras["on_grid"] == 1.0
    assert stream.getvalue().count("going on") == 1 and "solving on the grid" in stream.getvalue()


@pytest.mark.serial
def test_the_watch_counts_checks_and_remembers_the_worst():
    estimates = [guard()[0].at(geometry(*point)).extras["error_estimate"] for point in UNSEEN]
    tolerance = sorted(estimates)[0] * 1.0001
    owner, _ = guard(tolerance=tolerance)
    for point in UNSEEN:
        owner.at(geometry(*point))
    other, _ = guard(tolerance=tolerance)
    other.memory.restore(owner.memory.state())
    assert other.memory.watch == owner.memory.watch
    summary = owner.surface.summary(owner.memory.watch)
    assert (summary["checks"], summary["exceeded"], summary["solved_in_full"]) == (3, 2, 0)
    assert (summary["largest"], summary["largest_at"]) == (max(estimates), int(np.argmax(estimates)))
    line, distance = lines_of(owner)
    assert distance.startswith(f"largest training distance {summary['largest_training_distance']:.2f} at step")
    assert "warning: 2 of 3 checks found estimated errors above the tolerance" in line
    times = f"{max(estimates) / tolerance:.2g} times rom.error_tolerance"
    assert f"up to {max(estimates):.1e} Ha at step {int(np.argmax(estimates))}, {times}" in line
    pulls = [guard()[0].at(geometry(*point)).extras["force_error_estimate"] for point in UNSEEN]
    assert (summary["largest_force"], summary["largest_force_at"]) == (max(pulls), int(np.argmax(pulls)))
    assert f"forces by up to {max(pulls):.1e} Ha/bohr at step {int(np.argmax(pulls))}" in line


@pytest.mark.serial
def test_leaving_the_tables_is_an_error_where_the_reaction_is_to_stop():
    owner, _ = guard("stop")
    with pytest.raises(GeometryError, match="outside the box"):
        owner.at(OUTSIDE)
    assert owner.memory.watch == Watch()


@pytest.mark.serial
def test_solves_in_full_outside_the_tables_until_the_molecule_is_back():
    """There is no reduced energy outside; the full one is right, and the check that was due comes when there is one."""
    owner, stream = guard("hifi", check_every=5)
    extras = [owner.at(body).extras for body in (OUTSIDE, OUTSIDE, geometry(*UNSEEN[0]), geometry(*UNSEEN[1]), OUTSIDE)]
    exact = serial_water().trained.hifi(OUTSIDE)
    assert owner.at(OUTSIDE).energy == pytest.approx(exact.free_energy, abs=1e-10)
    assert [each["hifi"] for each in extras] == [1, 1, 0, 0, 1]
    assert [each.get("error_age") for each in extras] == [None, None, 0, 1, None]
    assert stream.getvalue().count("warning") == 2 and stream.getvalue().count("solving in full") == 2
    assert "atom 2 is" in stream.getvalue()
    assert lines_of(owner)[-1] == "4 of 6 geometries solved in full"


@pytest.mark.serial
@pytest.mark.parametrize("reaction", ["warn", "warn-stop"])
def test_warns_outside_the_tables_and_solves_there_on_the_grid_in_the_reduced_basis(reaction):
    owner, stream = guard(reaction, check_every=5)
    seen = [owner.at(body) for body in (geometry(*UNSEEN[0]), OUTSIDE @ ROTATION.T + 0.5, OUTSIDE, geometry(*UNSEEN[1]))]
    reduced = serial_water().trained.rom(tolerance=1e-9).solve(OUTSIDE)
    exact = serial_water().trained.hifi(OUTSIDE).free_energy
    for evaluation in seen[1:3]:
        assert evaluation.energy == pytest.approx(reduced.free_energy, abs=1e-9)
        assert 0.5 < evaluation.extras["error_estimate"] / (evaluation.energy - exact) < 1.5
        assert "dipole_x" in evaluation.extras
    alignment = owner.surface.surface.frame.frame.align(OUTSIDE @ ROTATION.T + 0.5)
    np.testing.assert_allclose(seen[1].forces_av, alignment.gradient_forces(reduced.gradient_av), atol=1e-6)
    assert [each.extras["on_grid"] for each in seen] == [0, 1, 1, 0] and not any(each.extras["hifi"] for each in seen)
    assert [each.extras["error_age"] for each in seen] == [0, 0, 0, 1]
    assert stream.getvalue().count("solving on the grid in the reduced basis") == 1
    assert lines_of(owner)[-1].startswith("warning: 2 of 4 geometries were outside the model's tables")
    assert lines_of(owner)[-1].endswith("2 solved on the grid in the reduced basis, 0 in full")


@pytest.mark.serial
def test_what_is_not_found_on_the_grid_either_is_solved_in_full(monkeypatch):
    owner, stream = guard("warn")

    def lost(alignment):
        raise ConvergenceError("the reduced minimum was not found. Look at the model.")

    monkeypatch.setattr(owner.surface.otherwise, "on_grid", lost)
    evaluation = owner.at(OUTSIDE)
    assert evaluation.energy == pytest.approx(serial_water().trained.hifi(OUTSIDE).free_energy, abs=1e-10)
    assert (evaluation.extras["hifi"], evaluation.extras["on_grid"]) == (1.0, 0.0)
    assert "the reduced minimum was not found); solving in full" in stream.getvalue()


@pytest.mark.serial
@pytest.mark.parametrize("reaction", ["warn", "stop", "hifi"])
def test_a_reduced_minimum_that_is_not_found_is_solved_in_another_way(reaction, monkeypatch):
    owner, stream = guard(reaction)

    lost = ConvergenceError("the reduced ground state did not converge: last step 1e-3. See the model.")
    monkeypatch.setattr(owner.surface.surface.solver, "solve", lambda alignments, memories: [lost for _ in alignments])
    if reaction == "stop":
        with pytest.raises(ConvergenceError, match="did not converge"):
            owner.at(geometry(*UNSEEN[0]))
        return
    solve = serial_water().trained.rom(tolerance=1e-9).solve if reaction == "warn" else serial_water().trained.hifi
    expected = solve(geometry(*UNSEEN[0])).free_energy
    assert owner.at(geometry(*UNSEEN[0])).energy == pytest.approx(expected, abs=1e-9)
    assert "no reduced ground state (the reduced ground state did not converge" in stream.getvalue()


@pytest.mark.serial
@pytest.mark.parametrize("where", ["outside the tables", "estimate too large"])
def test_solves_in_full(where):
    body = OUTSIDE if where.startswith("outside") else geometry(*UNSEEN[0])
    owner, stream = guard("hifi", tolerance=1e-12)
    owner.at(geometry(*UNSEEN[1]))
    evaluation = owner.at(body @ ROTATION.T + 0.5)
    exact = serial_water().trained.hifi(body)
    assert evaluation.extras["hifi"] == 1.0
    assert evaluation.energy == pytest.approx(exact.free_energy, abs=1e-10)
    alignment = owner.surface.surface.frame.frame.align(body @ ROTATION.T + 0.5)
    np.testing.assert_allclose(evaluation.forces_av, alignment.gradient_forces(exact.gradient_av), atol=1e-5)
    np.testing.assert_allclose(evaluation.forces_av.sum(axis=0), 0, atol=1e-14)
    assert "solving in full" in stream.getvalue()


@pytest.mark.serial
def test_starts_the_full_solve_from_the_reduced_orbitals(monkeypatch):
    owner, _ = guard("hifi", tolerance=1e-12)
    solve, iterations = serial_water().trained.solver.solve, []

    def counted(problem, guess=None):
        state = solve(problem, guess)
        iterations.append(state.iterations)
        return state

    monkeypatch.setattr(owner.surface.otherwise.solver, "solve", counted)
    owner.at(geometry(*UNSEEN[0]))
    assert iterations[0] < serial_water().trained.hifi(geometry(*UNSEEN[0])).iterations


@pytest.mark.serial
def test_full_and_reduced_dipoles_agree():
    full, _ = guard("hifi", tolerance=1e-12)
    reduced, _ = guard("hifi")
    body = geometry(*UNSEEN[0])
    one, other = full.at(body).extras, reduced.at(body).extras
    assert (one["hifi"], other["hifi"]) == (1.0, 0.0)
    for axis in "xyz":
        assert one[f"dipole_{axis}"] == pytest.approx(other[f"dipole_{axis}"], abs=5e-3)


@pytest.mark.serial
def test_an_unknown_reaction_is_refused():
    with pytest.raises(ConfigError, match="on_large_error"):
        guard("panic")


def test_guards_the_reduced_energy_on_the_grid_on_any_number_of_ranks(comm):
    trained = train(comm)
    inner = trained.surface(14)
    estimator = ErrorEstimator(trained.model, trained.basis.truncated(14).modes)
    log = Log(comm, io.StringIO())
    otherwise = Otherwise(estimator, trained.rom(14), lambda: trained.solver)
    owner = Owner(ErrorControl(inner, estimator, otherwise, Limits.named(1, Tolerance.of(1e-12), "hifi"), log))
    body = geometry(*UNSEEN[0])
    evaluation = owner.at(body)
    assert evaluation.extras["hifi"] == 1.0 and evaluation.extras["error_estimate"] > 1e-6
    assert evaluation.energy == pytest.approx(trained.hifi(body).free_energy, abs=1e-10)
    assert len(set(comm.allgather(evaluation.energy))) == 1
    errors_a = evaluation.per_atom["force_error"]
    assert evaluation.extras["force_error_estimate"] == errors_a.max() and len(errors_a) == 3
    assert all(np.array_equal(errors_a, other) for other in comm.allgather(errors_a))
    trained.model.grid.destroy()


def same(one, other):
    return one.energy == other.energy and np.array_equal(one.forces_av, other.forces_av) and one.extras == other.extras


@pytest.mark.serial
def test_each_member_of_a_batch_has_estimates_of_its_own():
    """Members begin at different steps; each reports what it would alone, but for the last bits of the energy."""
    owner, _ = guard(check_every=2)
    surface = owner.surface
    early, late = surface.fresh(4), surface.fresh(4)
    first = surface.evaluate([geometry(*UNSEEN[0])], [early])
    both = surface.evaluate([geometry(*UNSEEN[1]), geometry(*UNSEEN[0])], [early, late])
    assert [each.extras["error_age"] for each in (*first, *both)] == [0, 1, 0]
    assert both[0].extras["error_estimate"] == first[0].extras["error_estimate"]
    assert same(both[1], first[0])
    alone, _ = guard(check_every=2)
    assert alone.at(geometry(*UNSEEN[0])).energy == pytest.approx(first[0].energy, abs=1e-12)


@pytest.mark.serial
def test_a_member_outside_the_tables_fails_or_is_solved_alone():
    inside = geometry(*UNSEEN[0])
    for reaction in ("stop", "hifi"):
        owner, _ = guard(reaction, check_every=0)
        memories = [owner.surface.fresh(4) for _ in range(3)]
        good, outside, other = owner.surface.evaluate([inside, OUTSIDE, inside @ ROTATION.T], memories)
        assert good.energy == pytest.approx(other.energy, abs=1e-12)
        if reaction == "stop":
            assert isinstance(outside, GeometryError)
        else:
            exact = serial_water().trained.hifi(OUTSIDE)
            assert outside.extras["hifi"] == 1.0 and outside.energy == pytest.approx(exact.free_energy, abs=1e-10)
            assert [memory.watch.is_unknown for memory in memories] == [False, True, False]
            joined = Watch.joined([memory.watch for memory in memories])
            assert (joined.evaluations, joined.unknown, joined.full) == (3, 1, 1)


@pytest.mark.serial
def test_a_full_solve_after_a_restart_starts_where_it_would_have():
    first, _ = guard("hifi", check_every=0)
    first.at(geometry(*UNSEEN[1]))
    second, _ = guard("hifi", check_every=0)
    second.memory.restore(first.memory.state())
    assert same(first.at(OUTSIDE), second.at(OUTSIDE))
