"""Starting orbitals of an MD step: exact where they should be, better than the last ones, and restored on any ranks."""

import numpy as np
import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.grid import Grid
from mpiqmd.hifi.extrapolation import DEFAULT_STEPS, OrbitalExtrapolation, geometry_weights
from tests.helpers.oracles import largest
from tests.helpers.smooth_orbitals import distance, smooth_family


@pytest.fixture
def grid(comm):
    grid = Grid(comm, (5.0, 6.0, 6.5), (11, 12, 13), order=4, boundary="isolated")
    yield grid
    grid.destroy()


def path(t):
    positions = np.zeros((2, 3))
    positions[0, 0], positions[1, 2] = 0.3 * np.sin(t), 0.2 * np.cos(1.7 * t)
    return positions


@pytest.mark.parametrize("rule", DEFAULT_STEPS)
def test_is_much_closer_than_the_last_step(grid, rng, rule):
    orbitals, extrapolation = smooth_family(grid, rng), OrbitalExtrapolation(grid, rule)
    assert extrapolation.predict(path(0.0)) is None
    for step in range(15):
        extrapolation.add(path(0.15 * step), orbitals(path(0.15 * step)))
    exact = orbitals(path(2.25))
    assert distance(extrapolation.predict(path(2.25)), exact) < 0.3 * distance(orbitals(path(2.1)), exact)


def test_geometry_rule_does_not_mind_an_uneven_timestep(grid, rng):
    orbitals, errors = smooth_family(grid, rng), {}
    times = np.cumsum(rng.uniform(0.05, 0.4, size=14))
    for rule in ("geometry", "polynomial"):
        extrapolation = OrbitalExtrapolation(grid, rule)
        for time in times[:-1]:
            extrapolation.add(path(time), orbitals(path(time)))
        errors[rule] = distance(extrapolation.predict(path(times[-1])), orbitals(path(times[-1])))
    assert errors["geometry"] < 0.1 * errors["polynomial"]


@pytest.mark.serial
def test_geometry_weights_sum_to_one_and_find_a_mixture(rng):
    known = rng.normal(scale=0.1, size=(8, 2, 3))
    weights = geometry_weights(known, known[3])
    assert weights.sum() == pytest.approx(1.0)
    assert weights[3] == pytest.approx(1.0, abs=1e-2) and np.abs(np.delete(weights, 3)).max() < 1e-2


@pytest.mark.parametrize("rule", DEFAULT_STEPS)
def test_state_restores_the_prediction(grid, rng, rule):
    orbitals, one = smooth_family(grid, rng), OrbitalExtrapolation(grid, rule, steps=12)
    for step in range(12):
        one.add(path(0.1 * step), orbitals(path(0.1 * step)))
    other = OrbitalExtrapolation(grid, rule, steps=12)
    other.restore(one.state())
    difference = one.predict(path(1.2)).local - other.predict(path(1.2)).local
    assert largest(grid.comm, difference) == 0.0
    one.forget()
    other.restore(one.state())
    assert other.predict(path(1.2)) is None


def test_unknown_rule_is_refused(grid):
    with pytest.raises(ConfigError, match="scf.extrapolation = 'linear' is unknown; allowed: none, geometry"):
        OrbitalExtrapolation(grid, "linear")
