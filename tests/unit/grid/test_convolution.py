"""Convolutions by padded transforms: the sum over the grid, for any kernel, on any ranks, by either route between them."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.grid import pencils as pencils_module
from mpiqmd.grid.convolution import Convolution, period
from tests.helpers.oracles import everywhere, largest, local_part, random_orbitals

COUNTS = (7, 11, 9)


@pytest.fixture
def grid(comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), COUNTS[::-1], order=2, boundary="periodic")
    yield grid
    grid.destroy()


@pytest.fixture(params=[0, 10**6], ids=["x split", "y split"])
def route(request, monkeypatch):
    monkeypatch.setattr(pencils_module, "MODES_EACH", request.param)


def even_kernel(rng):
    """g at differences of z, y and x up to the half period of each, whatever its values."""
    return rng.normal(size=tuple(period(n) // 2 + 1 for n in COUNTS))


def transform(kernel_dzyx):
    """ĝ at wave numbers up to half of the period, by its definition."""
    for axis, n in enumerate(COUNTS):
        half = np.arange(period(n) // 2 + 1)
        cosines = np.cos(2.0 * np.pi * np.outer(half, half) / period(n))
        cosines[:, 1:-1] *= 2.0
        kernel_dzyx = np.moveaxis(np.tensordot(cosines, kernel_dzyx, axes=(1, axis)), 0, axis)
    return kernel_dzyx


def test_is_the_sum_over_the_grid(grid, rng, route):
    block, kernel = random_orbitals(grid, rng, 2), even_kernel(rng)
    spectrum = transform(kernel)
    convolution = Convolution(grid, lambda z, y, x: spectrum[np.ix_(z, y, x)])
    rows = [kernel_matrix_indices(n) for n in COUNTS]
    weights = kernel[rows[0][:, :, None, None, None, None], rows[1][None, None, :, :, None, None], rows[2]]
    expected = np.einsum("aAbBcC,nABC->nabc", weights, everywhere(block))
    error = convolution.apply(block.local) - local_part(grid, expected)
    assert largest(grid.comm, error) < 1e-13 * np.abs(expected).max() * np.prod(COUNTS) ** 0.5


def kernel_matrix_indices(n):
    """|i - j| of the points of an axis."""
    return np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


@pytest.mark.serial
@pytest.mark.parametrize("n", [1, 2, 7, 45, 71, 73, 97, 128, 251])
def test_the_period_is_even_has_room_and_is_not_much_longer(n):
    assert period(n) % 2 == 0 and 2 * n - 1 <= period(n) <= 2.3 * n + 1


def test_input_is_left_alone(grid, rng):
    block = random_orbitals(grid, rng, 1)
    before = block.local.copy()
    Convolution(grid, lambda z, y, x: np.ones((len(z), len(y), len(x)))).apply(block.local)
    assert np.array_equal(block.local, before)
