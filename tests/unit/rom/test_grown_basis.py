"""Modes that grow: the span there was is kept, singular values are those of all orbitals together, whatever the ranks."""

import numpy as np
import pytest

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.images import image
from mpiqmd.rom.basis import build_basis
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.grown_basis import grown_basis
from tests.helpers.tiny_water import TRAINING, geometry, train

KNOWN = 3


def grown(trained, rank=None, known=KNOWN):
    """The basis of the first geometries, truncated or not, and what it grows to by the others."""
    states, symmetries = trained.states, trained.symmetries
    snapshots = Orbitals(trained.model.grid, np.concatenate([state.orbitals.local for state in states[:known]]))
    basis = build_basis(snapshots, 1.0, rank=rank, symmetries=symmetries)
    orbitals_smn = np.array([basis.coefficients(state.orbitals) for state in states[:known]])
    return basis, grown_basis(basis, symmetries, orbitals_smn, [state.orbitals for state in states[known:]])


def test_singular_values_are_those_of_all_orbitals_together(comm):
    """But for the squares of what is left out."""
    trained = train(comm)
    basis, found = grown(trained)
    expected, smallest = trained.basis.singular_values_k, basis.singular_values_k[-1]
    many = int(np.sum(expected > smallest))
    differences_k = np.abs(found.basis.singular_values_k[:many] - expected[:many])
    assert (differences_k < smallest**2 / expected[:many] + 1e-7).all() and many > 12
    assert found.basis.n_snapshots == trained.basis.n_snapshots
    trained.model.grid.destroy()


def test_modes_are_orthonormal_and_hold_old_span_and_new_orbitals(comm):
    """Nothing of the old span is lost, so that the reduced energy rises nowhere."""
    trained = train(comm)
    basis, found = grown(trained, rank=12)
    modes, smallest = found.basis.modes, basis.singular_values_k[11]
    np.testing.assert_allclose(modes.gram(), np.eye(found.basis.rank), atol=1e-11)
    inside = modes.gram(basis.modes)
    np.testing.assert_allclose(np.sum(inside**2, axis=0), 1.0, atol=1e-10)
    for state in trained.states[KNOWN:]:
        missing = len(state.orbitals) - np.sum(modes.gram(state.orbitals) ** 2)
        assert missing < smallest**2
    trained.model.grid.destroy()


def test_projections_turn_with_the_modes(comm):
    trained = train(comm)
    _, found = grown(trained)
    for state, orbitals_mn in zip(trained.states, found.orbitals_smn, strict=True):
        np.testing.assert_allclose(found.basis.coefficients(state.orbitals), orbitals_mn, atol=1e-7)
    trained.model.grid.destroy()


def test_the_span_stays_closed_and_modes_have_a_parity(comm):
    trained = train(comm)
    _, found = grown(trained, rank=12)
    modes = found.basis.modes
    for symmetry in trained.symmetries:
        matrix_mm = modes.gram(image(modes, symmetry.axes, symmetry.signs_v))
        np.testing.assert_allclose(np.abs(np.diag(matrix_mm)), 1.0, atol=1e-7)
    trained.model.grid.destroy()


@pytest.mark.serial
def test_what_is_known_already_adds_no_modes(serial_comm):
    trained = train(serial_comm)
    orbitals_smn = np.array([trained.basis.coefficients(state.orbitals) for state in trained.states])
    again = grown_basis(trained.basis, trained.symmetries, orbitals_smn, [trained.states[1].orbitals])
    assert again.basis.rank == trained.basis.rank
    assert again.basis.singular_values_k[0] > trained.basis.singular_values_k[0]


@pytest.mark.serial
def test_reduced_energies_are_bounds_and_never_rise(serial_comm):
    trained = train(serial_comm)
    basis, found = grown(trained, rank=12)
    before, after = (_energies(trained, modes) for modes in (basis.modes, found.basis.modes))
    full = np.array([state.free_energy for state in trained.states])
    assert (after <= before + 1e-10).all() and (after >= full - 1e-10).all()
    assert (after - full)[KNOWN:].max() < 2.0 * (before - full)[:KNOWN].max() < 0.7 * (before - full)[KNOWN:].max()
    print(after - full, before - full)


def _energies(trained, modes):
    solver = RomSolver(trained.model, modes, tolerance=1e-8)
    return np.array([solver.solve(geometry(*point)).free_energy for point in TRAINING])
