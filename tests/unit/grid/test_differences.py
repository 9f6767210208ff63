"""Laplacian and gradient: exact on polynomials and plane waves, adjoint, of the stated order, on any number of ranks."""

import numpy as np
import pytest

from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.grid.differences import Gradient, Laplacian
from mpiqmd.grid.stencils import ORDERS, first_derivative, second_derivative
from tests.helpers.oracles import (
    everywhere,
    largest,
    local_part,
    observed_orders,
    on_one_rank,
    order_table,
    plane_wave,
    random_field,
    random_orbitals,
)


def large_grid(comm, order, boundary):
    """Anisotropic, with sides that three ranks can share at every order."""
    return Grid(comm, (2.0, 2.2, 1.9), (19, 20, 21), order=order, boundary=boundary)


def interior(grid):
    """This rank's points whose stencils see no wall."""
    masks = []
    for axis in range(3):
        index = np.arange(grid.shape[axis])[grid.local_slices[axis]]
        masks.append((index >= grid.width) & (index < grid.shape[axis] - grid.width))
    return masks[0][:, None, None] & masks[1][None, :, None] & masks[2][None, None, :]


def monomial(grid, powers):
    """``x^a y^b z^c`` on this rank's points; zero for a negative power, which only comes with a factor of zero."""
    z, y, x = grid.local_coordinates
    if min(powers) < 0:
        return np.zeros(grid.local_shape)
    return x ** powers[0] * y ** powers[1] * z ** powers[2]


def lowered(powers, v, times):
    """Coefficient and powers of the ``times``-th derivative along direction v."""
    coefficient, result = 1, list(powers)
    for _ in range(times):
        coefficient *= result[v]
        result[v] -= 1
    return coefficient, result


@pytest.mark.parametrize("order", ORDERS)
def test_laplacian_is_exact_on_monomials_up_to_order_plus_one(comm, order):
    grid = large_grid(comm, order, "isolated")
    top, inside, laplacian = order + 1, interior(grid), Laplacian(grid)
    for powers in [(top, 0, 1), (0, top, 2), (3, 2, top), (1, 1, 1), (2, 2, 2)]:
        found = laplacian.apply(Orbitals(grid, monomial(grid, powers)[None]))[0]
        exact = np.zeros(grid.local_shape)
        for v in range(3):
            coefficient, rest = lowered(powers, v, 2)
            exact += coefficient * monomial(grid, rest)
        assert largest(comm, (found - exact) * inside) < 1e-10
    too_high = monomial(grid, (order + 2, 0, 0))
    found = laplacian.apply(Orbitals(grid, too_high[None]))[0]
    exact = (order + 2) * (order + 1) * monomial(grid, (order, 0, 0))
    assert largest(comm, (found - exact) * inside) > 1e-10
    grid.destroy()


@pytest.mark.parametrize("order", ORDERS)
def test_gradient_is_exact_on_monomials_up_to_order(comm, order):
    grid = large_grid(comm, order, "isolated")
    inside, gradient = interior(grid), Gradient(grid)
    for powers in [(order, 0, 1), (0, order, 2), (min(3, order), 1, order), (1, 1, 1)]:
        found = gradient.apply(Field(grid, monomial(grid, powers)))
        for v in range(3):
            coefficient, rest = lowered(powers, v, 1)
            assert largest(comm, (found[v] - coefficient * monomial(grid, rest)) * inside) < 1e-11
    grid.destroy()


