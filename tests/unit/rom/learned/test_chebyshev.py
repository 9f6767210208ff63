"""Chebyshev tables: exact on polynomials, geometric convergence, derivatives, and what is outside."""

import numpy as np
import pytest
from numpy.polynomial.chebyshev import chebval3d

from mpiqmd.rom.learned.chebyshev import ChebyshevBox, training_boxes
from mpiqmd.rom.learned.local_ions import polynomial_rows

pytestmark = pytest.mark.serial

BOX = ChebyshevBox(np.array([0.8, -0.4, 0.1]), np.array([1.4, 0.3, 0.9]), (6, 6, 6))
PLANE = ChebyshevBox(np.array([0.8, -0.4, 0.0]), np.array([1.4, 0.3, 0.0]), (6, 6, 6))
INSIDE = np.array([1.13, -0.21, 0.44])


def polynomial(r):
    x, y, z = r
    return np.array([x**5 * y**2 - 3 * z**4 * x, y**5 * z**5 + 2.0])


def polynomial_gradient(r):
    x, y, z = r
    return np.array([[5 * x**4 * y**2 - 3 * z**4, 0], [2 * x**5 * y, 5 * y**4 * z**5], [-12 * z**3 * x, 5 * y**5 * z**4]])


def table(box, function):
    return box.coefficients(np.array([function(node) for node in box.nodes()]))


def evaluate(box, coefficients, position):
    """A tabulated function (K,) at a position, and its gradient (3, K)."""
    degrees_kv = box.degrees_kv()
    rows = polynomial_rows(position[None], box, degrees_kv)[0, :, : len(degrees_kv)]
    found = rows @ coefficients.reshape(len(degrees_kv), -1)
    return found[0], found[1:]


def test_exact_on_polynomials_and_their_derivatives():
    value, gradient = evaluate(BOX, table(BOX, polynomial), INSIDE)
    np.testing.assert_allclose(value, polynomial(INSIDE), rtol=1e-13)
    np.testing.assert_allclose(gradient, polynomial_gradient(INSIDE), rtol=1e-11, atol=1e-13)


def test_a_degree_more_is_not_exact():
    value, _ = evaluate(BOX, table(BOX, lambda r: np.array([r[0] ** 6])), INSIDE)
    assert 1e-9 < abs(value[0] - INSIDE[0] ** 6) < 1e-3


def test_error_falls_geometrically_for_a_coulomb_like_function():
    centre = np.array([0.0, 0.2, 0.5])
    errors = []
    for n in (4, 7, 10):
        box = ChebyshevBox(BOX.lower_v, BOX.upper_v, (n, n, n))
        value, _ = evaluate(box, table(box, lambda r: np.array([1.0 / np.linalg.norm(r - centre)])), INSIDE)
        errors.append(abs(value[0] - 1.0 / np.linalg.norm(INSIDE - centre)))
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert (ratios > 10).all() and errors[0] > 1e-7


def test_still_directions_have_no_nodes_and_no_slope():
    assert PLANE.axes == [0, 1] and len(PLANE.nodes()) == 36
    position = np.array([1.1, 0.1, 0.0])
    value, gradient = evaluate(PLANE, table(PLANE, polynomial), position)
    np.testing.assert_allclose(value, polynomial(position), rtol=1e-13)
    assert (gradient[2] == 0).all()


def test_the_sum_is_that_of_chebyshev_polynomials(rng):
    coefficients = rng.normal(size=(6, 6, 6))
    middle, half = 0.5 * (BOX.lower_v + BOX.upper_v), 0.5 * (BOX.upper_v - BOX.lower_v)
    value, _ = evaluate(BOX, coefficients, INSIDE)
    assert value[0] == pytest.approx(chebval3d(*((INSIDE - middle) / half), coefficients), rel=1e-12)


def excess(box, *positions):
    """How far outside a box positions are."""
    excess_b = np.zeros(len(positions))
    polynomial_rows(np.array(positions), box, box.degrees_kv(), excess_b)
    return excess_b


def test_excess_is_the_distance_beyond_the_wall():
    assert excess(BOX, INSIDE, INSIDE + [0.5, 0, 0]) == pytest.approx([0.0, 0.23])
    assert excess(PLANE, [0.7, 0.0, 5.0]) == pytest.approx([0.1])
    assert excess(BOX, INSIDE + np.nan)[0] == np.inf


def test_wide_boxes_have_as_many_nodes_as_they_need(rng):
    """The same Gaussian in the boxes of atoms that move little, more, and far along one direction."""
    reaches_av = np.array([[0.05, 0.05, 0.05], [0.3, 0.3, 0.3], [0.7, 0.2, 0.3]])
    positions_sav = np.stack([sign * reaches_av for sign in (-1.0, 1.0)])
    boxes = training_boxes(positions_sav, 7, 0.1)
    assert [box.nodes_v for box in boxes] == [(7, 7, 7), (11, 11, 11), (20, 8, 11)]
    assert len(boxes[2].nodes()) == 20 * 8 * 11

    def gaussian(r):
        return np.array([np.exp(-8.0 * (r @ r))])

    for box, reach_v in zip(boxes, reaches_av, strict=True):
        coefficients = table(box, gaussian)
        for place_v in reach_v * rng.uniform(-1, 1, size=(20, 3)):
            assert evaluate(box, coefficients, place_v)[0] == pytest.approx(gaussian(place_v), abs=3e-5)
