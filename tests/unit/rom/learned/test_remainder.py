"""What a second-order expansion of the xc energy leaves: third order, with exact derivatives."""

import numpy as np
import pytest

from mpiqmd.kohnsham.functional import Functional
from mpiqmd.rom.learned.remainder import Remainder

pytestmark = pytest.mark.serial


def points(rng, uses_gradient, n=50):
    rho0 = np.exp(rng.uniform(-5, 0.5, size=n))
    slope0 = rho0 * rng.normal(size=(3, n)) if uses_gradient else None
    change, turn = 0.2 * rho0 * rng.uniform(-1, 1, size=n), 0.3 * rho0 * rng.normal(size=(3, n))
    return rho0, slope0, change, turn


@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_derivatives_are_those_of_the_value(name, rng):
    functional = Functional(name)
    rho0, slope0, change, turn = points(rng, functional.uses_gradient)
    remainder = Remainder(functional, rho0, slope0)

    def value(t):
        slope = None if slope0 is None else slope0 + (1 + t) * turn
        return remainder.evaluate(rho0 + (1 + t) * change, slope)

    h = 1e-3
    numeric = (8 * (value(h)[0] - value(-h)[0]) - (value(2 * h)[0] - value(-2 * h)[0])) / (12 * h)
    _, d_rho, d_slope = value(0.0)
    exact = d_rho * change + (0.0 if d_slope is None else (d_slope * turn).sum(axis=0))
    assert np.abs(exact).max() > 1e-6
    np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_falls_with_the_cube_of_the_change(name, rng):
    functional = Functional(name)
    rho0, slope0, change, turn = points(rng, functional.uses_gradient)
    remainder = Remainder(functional, rho0, slope0)
    sizes = []
    for t in (0.4, 0.2, 0.1):
        slope = None if slope0 is None else slope0 + t * turn
        sizes.append(np.abs(remainder.evaluate(rho0 + t * change, slope)[0]).sum())
    orders = np.log2(np.array(sizes[:-1]) / np.array(sizes[1:]))
    assert ((orders > 2.7) & (orders < 3.3)).all()


@pytest.mark.parametrize("name", ["LDA", "PBE"])
def test_vanishes_at_the_reference(name, rng):
    functional = Functional(name)
    rho0, slope0, _, _ = points(rng, functional.uses_gradient)
    value, d_rho, d_slope = Remainder(functional, rho0, slope0).evaluate(rho0, slope0)
    assert np.abs(value).max() < 1e-15 and np.abs(d_rho).max() < 1e-13
    assert d_slope is None or np.abs(d_slope).max() < 1e-13
