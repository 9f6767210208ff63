"""Products with packed matrices: what NumPy computes from the rounded matrix, in any company."""

import numpy as np
import pytest

from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.packed import Packed, halved, pad, padded
from mpiqmd.rom.learned.panels import PANEL

pytestmark = pytest.mark.serial


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 63), (64, 64), (70, 130)])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_products_are_those_of_the_rounded_matrix(shape, rows, dtype, rng):
    matrix, values = rng.normal(size=shape), rng.normal(size=(rows, shape[1]))
    product = Packed(matrix, dtype).times(pad(values))
    assert product.shape == (rows, padded(shape[0]))
    np.testing.assert_allclose(product[:, : shape[0]], values @ matrix.astype(dtype).astype(float).T, rtol=1e-12, atol=1e-12)
    assert not product[:, shape[0] :].any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_have_the_same_bits_in_any_company(dtype, rng):
    packed, rows = Packed(rng.normal(size=(133, 300)), dtype), pad(rng.normal(size=(11, 300)))
    whole = packed.times(rows)
    for count in range(1, 8):
        assert np.array_equal(packed.times(rows[:count]), whole[:count])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_zeros_of_a_whole_panel_are_not_kept(dtype, rng):
    """Three blocks on the diagonal, one of which begins inside a panel, and outputs without any input at the end."""
    blocks = [(slice(0, 20), slice(3, 40)), (slice(20, 48), slice(40, 55)), (slice(48, 50), slice(60, 61))]
    matrix, rows = np.zeros((90, 70)), pad(rng.normal(size=(6, 70)))
    for outputs, inputs in blocks:
        matrix[outputs, inputs] = rng.normal(size=matrix[outputs, inputs].shape)
    packed = Packed(matrix, dtype)
    np.testing.assert_allclose(packed.times(rows)[:, :90], rows[:, :70] @ matrix.astype(dtype).astype(float).T, atol=1e-12)
    assert len(packed.panels[0]) == 37 + (37 + 15) + 15 + 1
    assert len(Packed(np.zeros((20, 5))).panels[0]) == 0 and not Packed(np.zeros((20, 5))).times(rows).any()


def test_numbers_of_half_precision_are_kept_as_such_and_larger_ones_are_not(rng):
    exact, inexact = halved(rng.normal(size=(20, 30))), rng.normal(size=(20, 30))
    half, single, large = Packed(exact), Packed(inexact), Packed(1e6 * exact)
    assert half.panels[0].nbytes <= single.panels[0].nbytes == large.panels[0].nbytes
    rows = pad(rng.normal(size=(2, 30)))
    np.testing.assert_allclose(half.times(rows)[:, :20], rows[:, :30] @ exact.T, rtol=1e-12, atol=1e-12)


def test_longer_rows_are_read_as_far_as_there_are_inputs(rng):
    matrix, rows = rng.normal(size=(5, 7)), rng.normal(size=(3, 70))
    np.testing.assert_allclose(Packed(matrix, np.float64).times(rows)[:, :5], rows[:, :7] @ matrix.T, rtol=1e-13)


@pytest.mark.parametrize(("count", "length"), [(0, 0), (1, PANEL), (PANEL, PANEL), (PANEL + 1, 2 * PANEL)])
def test_padding_goes_up_to_whole_panels(count, length):
    assert padded(count) == length
    assert pad(np.ones((2, count))).sum() == 2 * count


def test_rows_are_made_orthonormal(rng):
    rows = rng.normal(size=(3, 5, PANEL))
    made, inverse = rows.copy(), np.empty((3, 5, 5))
    kernels.orthonormalise(made, inverse)
    np.testing.assert_allclose(made @ made.transpose(0, 2, 1), np.broadcast_to(np.eye(5), (3, 5, 5)), atol=1e-13)
    np.testing.assert_allclose(inverse @ rows, made, atol=1e-13)
    dependent = np.ones((1, 2, PANEL))
    kernels.orthonormalise(dependent, inverse[:1, :2, :2].copy())
    assert not np.isfinite(dependent).all()


def test_a_slope_is_that_outside_the_occupied_space(rng):
    orbitals, inverse = rng.normal(size=(2, 3, PANEL)), np.empty((2, 3, 3))
    kernels.orthonormalise(orbitals, inverse)
    applied, pull = rng.normal(size=orbitals.shape), np.empty_like(orbitals)
    inside = applied @ orbitals.transpose(0, 2, 1)
    expected = 4.0 * inverse.transpose(0, 2, 1) @ (applied - inside @ orbitals)
    kernels.residual_pull(orbitals, inverse, applied, 4.0, pull)
    np.testing.assert_allclose(pull, expected, atol=1e-12)
