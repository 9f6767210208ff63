"""Boxes around nuclei cover exactly the points within the radius, images included, with the right displacements."""

from itertools import product

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.grid.support import boxes

CELL = (5.0, 6.0, 6.5)


@pytest.fixture(params=["isolated", "periodic"])
def grid(request, comm):
    grid = Grid(comm, CELL, (11, 12, 13), order=4, boundary=request.param)
    yield grid
    grid.destroy()


def counted_by_boxes(grid, position_v, radius):
    """How often each local point lies within the radius of the nucleus or an image, from the boxes."""
    count = np.zeros(grid.local_shape, int)
    for box in boxes(grid, position_v, radius):
        count[box.slices] += box.distances <= radius
    return count


def counted_by_force(grid, position_v, radius):
    z, y, x = grid.local_coordinates
    count = np.zeros(grid.local_shape, int)
    reach = range(-3, 4) if grid.is_periodic else range(1)
    for image in product(reach, repeat=3):
        centre = position_v + np.array(image) * grid.cell_v
        squares = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
        count += np.sqrt(squares) <= radius
    return count


@pytest.mark.parametrize("radius", [0.05, 1.3, 2.9, 5.7])
@pytest.mark.parametrize(
    "position_v",
    [(0.0, 0.0, 0.0), (2.4, -2.9, 3.2), (-2.5, 3.0, -3.25), (0.11, 0.93, -0.37), (3.1, 7.7, -11.0)],
    ids=["centre", "corner", "exact corner", "anywhere", "outside"],
)
def test_cover_exactly_the_sphere_and_its_images(grid, position_v, radius):
    position_v = np.array(position_v)
    found, expected = counted_by_boxes(grid, position_v, radius), counted_by_force(grid, position_v, radius)
    assert grid.comm.allreduce(np.array_equal(found, expected)) == grid.comm.size


def test_a_large_sphere_counts_images_several_times(comm):
    grid = Grid(comm, CELL, (11, 12, 13), order=4, boundary="periodic")
    counts = counted_by_boxes(grid, np.zeros(3), 5.7)
    assert comm.allreduce(int(counts.sum())) > 2 * grid.size
    grid.destroy()


def test_displacements_lead_from_the_nucleus_to_the_points(grid):
    position_v = np.array([2.3, -2.8, 0.4])
    for box in boxes(grid, position_v, 2.1):
        for axis, displacement in enumerate((box.z, box.y, box.x)):
            direction = 2 - axis
            points = grid.coordinates(axis)[grid.local_slices[axis]][box.slices[axis]]
            image = (points - displacement.ravel() - position_v[direction]) / grid.cell_v[direction]
            assert image == pytest.approx(np.full(len(points), round(image[0])), abs=1e-12)
            assert grid.is_periodic or round(image[0]) == 0
            assert np.abs(displacement).max() <= 2.1 + 1e-12


def test_nothing_where_the_sphere_reaches_no_point(comm):
    grid = Grid(comm, CELL, (11, 12, 13), order=4, boundary="isolated")
    assert list(boxes(grid, np.array([20.0, 0.0, 0.0]), 2.0)) == []
    grid.destroy()
