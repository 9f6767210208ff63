"""Real solid harmonics: orthonormal on the sphere, harmonic, homogeneous, with exact gradients."""

import numpy as np
import pytest

from mpiqmd.grid.harmonics import solid_harmonic_gradients, solid_harmonics

pytestmark = pytest.mark.serial

MOMENTA = range(4)


def sphere():
    """Directions and weights of a product quadrature that is exact to degree 15."""
    cosines, weights = np.polynomial.legendre.leggauss(8)
    angles = 2 * np.pi * np.arange(16) / 16
    sines = np.sqrt(1 - cosines**2)
    x = (sines[:, None] * np.cos(angles)).ravel()
    y = (sines[:, None] * np.sin(angles)).ravel()
    z = np.repeat(cosines, 16)
    return x, y, z, np.repeat(weights, 16) * 2 * np.pi / 16


def test_orthonormal_on_the_sphere():
    x, y, z, weights = sphere()
    values = np.array([s for momentum in MOMENTA for s in solid_harmonics(momentum, x, y, z)])
    assert len(values) == len(MOMENTA) ** 2
    assert (values * weights) @ values.T == pytest.approx(np.eye(len(values)), abs=1e-13)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_addition_theorem(momentum, rng):
    """``Σ_m S_lm(r)² = (2l + 1) r^2l / 4π`` in every direction."""
    x, y, z = rng.normal(size=(3, 20))
    total = sum(s**2 for s in solid_harmonics(momentum, x, y, z))
    assert total == pytest.approx((2 * momentum + 1) / (4 * np.pi) * (x**2 + y**2 + z**2) ** momentum)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_gradients_against_finite_differences(momentum, rng):
    point = rng.normal(size=(3, 10))
    gradients = solid_harmonic_gradients(momentum, *point)
    assert len(gradients) == 2 * momentum + 1
    step = 1e-5
    for v in range(3):
        ahead, behind = point.copy(), point.copy()
        ahead[v] += step
        behind[v] -= step
        pairs = zip(solid_harmonics(momentum, *ahead), solid_harmonics(momentum, *behind), strict=True)
        numerical = [(plus - minus) / (2 * step) for plus, minus in pairs]
        assert np.array([g[v] for g in gradients]) == pytest.approx(np.array(numerical), abs=1e-8)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_laplacian_vanishes_and_euler_holds(momentum, rng):
    """``r·∇S = l S``, and ``∇·∇S = 0`` by differences of the gradients."""
    point = rng.normal(size=(3, 10))
    values, gradients = solid_harmonics(momentum, *point), solid_harmonic_gradients(momentum, *point)
    for value, gradient in zip(values, gradients, strict=True):
        radial = sum(p * g for p, g in zip(point, gradient, strict=True))
        assert radial == pytest.approx(momentum * value, abs=1e-12)
    step = 1e-5
    divergence = np.zeros((2 * momentum + 1, 10))
    for v in range(3):
        for sign in (1, -1):
            moved = point.copy()
            moved[v] += sign * step
            divergence += sign * np.array([g[v] for g in solid_harmonic_gradients(momentum, *moved)]) / (2 * step)
    assert np.abs(divergence).max() < 1e-8


def test_broadcasts_over_a_box(rng):
    x, y, z = rng.normal(size=(1, 1, 4)), rng.normal(size=(1, 3, 1)), rng.normal(size=(2, 1, 1))
    for momentum in MOMENTA:
        assert all(s.shape == (2, 3, 4) for s in solid_harmonics(momentum, x, y, z))
        assert all(d.shape == (2, 3, 4) for g in solid_harmonic_gradients(momentum, x, y, z) for d in g)
