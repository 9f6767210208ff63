"""Interpolation to a finer grid and its adjoint: exact on what the grid carries, an isometry on everything."""

import numpy as np
import pytest

from mpiqmd.grid import Grid, Orbitals
from mpiqmd.grid.refinement import Refinement, interpolation
from tests.helpers.oracles import everywhere, local_part, on_one_rank, random_orbitals

CELL = np.array([5.0, 6.0, 6.5])


@pytest.fixture(params=[("isolated", 2.0), ("periodic", 2.0), ("isolated", 1.5), ("periodic", 1.5)])
def refinement(request, comm):
    boundary, factor = request.param
    grid = Grid(comm, CELL, (11, 12, 13), order=4, boundary=boundary)
    refinement = Refinement(grid, factor)
    yield refinement
    refinement.destroy()
    grid.destroy()


def waves(grid, counts):
    """Products of standing (isolated) or travelling (periodic) waves, counts of half periods or periods along z, y, x."""
    factors = []
    for axis, count in enumerate(counts):
        phase = np.pi * count * (grid.coordinates(axis) / CELL[2 - axis] + 0.5)
        factors.append(np.cos(2 * phase + 0.3) if grid.is_periodic else np.sin(phase))
    z, y, x = factors
    return Orbitals(grid, local_part(grid, np.einsum("z,y,x->zyx", z, y, x)[None]))


@pytest.mark.parametrize("counts", [(1, 2, 3), (5, 5, 4), (6, 1, 5)])
def test_waves_are_taken_to_themselves(refinement, counts):
    coarse, fine = waves(refinement.coarse, counts), waves(refinement.fine, counts)
    assert Orbitals(fine.grid, refinement.refine(coarse).local - fine.local).norms()[0] < 1e-12
    assert Orbitals(coarse.grid, refinement.restrict(fine).local - coarse.local).norms()[0] < 1e-12


def test_waves_beyond_the_grid_are_cut(refinement):
    fine = waves(refinement.fine, (14, 1, 1) if not refinement.fine.is_periodic else (8, 1, 1))
    assert fine.norms()[0] > 1.0
    assert refinement.restrict(fine).norms()[0] < 1e-12


def test_white_noise_keeps_its_inner_products(refinement, rng):
    """Also the Nyquist waves: orthonormal orbitals stay orthonormal, and the electrons are all there."""
    block = random_orbitals(refinement.coarse, rng, 3)
    refined = refinement.refine(block)
    assert refined.gram() == pytest.approx(block.gram(), abs=1e-12 * block.gram().max())
    assert Orbitals(block.grid, refinement.restrict(refined).local - block.local).norms().max() < 1e-12 * block.norms().max()


def test_the_two_directions_are_adjoint(refinement, rng):
    coarse, fine = random_orbitals(refinement.coarse, rng, 2), random_orbitals(refinement.fine, rng, 3)
    one, two = fine.gram(refinement.refine(coarse)), refinement.restrict(fine).gram(coarse)
    assert np.abs(one).max() > 1e-3
    assert one == pytest.approx(two, abs=1e-12)


def test_equals_the_serial_result(refinement, serial_comm, rng):
    block = random_orbitals(refinement.coarse, rng, 2)
    factor = 2.0 if refinement.fine.points_v[1] == 24 else 1.5
    alone = Refinement(on_one_rank(refinement.coarse, serial_comm), factor)
    expected = alone.refine(Orbitals(alone.coarse, everywhere(block)))
    refined = refinement.refine(block)
    assert everywhere(refined) == pytest.approx(expected.local, abs=1e-13)
    assert everywhere(refinement.restrict(refined)) == pytest.approx(alone.restrict(expected).local, abs=1e-13)


@pytest.mark.serial
@pytest.mark.parametrize("is_periodic", [True, False])
@pytest.mark.parametrize("n", [7, 9, 12])
def test_values_at_common_points_are_kept(n, is_periodic):
    """But for the Nyquist cosine of an even periodic axis, whose norm is kept instead."""
    matrix = interpolation(n, 2 * n, is_periodic)
    common = matrix[::2] if is_periodic else matrix[1::2]
    nyquist = (-1.0) ** np.arange(n) if is_periodic and n % 2 == 0 else np.zeros(len(common))
    expected = np.eye(len(common)) + (np.sqrt(2) - 1) / n * np.outer(nyquist, nyquist)
    assert common == pytest.approx(expected, abs=1e-13)


@pytest.mark.serial
def test_refined_grids_have_even_numbers_of_points(serial_comm):
    grid = Grid(serial_comm, CELL, (11, 12, 13), order=4)
    for factor, points in ((1.5, [18, 18, 20]), (2.0, [22, 24, 26])):
        finer = grid.refined(factor)
        assert finer.points_v.tolist() == points and finer.process_shape == grid.process_shape
        finer.destroy()
    grid.destroy()
