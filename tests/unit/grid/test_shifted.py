"""``(T + σ)^-1`` is the inverse of ``T + σ``, to round-off in either precision."""

import numpy as np
import pytest

from mpiqmd.grid import Grid, Orbitals
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.shifted import ShiftedKineticInverse
from tests.helpers.oracles import largest, local_part, on_one_rank, random_orbitals

SHIFT = 0.8


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), (13, 14, 15), order=6, boundary=request.param)
    yield grid
    grid.destroy()


def shifted_kinetic(grid, block):
    return Orbitals(grid, Laplacian(grid).apply(block, scale=-0.5) + SHIFT * block.local)


@pytest.mark.parametrize("single, tolerance", [(False, 1e-10), (True, 1e-5)])
def test_inverse_from_both_sides(grid, rng, single, tolerance):
    block = random_orbitals(grid, rng, 3)
    inverse = ShiftedKineticInverse(grid, SHIFT, single=single)
    left = inverse.apply_orbitals(shifted_kinetic(grid, block))
    right = shifted_kinetic(grid, inverse.apply_orbitals(block))
    scale = block.norms().max()
    for image in (left, right):
        error = Orbitals(grid, image.local - block.local).norms().max() / scale
        assert error < tolerance
        assert not single or error > 1e-10


def test_symmetric_and_positive(grid, rng):
    block = random_orbitals(grid, rng, 4)
    matrix = block.gram(ShiftedKineticInverse(grid, SHIFT, single=False).apply_orbitals(block))
    assert matrix == pytest.approx(matrix.T, rel=1e-12)
    values = np.linalg.eigvalsh(np.linalg.solve(block.gram(), matrix))
    assert values.min() > 0 and values.max() < 1 / SHIFT


def test_equals_the_serial_one(grid, serial_comm, rng):
    alone = on_one_rank(grid, serial_comm)
    whole = rng.normal(size=(2, *grid.shape))
    spread = ShiftedKineticInverse(grid, SHIFT, single=False).apply(local_part(grid, whole))
    serial = ShiftedKineticInverse(alone, SHIFT, single=False).apply(whole)
    assert largest(grid.comm, spread - local_part(grid, serial)) < 1e-12
    alone.destroy()
