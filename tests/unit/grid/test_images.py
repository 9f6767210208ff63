"""Mirror images on the grid: exact on functions, an involution, and an isometry."""

from itertools import product

import numpy as np
import pytest

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.reflect import reflect

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
    mirrored = reflect(functions(grid), signs)
    assert Orbitals(grid, mirrored.local - functions(grid, signs).local).norms().max() < 1e-12


@pytest.mark.parametrize("signs", SIGNS)
def test_twice_is_nothing_and_inner_products_stay(grid, signs):
    block = functions(grid)
    mirrored = reflect(block, signs)
    again = reflect(mirrored, signs)
    assert Orbitals(grid, again.local - block.local).norms().max() == 0.0
    assert mirrored.gram() == pytest.approx(block.gram(), abs=1e-12)
    assert mirrored.local is not block.local


def test_other_signs_are_refused(grid):
    with pytest.raises(ValueError, match=r"\+1 or -1"):
        reflect(functions(grid), (1, 0, 1))
