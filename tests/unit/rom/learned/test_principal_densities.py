"""Principal components of functions and all their images, from one point of each orbit."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.chosen_points import global_points
from mpiqmd.grid.images import image, image_points
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.learned.principal_densities import Closed, principal_densities
from mpiqmd.rom.learned.species import Species
from mpiqmd.rom.learned.training_set import Operation, TrainingSet

SHEET = np.array([[1.25, 0, 0], [-1.25, 0, 0], [2.3, 1.7, 0], [2.3, -1.7, 0], [-2.3, 1.7, 0], [-2.3, -1.7, 0]])
ETHENE = Molecule(("C", "C", "H", "H", "H", "H"), SHEET)


def make(comm, boundary="isolated"):
    """A grid, smooth functions on it, and the eight species of a flat molecule."""
    grid = Grid(comm, (9.0, 8.0, 7.0), (12, 10, 8), 4, boundary)
    z, y, x = grid.local_coordinates
    shapes = np.random.default_rng(1).normal(size=(5, 6))
    local = np.array(
        [np.exp(-(x**2 + y**2 + z**2) / 6) * np.cos(a * x + b * y + c * z + d) * (1 + e * x * z) for a, b, c, d, e, _ in shapes]
    )
    operations = [Operation(g, np.eye(2)) for g in grid_symmetries(ETHENE)]
    return grid, Orbitals(grid, local), Species.of(TrainingSet(SHEET[None], np.zeros((1, 2, 1)), operations))


@pytest.mark.parametrize("boundary", ["isolated", "periodic"])
def test_points_go_where_functions_do(comm, boundary):
    grid, _, _ = make(comm, boundary)
    own = global_points(grid, np.arange(grid.local_size))
    numbers = Orbitals(grid, own.astype(float).reshape(1, *grid.local_shape))
    for symmetry in grid_symmetries(ETHENE):
        moved = image(numbers, symmetry.axes, symmetry.signs_v)
        # the value at a point is that from where it came, and these operations are their own inverses
        np.testing.assert_array_equal(moved.matrix_local[0], image_points(grid, own, symmetry.axes, symmetry.signs_v))


def test_axes_are_exchanged_as_images_have_it(comm):
    grid = Grid(comm, (6.0, 6.0, 6.0), (8, 8, 8), 4, "isolated")
    own = global_points(grid, np.arange(grid.local_size))
    where = image_points(grid, own, (1, 2, 0), (1.0, -1.0, 1.0))
    back = image_points(grid, where, (2, 0, 1), (1.0, 1.0, -1.0))
    np.testing.assert_array_equal(back, own)
    assert not np.array_equal(where, own)


def test_components_are_those_of_the_closed_set(comm):
    grid, functions, species = make(comm)
    everywhere = np.arange(grid.local_size)
    found = principal_densities(Closed(grid, everywhere, species), functions.matrix_local.astype(np.float32), 1e-3)
    images = [functions.local, *(image(functions, g.axes, g.signs_v).local for _, g in species.group())]
    closed = Orbitals(grid, np.concatenate(images))
    # each species has one of its eight images' worth of every function
    expected = np.sqrt(np.linalg.eigvalsh(closed.gram())[::-1] / len(images))
    np.testing.assert_allclose(found.values_f, expected[: len(found.values_f)], rtol=1e-4)
    components = Orbitals(grid, found.functions.astype(float).reshape(-1, *grid.local_shape))
    np.testing.assert_allclose(components.gram(), np.eye(len(components)), atol=1e-5)
    seen = components.gram(closed)
    np.testing.assert_allclose((seen**2).sum(axis=0), np.diag(closed.gram()), rtol=1e-5)
    for label, local in zip(found.labels_f, components.local, strict=True):
        for bit, g in enumerate(species.operations):
            sign = -1.0 if label >> bit & 1 else 1.0
            turned = image(Orbitals(grid, local[None]), g.axes, g.signs_v).local[0]
            np.testing.assert_allclose(turned, sign * local, atol=1e-5)
