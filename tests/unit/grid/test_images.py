"""Images on the grid: exact on functions, undone by the inverse, and an isometry."""

from itertools import permutations, product

import numpy as np
import pytest

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.images import image

KEPT = (0, 1, 2)
SIGNS = list(product((1, -1), repeat=3))


def functions(grid, signs=(1, 1, 1)):
    """Two functions without symmetry, periodic in the cell, evaluated at mirrored points."""
    z, y, x = (
        2 * np.pi * s * c / length for s, c, length in zip(signs[::-1], grid.local_coordinates, grid.cell_v[::-1], strict=True)
    )
    first = np.sin(x) + 0.5 * np.cos(2 * y + 0.3) * np.sin(z + 0.1) + 0.2 * np.sin(y - x)
    second = np.exp(np.sin(x + 2 * y) + np.cos(z + 0.7) * np.sin(y))
    return Orbitals(grid, np.stack([first + 0 * (x + y + z), second]))


@pytest.mark.parametrize("signs", SIGNS)
def test_equals_the_function_at_mirrored_points(grid, signs):
    mirrored = image(functions(grid), KEPT, signs)
    assert Orbitals(grid, mirrored.local - functions(grid, signs).local).norms().max() < 1e-12


@pytest.mark.parametrize("signs", SIGNS)
def test_twice_is_nothing_and_inner_products_stay(grid, signs):
    block = functions(grid)
    mirrored = image(block, KEPT, signs)
    again = image(mirrored, KEPT, signs)
    assert Orbitals(grid, again.local - block.local).norms().max() == 0.0
    assert mirrored.gram() == pytest.approx(block.gram(), rel=1e-13, abs=1e-12)
    assert mirrored.local is not block.local


def test_other_signs_are_refused(grid):
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        image(functions(grid), KEPT, (1, 0, 1))


@pytest.fixture(params=["isolated", "periodic"])
def cube(request, comm):
    grid = Grid(comm, 6.0, 14, order=4, boundary=request.param)
    yield grid
    grid.destroy()


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_an_exchange_of_axes_equals_the_function_at_the_points_it_comes_from(cube, axes, signs):
    """``(g φ)(r) = φ(g^-1 r)``, where ``(g r)_v = s_v r_axes[v]``, hence ``r_axes[v] = s_v (g r)_v``."""
    turned = image(functions(cube), axes, signs)
    here = [c for c in cube.local_coordinates[::-1]]
    there = [signs[axes.index(v)] * here[axes.index(v)] for v in range(3)]
    x, y, z = (2 * np.pi * c / 6.0 for c in there)
    first = np.sin(x) + 0.5 * np.cos(2 * y + 0.3) * np.sin(z + 0.1) + 0.2 * np.sin(y - x)
    assert np.abs(turned.local[0] - first).max() < 1e-12
    block = functions(cube)
    assert turned.gram() == pytest.approx(block.gram(), rel=1e-13, abs=1e-12)
    inverse = tuple(axes.index(v) for v in range(3))
    again = image(turned, inverse, [signs[v] for v in inverse])
    assert Orbitals(cube, again.local - block.local).norms().max() == 0.0


def test_sides_that_differ_are_not_exchanged(comm):
    grid = Grid(comm, (6.0, 6.0, 7.0), 14, order=4)
    assert image(functions(grid), (1, 0, 2), (1, 1, 1)).local.shape == (2, *grid.local_shape)
    with pytest.raises(ValueError, match="sides of the grid that differ"):
        image(functions(grid), (2, 1, 0), (1, 1, 1))
    grid.destroy()
