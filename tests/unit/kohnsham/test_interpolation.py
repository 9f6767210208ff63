"""Starting orbitals between known geometries: what is known comes back, more of it is better, and little room is enough."""

import numpy as np
import pytest

from mpiqmd.grid import Grid
from mpiqmd.kohnsham.interpolation import FEWEST, OrbitalInterpolation, kriging_weights
from tests.helpers.oracles import random_orbitals
from tests.helpers.smooth_orbitals import distance, smooth_family


@pytest.fixture
def grid(comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="isolated")
    yield grid
    grid.destroy()


def scattered(rng, count):
    """Geometries about a mean one, in no order."""
    positions_sav = np.zeros((count, 2, 3))
    positions_sav[:, 0, 0], positions_sav[:, 1, 2] = rng.uniform(-0.4, 0.4, size=(2, count))
    return positions_sav


def interpolating(grid, orbitals, positions_sav, room=1e9):
    interpolation = OrbitalInterpolation(grid, room)
    for positions_av in positions_sav:
        interpolation.add(positions_av, orbitals(positions_av))
    return interpolation


@pytest.mark.serial
def test_weights_sum_to_one_and_find_what_is_known(rng):
    known_sav = scattered(rng, 8)
    weights_s = kriging_weights(known_sav, known_sav[3])
    assert weights_s.sum() == pytest.approx(1.0)
    assert weights_s @ known_sav[:, 0, 0] == pytest.approx(known_sav[3, 0, 0], abs=1e-3)


@pytest.mark.serial
def test_the_only_known_geometry_has_all_the_weight(rng):
    assert kriging_weights(scattered(rng, 1), np.ones((2, 3))) == pytest.approx([1.0])


def test_error_falls_with_what_is_known(grid, rng):
    orbitals, unseen_sav, known_sav = smooth_family(grid, rng), scattered(rng, 4), scattered(rng, 40)
    errors = []
    for count in (1, 6, 40):
        known = interpolating(grid, orbitals, known_sav[:count])
        errors.append(max(distance(known.predict(each), orbitals(each)) for each in unseen_sav))
    assert errors[1] < 0.4 * errors[0] and errors[2] < 0.2 * errors[1], errors


def test_principal_blocks_stand_for_all(grid, rng):
    orbitals, known_sav, unseen_sav = smooth_family(grid, rng), scattered(rng, 60), scattered(rng, 4)
    room = 20 * 4 * 3 * grid.size / grid.comm.size
    little, ample = (interpolating(grid, orbitals, known_sav, each) for each in (room, 1e9))
    assert len(little) == len(ample) == 60 and little.n_blocks <= 20 and ample.n_blocks == 60
    for unseen_av in unseen_sav:
        assert distance(little.predict(unseen_av), orbitals(unseen_av)) < 0.02
        assert distance(little.predict(unseen_av), ample.predict(unseen_av)) < 0.02


def test_some_blocks_are_kept_whatever_the_room(grid, rng):
    known = interpolating(grid, smooth_family(grid, rng), scattered(rng, 20), room=0.0)
    assert len(known) == 20 and 1 < known.n_blocks <= FEWEST


def test_geometries_that_repeat_need_few_blocks(grid, rng):
    orbitals, positions_av = smooth_family(grid, rng), scattered(rng, 1)[0]
    known = interpolating(grid, orbitals, [positions_av] * 20, room=0.0)
    assert len(known) == 20 and distance(known.predict(positions_av), orbitals(positions_av)) < 1e-3


def test_nothing_known_predicts_nothing(grid):
    assert OrbitalInterpolation(grid).predict(np.zeros((2, 3))) is None


def test_another_number_of_orbitals_is_let_be(grid, rng):
    interpolation = interpolating(grid, smooth_family(grid, rng), scattered(rng, 2))
    interpolation.add(np.zeros((2, 3)), random_orbitals(grid, rng, 2))
    assert len(interpolation) == 2 and len(interpolation.predict(np.zeros((2, 3)))) == 3
