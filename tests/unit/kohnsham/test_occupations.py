"""Fermi-Dirac occupations: count, range, order, variational consistency with the entropy, limits."""

import numpy as np
import pytest

from mpiqmd.errors import ConfigError
from mpiqmd.kohnsham.occupations import entropy, fermi_occupations

pytestmark = pytest.mark.serial

LEVELS = np.array([-0.9, -0.45, -0.31, -0.25, -0.02, 0.05, 0.05, 0.3])


@pytest.mark.parametrize("temperature", [0.0, 1e-4, 0.01, 0.1, 2.0])
@pytest.mark.parametrize("n_electrons", [2.0, 7.0, 8.0, 11.5, 16.0])
def test_hold_the_electrons_within_zero_and_one_and_decrease(temperature, n_electrons):
    f, _, disorder = fermi_occupations(LEVELS, n_electrons, temperature)
    assert 2 * f.sum() == pytest.approx(n_electrons, abs=1e-11)
    assert f.min() >= 0 and f.max() <= 1
    assert (np.diff(f) <= 1e-14).all()
    assert disorder == pytest.approx(entropy(f)) and disorder >= 0


def test_order_of_the_levels_does_not_matter(rng):
    shuffle = rng.permutation(len(LEVELS))
    for temperature in (0.0, 0.05):
        f, potential, disorder = fermi_occupations(LEVELS, 9.0, temperature)
        g, other, same = fermi_occupations(LEVELS[shuffle], 9.0, temperature)
        assert g == pytest.approx(f[shuffle], abs=1e-13)
        assert (other, same) == pytest.approx((potential, disorder))


def test_they_are_the_fermi_function_of_the_chemical_potential():
    f, potential, _ = fermi_occupations(LEVELS, 8.0, 0.04)
    assert f == pytest.approx(1 / (1 + np.exp((LEVELS - potential) / 0.04)), abs=1e-12)


def test_entropy_is_consistent_with_the_occupations():
    """``dS/df = 2 (ε - μ) / T``: what makes the occupations minimise the free energy."""
    temperature, step = 0.05, 1e-3
    f, potential, _ = fermi_occupations(LEVELS, 8.0, temperature)
    for n in range(len(f)):
        change = step * np.eye(len(f))[n] * min(f[n], 1 - f[n])
        slope = (entropy(f + change) - entropy(f - change)) / (2 * change[n])
        assert slope == pytest.approx(2 * (LEVELS[n] - potential) / temperature, rel=1e-5, abs=1e-5)


def test_free_energy_is_least(rng):
    temperature = 0.05
    f, _, disorder = fermi_occupations(LEVELS, 8.0, temperature)
    least = 2 * f @ LEVELS - temperature * disorder
    for _ in range(20):
        change = rng.normal(size=len(f))
        change -= change.mean()
        g = f + 0.3 * np.minimum(f, 1 - f).min() * change / np.abs(change).max()
        assert 2 * g @ LEVELS - temperature * entropy(g) > least


def test_entropy_is_the_temperature_derivative_of_the_free_energy():
    """``dA/dT = -S`` at fixed levels and electrons."""

    def free_energy(temperature):
        f, _, disorder = fermi_occupations(LEVELS, 8.0, temperature)
        return 2 * f @ LEVELS - temperature * disorder

    _, _, disorder = fermi_occupations(LEVELS, 8.0, 0.06)
    assert disorder > 0.1
    assert (free_energy(0.06 + 1e-5) - free_energy(0.06 - 1e-5)) / 2e-5 == pytest.approx(-disorder, rel=1e-6)


def test_cold_limit_is_integer_filling():
    cold, _, disorder = fermi_occupations(LEVELS, 8.0, 1e-4)
    frozen, potential, nothing = fermi_occupations(LEVELS, 8.0, 0.0)
    assert frozen == pytest.approx([1, 1, 1, 1, 0, 0, 0, 0], abs=0)
    assert cold == pytest.approx(frozen, abs=1e-12)
    assert disorder == pytest.approx(0.0, abs=1e-10) and nothing == 0.0
    assert LEVELS[3] < potential < LEVELS[4]


def test_degenerate_highest_level_is_shared_at_zero_temperature():
    f, _, disorder = fermi_occupations(LEVELS, 11.0, 0.0)
    assert f == pytest.approx([1, 1, 1, 1, 1, 0.25, 0.25, 0])
    assert disorder == pytest.approx(-4 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


def test_hot_limit_is_uniform():
    f, _, disorder = fermi_occupations(LEVELS, 8.0, 1e5)
    assert f == pytest.approx(np.full(8, 0.5), abs=1e-5)
    assert disorder == pytest.approx(2 * 8 * np.log(2), rel=1e-8)


def test_entropy_of_empty_and_full_levels_is_zero():
    assert entropy(np.array([0.0, 1.0, 1.0 + 1e-16, -1e-17])) == 0.0
    assert entropy(np.array([0.5])) == pytest.approx(2 * np.log(2))


def test_all_levels_full():
    f, potential, disorder = fermi_occupations(LEVELS, 16.0, 0.02)
    assert f == pytest.approx(np.ones(8)) and disorder == 0.0 and potential > LEVELS.max()


@pytest.mark.parametrize("temperature", [0.0, 0.01])
def test_too_many_electrons_are_refused(temperature):
    with pytest.raises(ConfigError, match="do not fit"):
        fermi_occupations(LEVELS, 16.5, temperature)
