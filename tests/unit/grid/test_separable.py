"""Fourier basis, the exchange of axes between ranks, and operators diagonal in a product basis."""

import numpy as np
import pytest

from mpiqmd.grid import Field, Orbitals
from mpiqmd.grid import pencils as pencils_module
from mpiqmd.grid.pencils import AxisTrade
from mpiqmd.grid.separable import SeparableOperator, fourier_basis, wave_numbers
from tests.helpers.oracles import everywhere, largest, local_part, on_one_rank, random_orbitals


@pytest.mark.serial
@pytest.mark.parametrize("n", [1, 2, 7, 12, 13])
def test_fourier_basis_is_orthonormal_and_diagonalises_translations(n):
    basis = fourier_basis(n)
    assert basis @ basis.T == pytest.approx(np.eye(n), abs=1e-13)
    waves = 2 * np.pi * wave_numbers(n) / n
    shifted_both_ways = 0.5 * (np.roll(basis, 1, axis=1) + np.roll(basis, -1, axis=1))
    assert shifted_both_ways == pytest.approx(np.cos(waves)[:, None] * basis, abs=1e-13)
    assert wave_numbers(n).max() == n // 2


@pytest.mark.serial
def test_fourier_basis_restricted_to_the_first_points():
    assert np.array_equal(fourier_basis(12, 5), fourier_basis(12)[:, :5])


def exchange_of(comm, n_split, n_join):
    counts = np.full(comm.size, n_join // comm.size)
    counts[: n_join % comm.size] += 1
    return AxisTrade(comm, n_split, counts, split_axis=3, join_axis=2), counts


@pytest.mark.parametrize("n_split, n_join", [(11, 13), (7, 5), (16, 16)])
def test_exchange_forward_gives_the_transposed_block_and_backward_undoes_it(comm, rng, n_split, n_join):
    exchange, counts = exchange_of(comm, n_split, n_join)
    whole = rng.normal(size=(2, 3, n_join, n_split))
    first = int(counts[: comm.rank].sum())
    mine = np.ascontiguousarray(whole[:, :, first : first + counts[comm.rank]])
    traded = exchange.forward(mine)
    assert comm.allreduce(np.array_equal(traded, whole[..., exchange.own])) == comm.size
    assert comm.allreduce(np.array_equal(exchange.backward(traded), mine)) == comm.size
    assert comm.allreduce(exchange.own.stop - exchange.own.start) == n_split


def test_exchange_with_fewer_modes_than_ranks(comm, rng):
    exchange, counts = exchange_of(comm, 2, 9)
    whole = rng.normal(size=(1, 1, 9, 2))
    first = int(counts[: comm.rank].sum())
    mine = np.ascontiguousarray(whole[:, :, first : first + counts[comm.rank]])
    back = exchange.backward(exchange.forward(mine))
    assert comm.allreduce(np.array_equal(back, mine)) == comm.size


@pytest.fixture(params=[0, 10**6], ids=["x is split twice", "x and y are split"])
def route(request, monkeypatch):
    """How operators share their modes out, whatever the number of ranks would have them do."""
    monkeypatch.setattr(pencils_module, "MODES_EACH", request.param)


def operator(grid, rng, modes=(9, 15, 8)):
    """Any three matrices and any diagonal, the same on every rank."""
    bases = tuple(rng.normal(size=(m, n)) for m, n in zip(modes, grid.shape, strict=True))
    diagonal = rng.normal(size=modes)
    return SeparableOperator(grid, bases, lambda z, y, x: diagonal[z, y, x]), bases, diagonal


def test_applies_its_definition(grid, rng, route):
    block = random_orbitals(grid, rng, 2)
    separable, bases, diagonal = operator(grid, rng)
    modes = np.einsum("az,by,cx,nzyx->nabc", *bases, everywhere(block), optimize=True) * diagonal
    expected = np.einsum("az,by,cx,nabc->nzyx", *bases, modes, optimize=True)
    error = separable.apply(block.local) - local_part(grid, expected)
    assert largest(grid.comm, error) < 1e-12 * np.abs(expected).max()


def test_forward_is_the_part_of_the_mode_box_that_own_modes_says(grid, rng, route):
    block = random_orbitals(grid, rng, 1)
    separable, bases, _ = operator(grid, rng)
    assert separable.pencils.splits_x_only == (pencils_module.MODES_EACH == 0)
    modes = np.einsum("az,by,cx,nzyx->nabc", *bases, everywhere(block), optimize=True)
    mine = modes[(slice(None), *separable.own_modes)]
    assert largest(grid.comm, separable.forward(block.local) - mine) < 1e-12 * np.abs(modes).max()


def test_is_symmetric(grid, rng):
    block = random_orbitals(grid, rng, 3)
    separable, _, _ = operator(grid, rng)
    matrix = block.gram(Orbitals(grid, separable.apply(block.local)))
    assert matrix == pytest.approx(matrix.T, rel=1e-10)


def test_single_precision_is_close_and_input_is_left_alone(grid, rng):
    block = random_orbitals(grid, rng, 2)
    before = block.local.copy()
    bases = tuple(fourier_basis(n) for n in grid.shape)

    def ones(*part):
        return np.ones(tuple(len(range(n)[s]) for n, s in zip(grid.shape, part, strict=True)))

    double, single = SeparableOperator(grid, bases, ones), SeparableOperator(grid, bases, ones, np.float32)
    assert largest(grid.comm, double.apply(block.local) - before) < 1e-12
    assert 1e-9 < largest(grid.comm, single.apply(block.local) - before) < 1e-5
    assert single.apply(block.local).dtype == np.float64
    assert np.array_equal(block.local, before)


def test_equals_the_serial_operator(grid, serial_comm, rng):
    alone = on_one_rank(grid, serial_comm)
    whole = rng.normal(size=(1, *grid.shape))
    state = rng.bit_generator.state
    spread, _, _ = operator(grid, rng)
    rng.bit_generator.state = state
    serial, _, _ = operator(alone, rng)
    distributed = everywhere(Field(grid, spread.apply(local_part(grid, whole))[0]))
    assert distributed == pytest.approx(serial.apply(whole)[0], abs=1e-9)
    alone.destroy()
