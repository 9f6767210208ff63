"""SVD of distributed blocks: Eckart-Young, orthonormality, agreement with LAPACK on the gathered block."""

import numpy as np
import pytest

from mpiqmd.errors import AccuracyError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.svd import decompose, orthonormalised


def spread(grid, whole):
    """This rank's part of functions given whole on every rank."""
    return Orbitals(grid, whole[(slice(None), *grid.local_slices)].copy())


def gathered(orbitals):
    """The whole functions on every rank, shape (n, points)."""
    wholes = [Field(orbitals.grid, local).gather() for local in orbitals.local]
    return orbitals.grid.comm.bcast(np.array(wholes) if orbitals.grid.comm.rank == 0 else None, root=0).reshape(
        len(orbitals), -1
    )


def snapshots(grid, rng, singular_values):
    """Functions with prescribed singular values in the inner product of the grid."""
    n = len(singular_values)
    left = np.linalg.qr(rng.normal(size=(grid.size, n)))[0]
    right = np.linalg.qr(rng.normal(size=(n, n)))[0]
    whole = (right * singular_values) @ left.T / np.sqrt(grid.volume_element)
    return spread(grid, whole.reshape(n, *grid.shape))


def test_agrees_with_lapack_down_to_small_singular_values(grid, rng):
    exact = np.logspace(0, -8, 17)
    functions = snapshots(grid, rng, exact)
    result = decompose(functions)
    assert result.singular_values_k == pytest.approx(exact, rel=3e-7)
    lapack = np.linalg.svd(gathered(functions) * np.sqrt(grid.volume_element), compute_uv=False)
    assert np.abs(result.singular_values_k - lapack).max() < 1e-14


def test_modes_are_orthonormal_and_reproduce_the_block(grid, rng):
    functions = snapshots(grid, rng, np.logspace(0.5, -7, 12))
    result = decompose(functions)
    assert np.abs(result.modes.gram() - np.eye(12)).max() < 1e-12
    again = result.modes.combine((result.coefficients_sk * result.singular_values_k).T)
    assert Orbitals(grid, again.local - functions.local).norms().max() < 1e-13


def test_modes_may_take_the_memory_of_the_functions(grid, rng):
    functions = snapshots(grid, rng, np.logspace(0.5, -7, 12))
    apart, memory = decompose(functions), functions.copy()
    there = decompose(memory, overwrite=True)
    assert np.shares_memory(there.modes.local, memory.local)
    assert np.array_equal(there.modes.local, apart.modes.local)
    assert np.array_equal(there.singular_values_k, apart.singular_values_k)


def test_functions_are_rotated_in_their_own_memory(grid, rng):
    functions = snapshots(grid, rng, np.logspace(0, -1, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    expected, address = functions.combine(rotation), functions.local
    functions.rotate(rotation, block=100)
    assert functions.local is address and np.abs(functions.local - expected.local).max() < 1e-14


def test_squared_projection_error_is_the_sum_of_discarded_squares(grid, rng):
    functions = snapshots(grid, rng, np.logspace(0, -3, 10))
    result = decompose(functions)
    for m in (1, 4, 9):
        modes = result.modes.select(slice(0, m))
        projected = modes.combine(modes.gram(functions))
        error = (Orbitals(grid, functions.local - projected.local).norms() ** 2).sum()
        assert error == pytest.approx((result.singular_values_k[m:] ** 2).sum(), rel=1e-9)


def test_a_duplicate_adds_a_zero_singular_value(grid, rng):
    functions = snapshots(grid, rng, np.array([2.0, 1.5, 1.0, 0.5]))
    doubled = Orbitals(grid, np.concatenate([functions.local, functions.local[:1]]))
    values = decompose(doubled).singular_values_k
    assert (values[:4] > 0.4).all()
    assert len(values) == 4 or values[4] < 1e-14


def test_unitary_mixing_inside_blocks_changes_nothing(grid, rng):
    blocks = [orthonormalised(spread(grid, rng.normal(size=(3, *grid.shape)))) for _ in range(3)]
    rotations = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in blocks]
    mixed = [block.combine(rotation) for block, rotation in zip(blocks, rotations, strict=True)]
    one = decompose(Orbitals(grid, np.concatenate([block.local for block in blocks])))
    two = decompose(Orbitals(grid, np.concatenate([block.local for block in mixed])))
    assert one.singular_values_k == pytest.approx(two.singular_values_k, abs=1e-13)
    overlap = one.modes.select(slice(0, 4)).gram(two.modes.select(slice(0, 4)))
    assert np.abs(np.abs(overlap) - np.eye(4)).max() < 1e-10


def test_exactly_degenerate_blocks_are_complete(grid):
    """The Krylov space of repeated unit functions closes after one step: nothing may be lost."""
    whole = np.zeros((12, *grid.shape))
    whole.reshape(12, -1)[np.arange(12), np.arange(12) % 4 * 7] = 1.0 / np.sqrt(grid.volume_element)
    result = decompose(spread(grid, whole))
    assert result.singular_values_k[:4] == pytest.approx(np.sqrt(3.0) * np.ones(4), rel=1e-14)
    assert (result.singular_values_k[4:] < 1e-14).all()
    assert np.abs(result.modes.gram() - np.eye(len(result.modes))).max() < 1e-12


def test_nan_is_refused(grid, rng):
    functions = spread(grid, rng.normal(size=(3, *grid.shape)))
    functions.local[:, 0, 0, 0] = np.nan
    with pytest.raises(AccuracyError, match="NaN"):
        decompose(functions)


def test_zero_functions_have_no_modes(grid):
    for count in (0, 3):
        result = decompose(Orbitals.zeros(grid, count))
        assert len(result.modes) == 0 and len(result.singular_values_k) == 0


def test_signs_do_not_depend_on_the_number_of_ranks(comm, serial_comm, rng):
    distributed = Grid(comm, 5.0, (11, 12, 13), order=4)
    alone = Grid(serial_comm, 5.0, (11, 12, 13), order=4)
    whole = rng.normal(size=(5, *alone.shape))
    one, two = decompose(spread(distributed, whole)), decompose(spread(alone, whole))
    assert np.abs(gathered(one.modes) - gathered(two.modes)).max() < 1e-11
    distributed.destroy()
    alone.destroy()


def test_nearly_orthonormal_functions_are_made_so(grid, rng):
    functions = decompose(spread(grid, rng.normal(size=(4, *grid.shape)))).modes
    assert orthonormalised(functions) is functions
    disturbed = functions.combine(np.eye(4) + 1e-6 * rng.normal(size=(4, 4)))
    mended = orthonormalised(disturbed)
    assert np.abs(mended.gram() - np.eye(4)).max() < 1e-13
    assert Orbitals(grid, mended.local - functions.local).norms().max() < 1e-5