@pytest.mark.parametrize("order", ORDERS)
def test_plane_waves_are_eigenfunctions_with_the_symbol_as_eigenvalue(comm, order):
    grid = large_grid(comm, order, "periodic")
    offsets = np.arange(-(order // 2), order // 2 + 1)
    first = np.array([float(w) for w in first_derivative(order)])
    second = np.array([float(w) for w in second_derivative(order)])
    waves_v, phase = plane_wave(grid, (1, 3, -2))
    steps_v = waves_v * grid.spacing_v
    eigenvalue = sum(second @ np.cos(offsets * t) / h**2 for t, h in zip(steps_v, grid.spacing_v, strict=True))
    found = Laplacian(grid).apply(Orbitals(grid, np.sin(phase)[None]))[0]
    assert largest(comm, found - eigenvalue * np.sin(phase)) < 1e-10
    slopes = Gradient(grid).apply(Field(grid, np.sin(phase)))
    for v in range(3):
        slope = first @ np.sin(offsets * steps_v[v]) / grid.spacing_v[v]
        assert slope == pytest.approx(waves_v[v], rel=0.3)
        assert largest(comm, slopes[v] - slope * np.cos(phase)) < 1e-11
    grid.destroy()


def test_functions_vanish_beyond_the_walls_of_an_isolated_cell(comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="isolated")
    ones = np.ones((1, *grid.local_shape))
    whole = everywhere(Field(grid, Laplacian(grid).apply(Orbitals(grid, ones))[0]))
    missing = sum(float(w) for w in second_derivative(4)[:2])
    middle = tuple(n // 2 for n in grid.shape)
    assert whole[middle] == pytest.approx(0.0, abs=1e-11)
    for axis in range(3):
        for end in (0, -1):
            index = tuple(end if a == axis else m for a, m in enumerate(middle))
            assert whole[index] == pytest.approx(-missing / grid.spacing_v[2 - axis] ** 2)
    grid.destroy()


def test_laplacian_is_symmetric_and_negative(grid, rng):
    block = random_orbitals(grid, rng, 4)
    matrix = block.gram(Orbitals(grid, Laplacian(grid).apply(block)))
    assert matrix == pytest.approx(matrix.T, rel=1e-12)
    assert np.linalg.eigvalsh(matrix).max() < -1.0


def test_divergence_is_minus_the_adjoint_of_the_gradient(grid, rng):
    f = random_field(grid, rng)
    vector = random_orbitals(grid, rng, 3)
    gradient = Gradient(grid)
    left = Orbitals(grid, gradient.apply(f)).gram(vector).trace()
    right = -f.inner(Field(grid, gradient.divergence(vector.local)))
    assert abs(left) > 1e-3
    assert left == pytest.approx(right, rel=1e-11)


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_equals_the_serial_operators(comm, serial_comm, rng, order, boundary):
    grid = Grid(comm, (5.0, 6.0, 6.5), (16, 13, 17), order=order, boundary=boundary)
    alone = on_one_rank(grid, serial_comm)
    whole = rng.normal(size=(3, *grid.shape))
    spread = local_part(grid, whole)
    pairs = [
        (Laplacian(grid).apply(Orbitals(grid, spread)), Laplacian(alone).apply(Orbitals(alone, whole))),
        (Gradient(grid).apply(Field(grid, spread[0])), Gradient(alone).apply(Field(alone, whole[0]))),
        (Gradient(grid).divergence(spread)[None], Gradient(alone).divergence(whole)[None]),
    ]
    for distributed, serial in pairs:
        assert largest(comm, distributed - local_part(grid, serial)) < 1e-11 * np.abs(serial).max()
    alone.destroy()
    grid.destroy()


def test_scale_and_output_array(grid, rng):
    block = random_orbitals(grid, rng, 2)
    laplacian = Laplacian(grid)
    plain = laplacian.apply(block)
    out = np.full_like(block.local, np.nan)
    returned = laplacian.apply(block, out=out, scale=-0.5)
    assert returned is out
    assert largest(grid.comm, out + 0.5 * plain) < 1e-12
    fewer = laplacian.apply(block.select(slice(0, 1)))
    assert largest(grid.comm, fewer - plain[:1]) < 1e-12


def test_second_derivative_is_not_the_first_twice(grid, rng):
    f = random_field(grid, rng)
    gradient = Gradient(grid)
    twice = gradient.divergence(gradient.apply(f))
    once = Laplacian(grid).apply(Orbitals(grid, f.local[None]))[0]
    assert largest(grid.comm, twice - once) > 1.0


def bump(grid):
    """``f = Π cos^16(πx/L)``, smooth across the walls, its Laplacian and its gradient, on this rank's points."""
    z, y, x = grid.local_coordinates
    waves = [np.pi / edge for edge in grid.cell_v]
    values, slopes, curvatures = [], [], []
    for wave, line in zip(waves, (x, y, z), strict=True):
        c, s = np.cos(wave * line), np.sin(wave * line)
        values.append(c**16)
        slopes.append(-16 * wave * c**15 * s)
        curvatures.append(wave**2 * (240 * c**14 * s**2 - 16 * c**16))
    (a, b, c), (da, db, dc), (dda, ddb, ddc) = values, slopes, curvatures
    return a * b * c, dda * b * c + a * ddb * c + a * b * ddc, np.stack([da * b * c, a * db * c, a * b * dc])


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
@pytest.mark.parametrize("order", ORDERS)
def test_order_of_accuracy(comm, order, boundary):
    spacings, laplacians, gradients = [], [], []
    for count in [(24, 28, 30), (36, 42, 45), (48, 56, 60)]:
        grid = Grid(comm, (9.5, 11.0, 12.0), count, order=order, boundary=boundary)
        f, laplacian, slopes = bump(grid)
        error = Laplacian(grid).apply(Orbitals(grid, f[None]))[0] - laplacian
        spacings.append(float(grid.spacing_v.max()))
        laplacians.append(Field(grid, error).norm())
        gradients.append(Orbitals(grid, Gradient(grid).apply(Field(grid, f)) - slopes).norms().max())
        grid.destroy()
    print(order_table(f"Laplacian of order {order}, {boundary}", spacings, laplacians))
    print(order_table(f"Gradient of order {order}, {boundary}", spacings, gradients))
    for errors in (laplacians, gradients):
        assert errors[-1] > 1e-8
        assert 0.92 * order < observed_orders(spacings, errors)[-1] < order + 0.1
