"""Reduced ground states on the grid: the same minimum in half the precision, and modes that are combined where they lie."""

import numpy as np
import pytest

from mpiqmd.rom.learned.grid_solve import GridEnergy, ResponseHessian, minimised
from mpiqmd.rom.learned.reference import Reference
from tests.helpers.tiny_water import UNSEEN, geometry


def start(trained, modes):
    """Coordinates about a training geometry, for its own ground state."""
    space, orbitals_smn = trained.model.space(modes), trained.reduced_model(len(modes)).training_orbitals_smn
    return Reference.of_kinetic(space.kinetic_matrix(trained.model.laplacian), np.linalg.qr(orbitals_smn[0])[0])


def test_single_precision_finds_the_same_minimum(trained):
    modes, problem = trained.reduced_model(16).basis.modes, trained.model.place(geometry(*UNSEEN[0]))
    reference = start(trained, modes)
    nowhere = np.zeros(reference.scale_vn.size)
    alone = ResponseHessian(np.zeros((0, len(nowhere))), np.zeros((0, 0)))
    found = [
        minimised(GridEnergy(trained.model, modes, roughly=rough), reference, problem, nowhere, alone, 1e-9)
        for rough in (False, True)
    ]
    (exact, exact_y), (rough, rough_y) = found
    assert 0.0 < np.abs(exact_y - rough_y).max() < 3e-5
    assert 0.5 * np.sum((exact_y - rough_y) ** 2) < 1e-9 and rough == pytest.approx(exact, abs=1e-5)


def test_combinations_in_place_are_the_combinations_and_nothing_is_lost(trained, rng):
    space = trained.model.space(trained.reduced_model(12).basis.modes)
    kinetic, before = space.kinetic_matrix(trained.model.laplacian), space.orbitals.local.copy()
    columns = trained.model.grid.comm.bcast(np.linalg.qr(rng.normal(size=(12, 5)))[0])
    expected = space.orbitals.combine(columns)
    with pytest.raises(ZeroDivisionError), space.combined_in_place(columns) as active:
        assert np.shares_memory(active.orbitals.local, space.orbitals.local)
        assert np.abs(active.orbitals.local - expected.local).max() < 1e-13
        assert active.kinetic_matrix(trained.model.laplacian) == pytest.approx(columns.T @ kinetic @ columns, abs=1e-12)
        raise ZeroDivisionError
    assert np.abs(space.orbitals.local - before).max() < 1e-13
