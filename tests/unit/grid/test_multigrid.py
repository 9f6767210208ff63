"""Multigrid: the hierarchy, one symmetric cycle for ``(T + σ)^-1``, Poisson's equation beside the direct solver."""

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from mpiqmd.errors import ConfigError, ConvergenceError
from mpiqmd.grid import Field, Grid, Orbitals, levels, multigrid
from mpiqmd.grid.differences import Laplacian
from mpiqmd.grid.levels import hierarchy, interpolation, star_matrix
from mpiqmd.grid.multigrid import MultigridPoisson, VCycle, kinetic_weights, rough_waves, uses_multigrid
from mpiqmd.grid.multipoles import Multipoles, legendre_kernel
from mpiqmd.grid.poisson import Poisson
from mpiqmd.grid.shifted import ShiftedKineticInverse
from tests.helpers.oracles import (
    distances,
    everywhere,
    gaussian_charge,
    gaussian_potential,
    largest,
    local_part,
    observed_orders,
    on_one_rank,
    order_table,
    plane_wave,
    random_field,
    random_orbitals,
)

SHIFT = 0.8
BOUNDARIES = ("isolated", "periodic")


@pytest.fixture(params=BOUNDARIES)
def grid(request, comm):
    """Three different edges, even and odd numbers of intervals, two or more levels."""
    grid = Grid(comm, (7.0, 7.5, 8.0), (18, 21, 20), order=6, boundary=request.param)
    yield grid
    grid.destroy()


# ---- the hierarchy ---------------------------------------------------------------------------------------------------


def test_every_level_numbers_every_point_once(grid, monkeypatch):
    monkeypatch.setattr(levels, "COARSEST", 150)
    for level in hierarchy(grid):
        numbers = level.numbers(*(np.arange(n) for n in level.shape))
        assert sorted(numbers.ravel()) == list(range(level.size))
        own = numbers[level.local_slices].ravel()
        before = sum(grid.comm.allgather(level.local_size)[: grid.comm.rank])
        assert list(own) == list(range(before, before + level.local_size))
    assert level.size <= 150


def test_stencil_rows_are_those_of_the_differences(grid, rng):
    block = random_orbitals(grid, rng, 1)
    level = hierarchy(grid)[0]
    whole = np.empty(grid.size)
    whole[level.numbers(*(np.arange(n) for n in grid.shape)).ravel()] = everywhere(block)[0].ravel()
    applied = star_matrix(level, kinetic_weights(grid.order), SHIFT) @ whole
    exact = Laplacian(grid).apply(block, scale=-0.5) + SHIFT * block.local
    assert largest(grid.comm, applied.reshape(grid.local_shape) - exact[0]) < 1e-11


def test_interpolation_is_exact_for_what_is_linear_between_coarse_points(grid):
    """Coarse values of a product of hats, or of a constant in a periodic cell, give the function at the fine points."""
    fine, coarse = hierarchy(grid)[:2]
    axes = []
    for level in (fine, coarse):
        places = [np.arange(n) + (0 if grid.is_periodic else 1) for n in level.shape]
        fractions = [place / n for place, n in zip(places, level.intervals, strict=True)]
        walls = [np.ones(len(f)) if grid.is_periodic else np.minimum(f, 0.1) for f in fractions]
        axes.append(walls[0][:, None, None] * walls[1][None, :, None] * walls[2])
    numbers = coarse.numbers(*(np.arange(n) for n in coarse.shape)).ravel()
    values = np.empty(coarse.size)
    values[numbers] = axes[1].ravel()
    result = (interpolation(fine, coarse) @ values).reshape(grid.local_shape)
    inner = (slice(4, -4),) * 3
    masked = np.full(grid.shape, np.nan)
    masked[inner] = axes[0][inner]
    error = result - local_part(grid, masked)
    assert np.nanmax(np.abs(error), initial=0.0) < 1e-13
    total = grid.comm.allreduce(float(interpolation(fine, coarse).sum()))
    assert total == pytest.approx(coarse.size * coarse.weight, rel=0.2)


@pytest.mark.parametrize("order, expected", [(2, (1 / 3, 2.0)), (4, (7 / 22.5, 64 / 30))])
def test_rough_waves_from_the_symbol_by_hand(order, expected):
    """Order 4: weights 5/2, -4/3, 1/12, so 5/2 - 1/6 = 7/3 at half the Nyquist wave and 16/3 at it, over 3 * 5/2, 5/2."""
    assert rough_waves(order) == pytest.approx(expected)


# ---- the cycle -------------------------------------------------------------------------------------------------------


def shifted_kinetic(grid, block, order):
    low = Grid(grid.comm, grid.cell_v, grid.points_v, order, grid.boundary)
    result = Laplacian(low).apply(Orbitals(low, block.local), scale=-0.5) + SHIFT * block.local
    low.destroy()
    return Orbitals(grid, result)


