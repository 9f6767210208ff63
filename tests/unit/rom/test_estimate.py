"""Estimates of the errors of energy and forces, against the errors themselves."""

import io

import numpy as np
import pytest

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log
from mpiqmd.rom.basis import build_basis
from mpiqmd.rom.error_control import ErrorControl
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.otherwise import Otherwise
from mpiqmd.rom.reactions import Limits, Tolerance
from tests.helpers.tiny_water import TRAINING, UNSEEN, geometry, train

STRETCHED = (2.05, 1.75, -0.15)


def controlled(trained, rank, forces="gradient"):
    """The owner of a reduced surface on the grid of which every error is estimated."""
    estimator = ErrorEstimator(trained.model, trained.basis.truncated(rank).modes)
    otherwise = Otherwise(estimator, trained.rom(rank), lambda: trained.solver)
    limits = Limits.named(1, Tolerance.of(1.0), "warn")
    log = Log(trained.model.grid.comm, io.StringIO())
    return Owner(ErrorControl(trained.surface(rank, forces=forces), estimator, otherwise, limits, log))


def errors_of(trained, point, rank, forces="gradient"):
    """Estimated and true size of each atom's force error, Ha/bohr, of forces of one kind."""
    body = geometry(*point)
    evaluation = controlled(trained, rank, forces).at(body)
    exact_av = make_frame(trained.model.molecule).align(body).gradient_forces(trained.hifi(body).gradient_av)
    return evaluation.per_atom["force_error"], np.linalg.norm(evaluation.forces_av - exact_av, axis=1)


@pytest.mark.serial
@pytest.mark.parametrize("functional", ["LDA", "PBE"])
def test_estimated_force_errors_are_near_the_true_ones(comm, functional):
    """Over two orders of magnitude, atom by atom, from six modes to all of them."""
    trained = train(comm, functional=functional)
    cases = [(point, rank) for rank in (6, 10, 14, 18) for point in (*UNSEEN, STRETCHED)]
    estimated, true = (np.array(each) for each in zip(*(errors_of(trained, *case) for case in cases), strict=True))
    assert true.max() > 100 * true.max(axis=1).min()
    assert 0.8 < np.sqrt((estimated**2).sum() / (true**2).sum()) < 1.25
    assert np.corrcoef(np.log(estimated.ravel()), np.log(true.ravel()))[0, 1] > 0.95
    ratios = estimated.max(axis=1) / true.max(axis=1)
    assert ratios.min() > 0.3 and ratios.max() < 5.0
    trained.model.grid.destroy()


@pytest.mark.serial
def test_nothing_is_wrong_where_the_modes_hold_the_orbitals(comm):
    trained = train(comm)
    body = geometry(*UNSEEN[0])
    exact = trained.hifi(body)
    modes = build_basis(Orbitals(trained.model.grid, exact.orbitals.local), 1.0).modes
    estimator, problem = ErrorEstimator(trained.model, modes), trained.model.place(body)
    state = RomSolver(trained.model, modes).solve(body)
    correction = estimator.correction(problem, state.density_matrix_nn)
    gradient_av = estimator.full_gradient(problem, correction, state.gradient_av)
    assert abs(correction.energy) < 1e-10 and np.abs(gradient_av - exact.gradient_av).max() < 2e-5
    few = ErrorEstimator(trained.model, trained.basis.truncated(8).modes)
    state = trained.rom(8).solve(body)
    correction = few.correction(problem, state.density_matrix_nn)
    assert np.abs(few.full_gradient(problem, correction, state.gradient_av) - state.gradient_av).max() > 1e-3
    trained.model.grid.destroy()


@pytest.mark.serial
def test_forces_that_are_not_the_derivative_are_judged_as_they_are(comm):
    """Turned-back forces are farther from the truth than the gradient, and their estimates say so."""
    trained = train(comm)
    for point in UNSEEN:
        estimated, true = errors_of(trained, point, 10, "hellmann-feynman")
        of_gradient, _ = errors_of(trained, point, 10)
        assert np.abs(np.log2(estimated.max() / true.max())) < 1.0
        assert true.max() > of_gradient.max() and estimated.max() > of_gradient.max()
    trained.model.grid.destroy()


def test_estimates_do_not_depend_on_the_number_of_ranks(comm, serial_comm):
    found = []
    for group in (comm, serial_comm):
        trained = train(group)
        evaluation = controlled(trained, 12).at(geometry(*TRAINING[0]) + [0.1, 0.0, 0.05])
        found.append((evaluation.extras["error_estimate"], evaluation.per_atom["force_error"]))
        trained.model.grid.destroy()
    (energy, errors_a), (alone, errors_alone_a) = found
    assert energy == pytest.approx(alone, rel=1e-5)
    np.testing.assert_allclose(errors_a, errors_alone_a, rtol=1e-3, atol=1e-8)
