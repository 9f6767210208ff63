"""The first order of the ions' potentials, read off points: what the matrices say, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.first_order_fit import samples_needed, with_first_order_read
from mpiqmd.rom.learned.polynomials import predicted
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.sampling.mixtures import sample_geometries
from tests.helpers.learned_water import matrix_water
from tests.helpers.tiny_water import UNSEEN, geometry


def labels(arrays):
    """Species of the latent coordinates: what a direction adds to an orbital, beside that orbital."""
    found = []
    for direction_nk in arrays.subspaces.directions_dnk:
        n, k = np.unravel_index(np.argmax(np.abs(direction_nk)), direction_nk.shape)
        own = np.argmax(np.abs(arrays.subspaces.origin_nk[n]))
        found.append(arrays.points.labels_k[k] ^ arrays.points.labels_k[own])
    return np.array(found)


def samples(water, count):
    """Predicted minima at random geometries."""
    positions_sav = sample_geometries(water.training.positions_sav, water.compiler.frame, count, 4)
    return positions_sav, predicted(water.arrays.start, positions_sav)


def minima(water, arrays):
    """Energies and gradients at unseen geometries."""
    model = water.model
    energy = LearnedEnergy(arrays, model.functional, model.valences_a, None)
    return LearnedSolver(energy, 1e-13).solve_batch(energy.place_batch(np.array([geometry(*point) for point in UNSEEN])))


@pytest.mark.serial
def test_points_tell_what_matrices_say():
    water = matrix_water()
    assert len(water.arrays.one_electron.first_order_lkk) == len(water.arrays.one_electron.offset_l) > 0 and not len(
        water.arrays.first_order.mean_l
    )
    read = with_first_order_read(
        water.arrays, labels(water.arrays), samples(water, samples_needed(water.arrays)), MPI.COMM_SELF, 1
    )
    assert len(read.arrays.first_order.mean_l) == len(water.arrays.one_electron.offset_l) and not len(
        read.arrays.one_electron.first_order_lkk
    )
    one, other = minima(water, water.arrays), minima(water, read.arrays)
    off = np.sqrt(np.mean((one.energies_b - other.energies_b) ** 2))
    # matrices are kept in single precision
    assert read.error < 1e-9 and off < 1e-8
    np.testing.assert_allclose(one.gradient_bav, other.gradient_bav, atol=1e-7)
    np.testing.assert_allclose(one.latent_bd, other.latent_bd, atol=1e-5)


@pytest.mark.serial
def test_an_error_is_told_of_what_points_cannot_tell():
    """Three points know little of a density."""
    water = matrix_water()
    points = water.arrays.points
    few = replace(points, modes_qk=points.modes_qk[:3], mean_q=points.mean_q[:3], reading_fq=points.reading_fq[:, :3])
    poor = replace(water.arrays, points=few)
    assert with_first_order_read(poor, labels(poor), samples(water, 200), MPI.COMM_SELF, 1).error > 1e-7


def test_ranks_share_the_samples(comm):
    water = matrix_water()
    sampled = samples(water, 150)
    alone, shared = (
        with_first_order_read(water.arrays, labels(water.arrays), sampled, each, 1) for each in (MPI.COMM_SELF, comm)
    )
    assert shared.error == pytest.approx(alone.error, rel=0.1, abs=1e-12)
    one, other = minima(water, alone.arrays), minima(water, shared.arrays)
    np.testing.assert_allclose(one.energies_b, other.energies_b, atol=1e-9)