def test_cycle_is_symmetric_positive_and_contracts(grid, rng):
    cycle = VCycle(grid, SHIFT)
    assert len(cycle.levels) > 1
    block = random_orbitals(grid, rng, 4)
    matrix = block.gram(Orbitals(grid, cycle.apply(block.local)))
    assert matrix == pytest.approx(matrix.T, rel=1e-11)
    assert np.linalg.eigvalsh(matrix).min() > 0
    error = random_orbitals(grid, rng, 1)
    for _ in range(6):
        before = error.norms()[0]
        image = shifted_kinetic(grid, error, multigrid.CYCLE_ORDER)
        error = Orbitals(grid, error.local - cycle.apply(image.local))
        assert error.norms()[0] < 0.3 * before
    cycle.destroy()


def test_cycle_is_linear_and_the_same_on_one_rank(grid, serial_comm, rng):
    alone = on_one_rank(grid, serial_comm)
    cycle, serial = VCycle(grid, SHIFT), VCycle(alone, SHIFT)
    f, g = rng.normal(size=(2, 1, *grid.shape))
    image = cycle.apply(local_part(grid, 2.0 * f - 3.0 * g))
    parts = [cycle.apply(local_part(grid, one)) for one in (f, g)]
    assert largest(grid.comm, image - 2.0 * parts[0] + 3.0 * parts[1]) < 1e-12
    assert largest(grid.comm, parts[0] - local_part(grid, serial.apply(f))) < 1e-12
    for made in (cycle, serial):
        made.destroy()
    alone.destroy()


def test_a_grid_too_small_to_coarsen_is_solved_exactly(comm, rng):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="isolated")
    cycle = VCycle(grid, SHIFT)
    assert len(cycle.levels) == 1
    block = random_orbitals(grid, rng, 2)
    image = cycle.apply(shifted_kinetic(grid, block, 4).local)
    assert largest(comm, image - block.local) < 1e-10
    cycle.destroy()
    grid.destroy()


# ---- Poisson's equation ----------------------------------------------------------------------------------------------


def test_gaussian_in_free_space_converges_with_high_order(comm):
    """Off-centre, so that the walls see monopole to high multipoles; the first grid does not resolve it."""
    spacings, errors = [], []
    centre_v = np.array([0.31, -0.22, 0.47])
    for points in (16, 20, 24, 30):
        grid = Grid(comm, (9.0, 9.0, 9.0), points, order=4, boundary="isolated")
        r = distances(grid, centre_v)
        solver = MultigridPoisson(grid)
        potential = solver.solve(Field(grid, gaussian_charge(r, 0.9)))
        errors.append(largest(comm, potential.local - gaussian_potential(r, 0.9)))
        spacings.append(9.0 / points)
        solver.destroy()
        grid.destroy()
    print(order_table("Poisson by multigrid", spacings, errors))
    assert errors[0] > 1e-4 and errors[-1] < 2e-6
    assert observed_orders(spacings, errors)[-1] > 8.0


def test_neutral_and_charged_densities_agree_with_the_direct_solver(comm):
    grid = Grid(comm, (10.0, 11.0, 10.5), (26, 28, 27), order=4, boundary="isolated")
    density = np.zeros(grid.local_shape)
    for charge, centre_v in ((2.0, (0.5, 0.0, -0.2)), (-1.5, (-0.4, 0.3, 0.1))):
        density += charge * gaussian_charge(distances(grid, centre_v), 1.0)
    field, solver = Field(grid, density), MultigridPoisson(grid)
    exact = Poisson(grid).solve(field)
    assert largest(comm, exact.local) > 0.5
    assert largest(comm, solver.solve(field).local - exact.local) < 3e-5
    assert 1 < solver.iterations < 20
    solver.destroy()
    grid.destroy()


@pytest.mark.parametrize("wave", [(1, 0, 0), (0, 2, -1), (2, 1, 2)])
def test_plane_waves_carry_the_symbol_of_the_stencil(comm, wave):
    grid = Grid(comm, (5.0, 6.0, 6.5), (18, 19, 20), order=4, boundary="periodic")
    waves_v, phase = plane_wave(grid, wave)
    values = np.cos(phase + 0.4)
    weights = kinetic_weights(multigrid.POISSON_ORDER)
    offsets = np.arange(len(weights)) - len(weights) // 2
    symbol = sum(np.cos(k * h * offsets) @ weights / h**2 for k, h in zip(waves_v, grid.spacing_v, strict=True))
    solver = MultigridPoisson(grid)
    potential = solver.solve(Field(grid, values + 0.7))
    assert symbol == pytest.approx(0.5 * waves_v @ waves_v, rel=1e-5)
    assert largest(comm, potential.local - 2 * np.pi / symbol * values) < 1e-8
    assert abs(potential.integrate()) < 1e-9
    solver.destroy()
    grid.destroy()


def test_no_charge_no_potential(grid):
    solver = MultigridPoisson(grid)
    assert largest(grid.comm, solver.solve(Field(grid)).local) == 0.0
    solver.destroy()


