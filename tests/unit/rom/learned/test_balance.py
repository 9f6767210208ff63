"""What a finished model leaves out: nothing that energies notice where molecules go."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mpiqmd.rom.learned.balance import BalanceSamples, BalanceSettings, balanced, with_nearby
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.solver import LearnedSolver
from tests.helpers.learned_water import matrix_water
from tests.helpers.tiny_water import UNSEEN, geometry

pytestmark = pytest.mark.serial

TIGHT = BalanceSettings(functions=1e-12, tables=1e-13, per_function=1e3)


@pytest.fixture(scope="module")
def samples():
    """Minima at random geometries inside the tables, and charges as the model itself reads them."""
    water, rng = matrix_water(), np.random.default_rng(5)
    shapes = rng.uniform([1.76, 1.76, -0.06], [1.90, 1.90, 0.06], size=(64, 3))
    positions_sav = np.array([geometry(*shape) for shape in shapes])
    latent_sd = water.solver().solve_batch(water.energy.place_batch(positions_sav)).latent_bd
    latent_sd, points = with_nearby(latent_sd[:, : len(water.arrays.subspaces)], 1), water.arrays.points
    orbitals_snk, _ = water.arrays.subspaces.orthonormal(latent_sd)
    return BalanceSamples(positions_sav, latent_sd, points.charges(points.changes(orbitals_snk)))


def minima_of(arrays):
    """Energies and gradients at unseen geometries."""
    model = matrix_water().model
    energy = LearnedEnergy(arrays, model.functional, model.valences_a, None)
    found = LearnedSolver(energy, 1e-12).solve_batch(energy.place_batch(np.array([geometry(*point) for point in UNSEEN])))
    return found.energies_b, found.gradient_bav


def counts(arrays):
    """Density functions, points, and the ranks of the tables."""
    points = arrays.points
    return len(points.interaction_f), len(points.mean_q), max(ion.left_kj.shape[1] for ion in arrays.ions)


def test_nothing_is_lost_that_energies_notice(samples):
    water = matrix_water()
    energies_b, gradient_bav = minima_of(water.arrays)
    smaller_b, smaller_bav = minima_of(balanced(water.energy, samples, TIGHT)[0])
    np.testing.assert_allclose(smaller_b, energies_b, atol=2e-9)
    np.testing.assert_allclose(smaller_bav, gradient_bav, atol=2e-7)


def test_looser_settings_leave_out_more_and_err_more(samples):
    water = matrix_water()
    energies_b, _ = minima_of(water.arrays)
    sizes, errors = [counts(water.arrays)], []
    for loose in (1e-8, 1e-6):
        arrays, _ = balanced(water.energy, samples, replace(TIGHT, functions=loose, tables=loose, per_function=3.0))
        sizes.append(counts(arrays))
        errors.append(np.abs(minima_of(arrays)[0] - energies_b).max())
    assert all(np.greater(one, other).all() for one, other in pairwise(sizes)), sizes
    assert errors[0] < errors[1] < 1e-3
    assert errors[0] < 2e-6


def test_charges_of_the_new_functions_interact_diagonally(samples):
    arrays, _ = balanced(matrix_water().energy, samples, TIGHT)
    assert arrays.points.reading_fq.shape == (len(arrays.points.interaction_f), len(arrays.points.mean_q))
    for label in np.unique(arrays.points.labels_f):
        assert (np.diff(arrays.points.interaction_f[arrays.points.labels_f == label]) >= 0).all()
