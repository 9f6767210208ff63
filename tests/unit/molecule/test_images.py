"""Nearest images: vectors, neighbours, molecules put together, and geometries that are refused for an image."""

import numpy as np
import pytest

from mpiqmd.errors import GeometryError
from mpiqmd.molecule.images import nearest_image, nearest_neighbours, whole
from mpiqmd.molecule.molecule import FARTHEST, Molecule

pytestmark = pytest.mark.serial

CELL = np.array([8.0, 9.0, 11.0])


def brute_distance(first_v, second_v):
    shifts = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T * CELL
    return np.linalg.norm(first_v - second_v + shifts, axis=1).min()


def test_nearest_image_is_the_shortest_of_all(rng):
    first_av, second_av = rng.uniform(-1, 1, (2, 40, 3)) * CELL * 0.5
    found = np.linalg.norm(nearest_image(first_av - second_av, CELL), axis=1)
    assert found == pytest.approx([brute_distance(a, b) for a, b in zip(first_av, second_av, strict=True)], abs=1e-12)
    assert nearest_image(first_av, None) is first_av


def test_neighbours_count_images(rng):
    positions_av = rng.uniform(-20, 20, (9, 3))
    distances_a, nearest_a = nearest_neighbours(positions_av, CELL)
    every = np.array([[np.linalg.norm(nearest_image(a - b, CELL)) for b in positions_av] for a in positions_av])
    np.fill_diagonal(every, np.inf)
    assert distances_a == pytest.approx(every.min(axis=1), abs=1e-12)
    assert nearest_a.tolist() == every.argmin(axis=1).tolist()


def test_neighbour_of_two_atoms_in_one_place_and_of_a_lone_one():
    distances_a, nearest_a = nearest_neighbours(np.ones((2, 3)), None)
    assert distances_a.tolist() == [0.0, 0.0] and sorted(nearest_a.tolist()) == [0, 1]
    assert nearest_neighbours(np.zeros((1, 3)), CELL)[0].tolist() == [np.inf]


@pytest.mark.parametrize("edge", [8.0, 0.1 + 0.2])
def test_atoms_on_a_wall_are_inside(edge):
    positions_av = np.array([[-1e-17, 0, 0], [edge / 2, 0, 0]])
    assert nearest_neighbours(positions_av, np.full(3, edge))[0] == pytest.approx([edge / 2] * 2)


def test_whole_puts_a_chain_together(rng):
    """A chain longer than the cell, its atoms scattered over images and shuffled, has its bonds back and its first atom."""
    chain_av = np.cumsum(rng.uniform(0.5, 1.2, (12, 3)) * [1, 0.3, 0.2], axis=0)
    order = np.concatenate([[0], 1 + rng.permutation(11)])
    scattered_av = chain_av[order] + rng.integers(-30, 30, (12, 3)) * CELL
    found_av = whole(scattered_av, CELL)
    assert found_av - found_av[0] == pytest.approx(chain_av[order] - chain_av[0], abs=1e-11)
    assert found_av[0] == pytest.approx(scattered_av[0])
    assert whole(scattered_av, None) is scattered_av


def test_a_near_image_is_refused():
    molecule = Molecule(("H", "H"), np.array([[3.95, 0, 0], [-3.95, 0, 0]]))
    molecule.check()
    with pytest.raises(GeometryError, match=r"atoms H1 and H2 are 0.1 bohr apart \(nearest images"):
        molecule.check(np.full(3, 8.0))
    with pytest.raises(GeometryError, match="its own image are 0.2 bohr"):
        Molecule(("H",), np.zeros((1, 3))).check(np.array([5.0, 0.2, 5.0]))


def test_coordinates_without_a_place_are_refused():
    with pytest.raises(GeometryError, match="atom H2 .*1e\\+08"):
        Molecule(("H", "H"), np.array([[0.0] * 3, [2 * FARTHEST, 0, 0]])).check(CELL)


def test_the_nearest_of_many_atoms_is_named():
    """A million pairs in an instant, and the right two atoms."""
    grid_av = np.array(np.meshgrid(*[np.arange(12.0)] * 3)).reshape(3, -1).T
    grid_av[1000] = grid_av[700] + [0.1, 0, 0]
    with pytest.raises(GeometryError, match=r"atoms He701 and He1001 are 0.1 bohr apart; "):
        Molecule(("He",) * len(grid_av), grid_av).check()
