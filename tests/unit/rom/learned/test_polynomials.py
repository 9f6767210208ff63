"""Polynomials of the geometry: all products of its coordinates up to a degree."""

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.rom.learned.polynomials import GeometryPolynomials, within
from mpiqmd.rom.learned.species import Species
from mpiqmd.sampling.mixtures import sample_geometries
from tests.helpers.tiny_water import TRAINING, UNSEEN, geometry

pytestmark = pytest.mark.serial

WATER = Molecule(("O", "H", "H"), geometry(*TRAINING[0]))


def test_polynomials_are_all_products_up_to_their_degree():
    trained_sav = np.array([geometry(*point) for point in TRAINING])
    samples = sample_geometries(trained_sav, make_frame(WATER), 300, seed=2)
    coordinates = GeometryPolynomials.spanning(samples, 3, Species([], np.zeros((1, 1)), np.zeros((9, 9))))
    polynomials = within(coordinates, lambda found: len(found) <= 470)
    positions = geometry(*UNSEEN[0])
    x = polynomials.axes @ positions.ravel() - polynomials.offset
    terms = polynomials.terms(positions[None])[0]
    assert len(x) == 3 and np.abs(x).max() < 1.0
    assert terms[0] == 1.0 and np.allclose(terms[1:4], x, rtol=0, atol=1e-14)
    products = [a**i * b**j * c**k for a, b, c in [x] for i, j, k in np.ndindex(13, 13, 13) if i + j + k <= 12]
    assert polynomials.degree == 12 and len(polynomials) == 455
    np.testing.assert_allclose(np.sort(terms), np.sort(products), rtol=1e-11)
