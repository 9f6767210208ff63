"""Polynomials of the geometry: which products they are made of, their symmetry species, and their derivatives."""

import numpy as np
import pytest

from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.rom.learned.coordinates import PRICE, AtomCoordinates, PrincipalCoordinates, highest, suitable
from mpiqmd.rom.learned.geometry_kernels import polynomial_pull
from mpiqmd.rom.learned.species import Species, parity
from mpiqmd.sampling.mixtures import sample_geometries
from tests.helpers.tiny_water import TRAINING, UNSEEN, geometry

pytestmark = pytest.mark.serial

WATER = Molecule(("O", "H", "H"), geometry(*TRAINING[0]))
NONE = Species([], np.zeros((1, 1)), np.zeros((9, 9)))
ETHENE = np.array([[0, 1.2, 0], [0, -1.2, 0], [1.7, 2.3, 0], [-1.7, 2.3, 0], [1.7, -2.3, 0], [-1.7, -2.3, 0]], float)
METHANE = 1.2 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], float)
PLAIN, EXCHANGED = (0, 1, 2), (1, 0, 2)
CASES = {
    "three mirrors": (
        ETHENE,
        [
            Symmetry(PLAIN, np.array([-1.0, 1.0, 1.0]), np.array([0, 1, 3, 2, 5, 4])),
            Symmetry(PLAIN, np.array([1.0, -1.0, 1.0]), np.array([1, 0, 4, 5, 2, 3])),
            Symmetry(PLAIN, np.array([1.0, 1.0, -1.0]), np.arange(6)),
        ],
    ),
    "axes exchanged": (
        METHANE,
        [
            Symmetry(PLAIN, np.array([-1.0, -1.0, 1.0]), np.array([0, 2, 1, 4, 3])),
            Symmetry(EXCHANGED, np.array([1.0, 1.0, 1.0]), np.array([0, 1, 2, 4, 3])),
        ],
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def symmetric(request, rng):
    """Species, and moved geometries that are closed under all operations."""
    positions_av, operations = request.param
    over_positions = np.zeros((positions_av.size, positions_av.size))
    for bit, operation in enumerate(operations):
        assert np.allclose(operation.image(positions_av), positions_av)
        moved = np.array([operation.image(unit.reshape(-1, 3)).ravel() for unit in np.eye(positions_av.size)])
        over_positions += 2**bit * 0.5 * (np.eye(positions_av.size) - moved)
    species = Species(operations, np.zeros((1, 1)), over_positions)
    moved_sav = positions_av + rng.uniform(-0.2, 0.2, size=(5, *positions_av.shape))
    return species, np.concatenate([moved_sav, *(g.image(moved_sav) for _, g in species.group())])


def test_complete_polynomials_are_all_products_up_to_their_degree():
    trained_sav = np.array([geometry(*point) for point in TRAINING])
    samples = sample_geometries(trained_sav, make_frame(WATER), 300, seed=2)
    coordinates = PrincipalCoordinates.spanning(samples, 3, NONE)
    polynomials = coordinates.polynomials(highest(coordinates, lambda found: len(found) <= 470))
    positions = geometry(*UNSEEN[0])
    x = polynomials.axes_yx @ positions.ravel() - polynomials.offset_y
    terms = polynomials.terms(positions[None])[0]
    assert len(x) == 3 and np.abs(x).max() < 1.0
    assert terms[0] == 1.0 and np.allclose(terms[1:4], x, rtol=0, atol=1e-14)
    products = [a**i * b**j * c**k for a, b, c in [x] for i, j, k in np.ndindex(13, 13, 13) if i + j + k <= 12]
    assert len(polynomials) == 455
    np.testing.assert_allclose(np.sort(terms), np.sort(products), rtol=1e-11)


def test_many_body_polynomials_pay_for_every_atom(rng):
    samples, order = rng.uniform(-1.0, 1.0, size=(40, 2, 3)), int(3 + PRICE)
    coordinates = AtomCoordinates.spanning(samples, Species([], np.zeros((1, 1)), np.zeros((6, 6))))
    polynomials = coordinates.polynomials(order)
    y = polynomials.axes_yx @ samples[0].ravel() - polynomials.offset_y
    powers = np.array(list(np.ndindex(*[order + 1] * 6)))
    degrees, both = powers.sum(axis=1), powers[:, :3].any(axis=1) & powers[:, 3:].any(axis=1)
    allowed = degrees + PRICE * both <= order
    np.testing.assert_allclose(np.sort(polynomials.terms(samples[:1])[0]), np.sort(np.prod(y ** powers[allowed], axis=1)))
    assert len(polynomials) == coordinates.size(order) == allowed.sum()


def test_terms_are_of_their_species_and_as_many_as_products(symmetric):
    species, closed_sav = symmetric
    coordinates = AtomCoordinates.spanning(closed_sav, species)
    polynomials = coordinates.polynomials(5)
    assert len(polynomials) == coordinates.size(5) and len(set(polynomials.labels_t)) == len(species)
    here = polynomials.terms(closed_sav[:1])[0]
    for bits, operation in species.group():
        there = polynomials.terms(operation.image(closed_sav[:1]))[0]
        np.testing.assert_allclose(there, here * parity(polynomials.labels_t, bits), atol=1e-13)
    # none is made of the others
    products = np.zeros((len(polynomials), len(polynomials)))
    for t, (members, signs) in enumerate(zip(polynomials.members_tg, polynomials.signs_tg, strict=True)):
        np.add.at(products[t], members, signs)
    assert np.linalg.matrix_rank(products) == len(polynomials)


def test_small_molecules_have_complete_polynomials(symmetric):
    species, closed_sav = symmetric
    assert isinstance(suitable(closed_sav, 12, species), AtomCoordinates)
    water = np.array([geometry(*point) for point in TRAINING])
    assert isinstance(suitable(water, 3, NONE), PrincipalCoordinates)


def test_polynomials_are_differentiated_exactly(symmetric, rng):
    species, closed_sav = symmetric
    for coordinates, order in ((AtomCoordinates.spanning(closed_sav, species), 6), (suitable(closed_sav[:, -3:], 9, NONE), 3)):
        polynomials, position = coordinates.polynomials(order), closed_sav[:1, : coordinates.axes_yx.shape[1] // 3]
        weights, step = rng.normal(size=(1, len(polynomials))), 1e-5
        members, lineage = (polynomials.members_tg, polynomials.signs_tg), (polynomials.parents_p, polynomials.factors_p)
        pull_y = polynomial_pull(polynomials.products(position), weights, members, *lineage)[0]
        for x, slope in enumerate(pull_y @ polynomials.axes_yx):
            moved = step * np.eye(position.size)[x].reshape(position.shape)
            after, before = ((polynomials.terms(each) @ weights.T).item() for each in (position + moved, position - moved))
            assert slope == pytest.approx((after - before) / (2.0 * step), rel=1e-6, abs=1e-7)
