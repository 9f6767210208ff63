"""Functions and all their images from one point of each orbit, and their principal components."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.chosen_points import global_points, values_at
from mpiqmd.grid.images import even_or_odd, image, image_points
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.learned.densities import DensityFunctions, products
from mpiqmd.rom.learned.images import to_images
from mpiqmd.rom.learned.orbits import Orbits
from mpiqmd.rom.learned.principal_densities import principal_densities
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


def test_values_at_images_are_those_of_the_points_there(comm):
    """Fetched from whichever rank has them, and put back."""
    grid, functions, species = make(comm)
    orbits = Orbits(grid, np.arange(grid.local_size), species)
    local = functions.matrix_local
    assert grid.comm.allreduce(int(orbits.weights_q.sum())) == grid.size
    parts = orbits.by_species(local)
    for label in range(len(species)):
        part = functions
        for bit, g in enumerate(species.operations):
            part = even_or_odd(part, g.axes, g.signs_v, -1 if label >> bit & 1 else 1)
        np.testing.assert_allclose(parts[:, label], part.matrix_local[:, orbits.first], atol=1e-14)
        labels = np.full(len(local), label)
        np.testing.assert_allclose(orbits.spread(parts[:, label], labels), part.matrix_local, atol=1e-14)
        chosen = np.random.default_rng(label).integers(grid.size, size=40)
        there = values_at(grid, part.matrix_local, chosen)
        np.testing.assert_allclose(orbits.at(parts[:, label], labels, chosen), there, atol=1e-14)
        overlaps = orbits.overlaps(local, parts[:, label], labels)
        np.testing.assert_allclose(overlaps, functions.gram(part), atol=1e-12)
    values = np.array(parts)
    to_images(values.reshape(len(values), -1), orbits.n_images)
    np.testing.assert_allclose(orbits.everywhere(values), local, atol=1e-13)


def test_points_without_values_are_zero(comm):
    """As where a density is negligible at one image and, by round-off, not at another."""
    grid, functions, species = make(comm)
    some = np.flatnonzero(np.arange(grid.local_size) % 7)
    orbits = Orbits(grid, some, species)
    whole = np.zeros_like(functions.matrix_local)
    whole[:, some] = functions.matrix_local[:, some]
    total = orbits.by_species(functions.matrix_local[:, some])[:, 0]
    expected = Orbitals(grid, whole.reshape(functions.local.shape))
    for g in species.operations:
        expected = even_or_odd(expected, g.axes, g.signs_v, 1)
    np.testing.assert_allclose(total, expected.matrix_local[:, orbits.first], atol=1e-14)


def test_ranks_may_have_no_points(comm):
    """Those that own a far end of a long cell, or images alone."""
    grid, functions, species = make(comm)
    some = np.arange(grid.local_size if comm.rank == 0 else 0)
    orbits = Orbits(grid, some, species)
    values = functions.matrix_local[:, some]
    parts, labels = orbits.by_species(values), np.array([0, 1, 2, 3, 4])
    assert parts.shape == (5, 8, len(orbits.first))
    own = parts[np.arange(5), labels]
    assert orbits.spread(own, labels).shape == values.shape
    chosen = np.arange(0, grid.size, 17)
    assert orbits.at(own, labels, chosen).shape == (5, len(chosen))
    assert np.isfinite(orbits.overlaps(values, own, labels)).all()


def test_densities_at_images_follow_from_the_species_of_modes(comm):
    grid, functions, species = make(comm)
    everywhere = np.arange(grid.local_size)
    orbits = Orbits(grid, everywhere, species)
    labels_k = np.array([0, 3, 3, 6, 5])
    parts = orbits.by_species(functions.matrix_local)[np.arange(5), labels_k]
    modes = Orbitals(grid, orbits.spread(parts, labels_k).reshape(functions.local.shape))
    left, right = np.random.default_rng(2).normal(size=(2, 3, 2, 5))
    found = orbits.everywhere(products(modes, left, right, orbits.first, labels_k, orbits.n_images))
    np.testing.assert_allclose(found, products(modes, left, right, everywhere)[:, 0], atol=1e-12)


def test_components_are_those_of_the_closed_set(comm):
    grid, functions, species = make(comm)
    everywhere = np.arange(grid.local_size)
    orbits = Orbits(grid, everywhere, species)
    parts = orbits.by_species(functions.matrix_local).transpose(1, 0, 2).astype(np.float32)
    found = principal_densities(orbits, parts, 1e-3)
    images = [functions.local, *(image(functions, g.axes, g.signs_v).local for _, g in species.group())]
    closed = Orbitals(grid, np.concatenate(images))
    # each species has one of its eight images' worth of every function
    expected = np.sqrt(np.linalg.eigvalsh(closed.gram())[::-1] / len(images))
    np.testing.assert_allclose(found.values_f, expected[: len(found.values_f)], rtol=1e-4)
    whole = orbits.spread(found.functions.astype(float), found.labels_f)
    components = Orbitals(grid, whole.reshape(-1, *grid.local_shape))
    np.testing.assert_allclose(components.gram(), np.eye(len(components)), atol=1e-5)
    seen = components.gram(closed)
    np.testing.assert_allclose((seen**2).sum(axis=0), np.diag(closed.gram()), rtol=1e-5)


def test_charges_are_integrals_over_the_grid(comm):
    grid, functions, species = make(comm)
    orbits = Orbits(grid, np.arange(grid.local_size), species)
    labels_k, labels_f = np.array([0, 3, 3, 6, 5]), np.array([0, 3, 5])
    parts = orbits.by_species(functions.matrix_local)
    modes = Orbitals(grid, orbits.spread(parts[np.arange(5), labels_k], labels_k).reshape(functions.local.shape))
    shapes = parts[np.arange(3), labels_f].astype(np.float32)
    mean = Field(grid, orbits.spread(parts[4:, 0], np.zeros(1, int)).reshape(grid.local_shape))
    found = DensityFunctions(shapes, np.ones(3), labels_f, orbits, mean)
    orbitals_snk = np.random.default_rng(3).normal(size=(4, 2, 5))
    density = SPIN_WEIGHT * products(modes, orbitals_snk, orbitals_snk, np.arange(grid.local_size))[:, 0]
    change = Orbitals(grid, (density - mean.local.ravel()).reshape(-1, *grid.local_shape))
    expected = change.gram(found.block(slice(0, 3)))
    np.testing.assert_allclose(found.charges(modes, labels_k, orbitals_snk), expected, atol=5e-6)  # single precision
    np.testing.assert_allclose(found.overlaps(change), expected, atol=1e-10)
