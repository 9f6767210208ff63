"""Band-limited radial functions: what the grid carries is kept exactly, derivatives are those of the values."""

import numpy as np
import pytest
from scipy.special import spherical_jn

from mpiqmd.grid.radial import RadialFunction, band_limited

pytestmark = pytest.mark.serial

MESH = 0.01 * np.arange(1001)
SPACING = 0.3


def gaussian(r, momentum, width):
    return r**momentum * np.exp(-((r / width) ** 2))


@pytest.mark.parametrize("momentum", [0, 1, 2, 3])
def test_a_wide_gaussian_passes_unchanged(momentum):
    width = 1.2
    function = band_limited(MESH, gaussian(MESH, momentum, width), momentum, SPACING)
    r = np.linspace(0.0, 6.0, 1237)
    assert function.reduced(r) == pytest.approx(gaussian(r, 0, width), abs=1e-8)


@pytest.mark.parametrize("momentum", [0, 1, 2])
def test_nothing_is_left_beyond_the_window(momentum):
    """A feature much narrower than the spacing comes back without the waves the grid cannot carry."""
    function = band_limited(MESH, gaussian(MESH, momentum, 0.1), momentum, SPACING)
    r = np.linspace(0.0, function.radius, 4001)
    values = function.reduced(r) * r**momentum
    nyquist = np.pi / SPACING
    waves = np.array([0.3, 1.0, 2.6]) * nyquist
    transform = (spherical_jn(momentum, np.outer(waves, r)) * r**2 * values).sum(axis=1) * (r[1] - r[0])
    exact = np.array([_gaussian_transform(q, momentum, 0.1) for q in waves])
    assert transform[0] == pytest.approx(exact[0], rel=1e-6)
    assert transform[1] == pytest.approx(exact[1], rel=0.01)
    assert abs(transform[2]) < 1e-6 * exact[0] < 1e-3 * exact[2]


def _gaussian_transform(q, momentum, width):
    """``∫ r² r^l exp(-r²/w²) j_l(qr) dr = √π/4 w³ (q w²/2)^l exp(-q²w²/4)``."""
    return np.sqrt(np.pi) / 4 * width**3 * (q * width**2 / 2) ** momentum * np.exp(-((q * width / 2) ** 2))


@pytest.mark.parametrize("momentum", [0, 1, 2])
def test_derivative_against_finite_differences(momentum):
    function = band_limited(MESH, gaussian(MESH, momentum, 0.4), momentum, SPACING)
    r, step = np.linspace(0.013, function.radius - 0.1, 200), 1e-5
    numerical = (function.reduced(r + step) - function.reduced(r - step)) / (2 * step)
    assert np.abs(numerical).max() > 0.1
    # a cubic spline's third derivative jumps at its knots, and the step straddles some of them
    assert function.reduced_derivative(r) == pytest.approx(numerical, abs=1e-6)


def test_smooth_at_the_origin_and_zero_beyond_the_radius():
    function = band_limited(MESH, gaussian(MESH, 0, 0.8), 0, SPACING)
    assert function.reduced_derivative(np.array([0.0]))[0] == pytest.approx(0.0, abs=1e-12)
    beyond = np.array([function.radius, function.radius + 0.3, 50.0])
    assert np.array_equal(function.reduced(beyond), np.zeros(3))
    assert np.array_equal(function.reduced_derivative(beyond), np.zeros(3))
    last = function.reduced(np.array([function.radius - 1e-3]))
    assert abs(last[0]) < 1e-8


def test_any_shape_of_distances():
    function = band_limited(MESH, gaussian(MESH, 1, 0.8), 1, SPACING)
    r = np.linspace(0.0, 9.0, 24)
    assert np.array_equal(function.reduced(r.reshape(2, 3, 4)).ravel(), function.reduced(r))


def test_finer_grids_keep_more():
    narrow = gaussian(MESH, 0, 0.25)
    errors = []
    for spacing in (0.4, 0.3, 0.2, 0.1):
        function = band_limited(MESH, narrow, 0, spacing)
        errors.append(abs(function.reduced(np.array([0.0]))[0] - 1.0))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2 and errors[-1] < 1e-7


def test_spline_interpolates_its_table():
    mesh = np.linspace(0.0, 2.0, 41)
    values = np.cos(mesh) ** 2
    values[-1] = 0.0
    function = RadialFunction(2, mesh, values)
    assert function.reduced(mesh[:-1]) == pytest.approx(values[:-1], abs=1e-14)
    assert function.angular_momentum == 2 and function.radius == 2.0
