"""Layout of the grid over ranks, coordinates, refusals; verbs of Field and Orbitals against NumPy on whole arrays."""

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.errors import ConfigError
from mpiqmd.grid import Field, Grid, Orbitals
from tests.helpers.oracles import everywhere, local_part, random_field, random_orbitals


def test_blocks_cover_every_point_once(grid):
    owners = np.zeros(grid.shape, dtype=int)
    owners[grid.local_slices] += 1
    total = np.zeros_like(owners)
    grid.comm.Allreduce(owners, total)
    assert (total == 1).all()
    assert grid.comm.allreduce(grid.local_size) == grid.size


def test_shape_is_zyx_and_walls_hold_no_points(grid):
    assert grid.shape == ((13, 12, 11) if grid.is_periodic else (12, 11, 10))
    assert grid.volume_element == pytest.approx(5.0 * 6.0 * 6.5 / (11 * 12 * 13))
    for axis in range(3):
        line, edge = grid.coordinates(axis), grid.cell_v[2 - axis]
        assert np.diff(line) == pytest.approx(grid.spacing_v[2 - axis])
        if grid.is_periodic:
            assert line[0] == pytest.approx(-edge / 2)
        else:
            assert line == pytest.approx(-line[::-1])
            assert line[0] == pytest.approx(-edge / 2 + grid.spacing_v[2 - axis])


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_origin_is_a_point_when_the_count_is_even(comm, boundary):
    grid = Grid(comm, 7.0, 14, order=4, boundary=boundary)
    assert np.abs(grid.coordinates(0)).min() < 1e-14
    grid.destroy()


def test_local_coordinates_are_the_block_of_the_whole(grid):
    for axis, local in enumerate(grid.local_coordinates):
        assert np.array_equal(local.ravel(), grid.coordinates(axis)[grid.local_slices[axis]])
        assert local.ndim == 3


@pytest.mark.parametrize(
    "change, words",
    [
        ({"order": 5}, "grid.order"),
        ({"boundary": "open"}, "grid.boundary"),
        ({"cell": (5.0, -1.0, 5.0)}, "grid.cell"),
        ({"cell": np.nan}, "grid.cell"),
        ({"points": 9, "order": 8}, "at least 10 points"),
    ],
)
def test_impossible_grids_are_refused(comm, change, words):
    arguments = {"cell": 5.0, "points": 12, "order": 4, "boundary": "periodic"} | change
    with pytest.raises(ConfigError, match=words):
        Grid(comm, **arguments)


def test_more_ranks_than_stencils_is_refused(comm):
    if comm.size in (1, 2, 4):
        pytest.skip("two stencils fit along each of y and z")
    with pytest.raises(ConfigError, match=f"{comm.size} ranks cannot share"):
        Grid(comm, 5.0, (40, 8, 8), order=6, boundary="isolated")


def test_field_verbs_equal_numpy_on_the_whole(grid, rng):
    f, g = random_field(grid, rng), random_field(grid, rng)
    whole_f, whole_g = everywhere(f), everywhere(g)
    assert f.integrate() == pytest.approx(grid.volume_element * whole_f.sum(), rel=1e-12)
    assert f.inner(g) == pytest.approx(grid.volume_element * (whole_f * whole_g).sum(), rel=1e-12)
    assert f.norm() == pytest.approx(np.sqrt(grid.volume_element * (whole_f**2).sum()), rel=1e-12)
    copy = f.copy()
    copy.local += 1.0
    assert np.array_equal(everywhere(f), whole_f)


def test_orbitals_verbs_equal_numpy_on_the_whole(grid, rng):
    a, b, v = random_orbitals(grid, rng, 3), random_orbitals(grid, rng, 2), random_field(grid, rng)
    coefficients = rng.normal(size=(3, 4))
    flat_a, flat_b, flat_v = everywhere(a).reshape(3, -1), everywhere(b).reshape(2, -1), everywhere(v).ravel()
    dv = grid.volume_element
    assert a.gram(b) == pytest.approx(dv * flat_a @ flat_b.T, abs=1e-12)
    assert a.gram() == pytest.approx(dv * flat_a @ flat_a.T, abs=1e-12)
    assert a.norms() == pytest.approx(np.sqrt(dv * (flat_a**2).sum(axis=1)))
    assert a.matrix_elements(v, block=97) == pytest.approx(dv * (flat_a * flat_v) @ flat_a.T, abs=1e-12)
    assert everywhere(a.combine(coefficients)).reshape(4, -1) == pytest.approx(coefficients.T @ flat_a)
    weights = np.array([2.0, 0.5, 1.0])
    assert everywhere(a.density(weights)).ravel() == pytest.approx(weights @ flat_a**2)
    assert a.gather_everywhere() == pytest.approx(everywhere(a))


def test_numbers_are_the_same_on_every_rank(grid, rng):
    a, v = random_orbitals(grid, rng, 3), random_field(grid, rng)
    for numbers in (a.gram(), a.norms(), a.matrix_elements(v), np.array([v.integrate(), v.norm()])):
        of_rank_0 = grid.comm.bcast(numbers, root=0)
        assert np.array_equal(numbers, of_rank_0)


def test_gather_is_none_off_rank_0_and_undoes_distribution(grid, rng):
    whole = rng.normal(size=grid.shape)
    gathered = Field(grid, local_part(grid, whole)).gather()
    verdict = np.array_equal(gathered, whole) if grid.comm.rank == 0 else gathered is None
    assert grid.comm.allreduce(verdict, op=MPI.LAND)


def test_truth_value_is_an_error(grid):
    with pytest.raises(TypeError, match="truth value"):
        bool(Field(grid))
    with pytest.raises(TypeError, match="truth value"):
        bool(Orbitals.zeros(grid, 2))


def test_zeros_and_select(grid, rng):
    assert Orbitals.zeros(grid, 3).norms() == pytest.approx(np.zeros(3))
    block = random_orbitals(grid, rng, 4)
    assert block.select([2, 0]).norms() == pytest.approx(block.norms()[[2, 0]])
    assert np.shares_memory(block.select(slice(1, 3)).local, block.local)
