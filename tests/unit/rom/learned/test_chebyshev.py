"""Chebyshev tables: exact on polynomials, geometric convergence, derivatives, and the compiled form of the same."""

import numpy as np
import pytest

from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.local_ions import polynomial_rows

pytestmark = pytest.mark.serial

BOX = ChebyshevBox(np.array([0.8, -0.4, 0.1]), np.array([1.4, 0.3, 0.9]), 6)
PLANE = ChebyshevBox(np.array([0.8, -0.4, 0.0]), np.array([1.4, 0.3, 0.0]), 6)
INSIDE = np.array([1.13, -0.21, 0.44])


def polynomial(r):
    x, y, z = r
    return np.array([x**5 * y**2 - 3 * z**4 * x, y**5 * z**5 + 2.0])


def polynomial_gradient(r):
    x, y, z = r
    return np.array([[5 * x**4 * y**2 - 3 * z**4, 0], [2 * x**5 * y, 5 * y**4 * z**5], [-12 * z**3 * x, 5 * y**5 * z**4]])


def table(box, function):
    return box.coefficients(np.array([function(node) for node in box.nodes()]))


def test_exact_on_polynomials_and_their_derivatives():
    value, gradient = BOX.evaluate(table(BOX, polynomial), INSIDE)
    np.testing.assert_allclose(value, polynomial(INSIDE), rtol=1e-13)
    np.testing.assert_allclose(gradient, polynomial_gradient(INSIDE), rtol=1e-11, atol=1e-13)


def test_a_degree_more_is_not_exact():
    value, _ = BOX.evaluate(table(BOX, lambda r: np.array([r[0] ** 6])), INSIDE)
    assert 1e-9 < abs(value[0] - INSIDE[0] ** 6) < 1e-3


def test_error_falls_geometrically_for_a_coulomb_like_function():
    centre = np.array([0.0, 0.2, 0.5])
    errors = []
    for n in (4, 7, 10):
        box = ChebyshevBox(BOX.lower_v, BOX.upper_v, n)
        value, _ = box.evaluate(table(box, lambda r: np.array([1.0 / np.linalg.norm(r - centre)])), INSIDE)
        errors.append(abs(value[0] - 1.0 / np.linalg.norm(INSIDE - centre)))
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert (ratios > 10).all() and errors[0] > 1e-7


def test_still_directions_have_no_nodes_and_no_slope():
    assert PLANE.axes == [0, 1] and len(PLANE.nodes()) == 36
    position = np.array([1.1, 0.1, 0.0])
    value, gradient = PLANE.evaluate(table(PLANE, polynomial), position)
    np.testing.assert_allclose(value, polynomial(position), rtol=1e-13)
    assert (gradient[2] == 0).all()


@pytest.mark.parametrize("box", [BOX, PLANE], ids=["space", "plane"])
def test_compiled_form_equals_numpy(box, rng):
    coefficients = rng.normal(size=(*(6,) * len(box.axes), 5))
    position = np.where(box.upper_v > box.lower_v, INSIDE, box.lower_v)
    value, gradient = box.evaluate(coefficients, position)
    rows = polynomial_rows(position[None], box, box.degrees_kv())[0, :, : 6 ** len(box.axes)]
    found = rows @ coefficients.reshape(-1, 5)
    np.testing.assert_allclose(found[0], value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[1:], gradient, rtol=1e-12, atol=1e-11)


def test_excess_is_the_distance_beyond_the_wall():
    assert BOX.excess(INSIDE) == 0.0
    assert BOX.excess(INSIDE + [0.5, 0, 0]) == pytest.approx(0.23)
    assert PLANE.excess(np.array([0.7, 0.0, 5.0])) == pytest.approx(0.1)