def test_the_same_on_one_rank_and_from_call_to_call(grid, serial_comm, rng):
    alone = on_one_rank(grid, serial_comm)
    z, y, x = grid.local_coordinates
    density = Field(grid, np.exp(-(x**2 + (y - 0.4) ** 2 + z**2)) * (1.0 + 0.3 * x))
    solver, serial = MultigridPoisson(grid), MultigridPoisson(alone)
    first = solver.solve(density).local
    solver.solve(random_field(grid, rng))
    assert largest(grid.comm, solver.solve(density).local - first) == 0.0
    reference = serial.solve(Field(alone, everywhere(density)))
    assert largest(grid.comm, first - local_part(grid, reference.local)) < 1e-8
    for made in (solver, serial):
        made.destroy()
    alone.destroy()


def test_the_potential_is_the_derivative_of_the_energy(grid, rng):
    """Symmetric to the accuracy of the solve and of the multipoles on the walls."""
    z, y, x = grid.local_coordinates
    f = Field(grid, np.exp(-1.5 * (x**2 + (y - 0.4) ** 2 + z**2)))
    g = Field(grid, np.exp(-1.2 * ((x - 0.5) ** 2 + y**2 + (z + 0.3) ** 2)) * (1.0 - x))
    solver = MultigridPoisson(grid)
    assert f.inner(solver.solve(g)) == pytest.approx(g.inner(solver.solve(f)), rel=1e-6)
    solver.destroy()


def test_unsolved_equation_is_an_error(grid, rng, monkeypatch):
    monkeypatch.setattr(multigrid, "MAX_ITERATIONS", 1)
    solver = MultigridPoisson(grid)
    with pytest.raises(ConvergenceError, match=r"1 multigrid iterations.*needed.*grid\.poisson = 'direct'"):
        solver.solve(random_field(grid, rng))
    solver.destroy()


# ---- multipoles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angular", [0, 1, 2, 5])
def test_kernel_is_legendres_polynomial_of_the_angle(angular, rng):
    r, s = rng.normal(size=(2, 3))
    exponents = np.arange(angular + 1)
    powers = [np.multiply.outer(np.outer(v[2] ** exponents, v[1] ** exponents), v[0] ** exponents) for v in (r, s)]
    value = powers[0].ravel() @ legendre_kernel(angular).reshape((angular + 1) ** 3, -1) @ powers[1].ravel()
    lengths = np.linalg.norm(r) * np.linalg.norm(s)
    assert value == pytest.approx(lengths**angular * legval(r @ s / lengths, np.eye(angular + 1)[angular]))


def test_potential_outside_two_charges(comm):
    grid = Grid(comm, (9.0, 10.0, 9.5), (24, 26, 25), order=4, boundary="isolated")
    centres = np.array([[0.5, 0.2, -0.3], [-0.4, -0.3, 0.5]])
    charges, width = (1.0, -0.7), 0.8
    density = sum(q * gaussian_charge(distances(grid, c), width) for q, c in zip(charges, centres, strict=True))
    multipoles = Multipoles(grid, 10)
    z, y, x = np.array([4.75, 5.0]), np.linspace(-5, 5, 4), np.linspace(-4.5, 4.5, 3)
    result = multipoles.potential(multipoles.moments(Field(grid, density)), z, y, x)
    points = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    exact = sum(q / np.linalg.norm(points - c, axis=-1) for q, c in zip(charges, centres, strict=True))
    assert result == pytest.approx(exact, abs=1e-7)
    assert np.ptp(exact) > 0.01
    grid.destroy()


# ---- the choice ------------------------------------------------------------------------------------------------------


def test_who_uses_multigrid(comm, monkeypatch):
    few = Grid(comm, 5.0, 12, 4)
    assert not uses_multigrid(few)
    monkeypatch.setattr(multigrid, "MULTIGRID_SIZE", few.size)
    assert uses_multigrid(few)
    monkeypatch.setattr(multigrid, "MULTIGRID_RANKS", comm.size - 1)
    assert not uses_multigrid(few)
    few.destroy()
    for choice, expected in (("direct", False), ("multigrid", True)):
        grid = Grid(comm, 5.0, 12, 4, poisson=choice)
        assert uses_multigrid(grid) is expected
        assert (Poisson(grid).multigrid is not None) is expected
        assert isinstance(ShiftedKineticInverse(grid, 1.0).operator, VCycle) is expected
        grid.destroy()
    with pytest.raises(ConfigError, match=r"grid\.poisson = 'fast'.*allowed.*Use 'auto'"):
        Grid(comm, 5.0, 12, 4, poisson="fast")


def test_one_hierarchy_per_shift_and_all_freed_with_the_grid(comm, rng):
    grid = Grid(comm, 5.0, 12, 4, poisson="multigrid")
    first, second = ShiftedKineticInverse(grid, 1.0), ShiftedKineticInverse(grid, 1.0)
    other, poisson = ShiftedKineticInverse(grid, 2.0), Poisson(grid)
    assert first.operator is second.operator and first.operator is not other.operator
    assert poisson.multigrid is Poisson(grid).multigrid
    block = random_orbitals(grid, rng, 1)
    assert largest(comm, first.apply_orbitals(block).local - first.apply(block.local)) == 0.0
    grid.destroy()
    for owner in (first.operator, other.operator, poisson.multigrid.cycle):
        assert not owner.preconditioner and not owner.finest
