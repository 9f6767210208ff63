"""Pair products: packing, and which of them a symmetry decouples."""

import numpy as np
import pytest

from mpiqmd.rom.compiled.pairs import PairProducts

pytestmark = pytest.mark.serial

CHARACTERS = np.array([[1, 1], [-1, 1], [1, -1], [1, 1], [-1, -1], [-1, 1], [1, -1]])
SECTORS = (CHARACTERS[:, 1] < 0).astype(int)


@pytest.fixture
def pairs():
    return PairProducts(SECTORS, CHARACTERS)


def block_matrix(rng):
    matrix = rng.normal(size=(7, 7))
    return (matrix + matrix.T) * (SECTORS[:, None] == SECTORS)


def test_only_pairs_inside_sectors_occur_once(pairs):
    assert len(pairs) == 4 * 5 // 2 + 3 * 4 // 2
    assert (SECTORS[pairs.rows] == SECTORS[pairs.columns]).all()
    assert len({tuple(sorted(pair)) for pair in zip(pairs.rows, pairs.columns, strict=True)}) == len(pairs)


def test_packing_a_block_matrix_loses_nothing(pairs, rng):
    matrix = block_matrix(rng)
    np.testing.assert_array_equal(pairs.matrix(pairs.packed(matrix)), matrix)


def test_coefficients_reproduce_the_trace(pairs, rng):
    one, other = block_matrix(rng), block_matrix(rng)
    assert pairs.coefficients(one) @ pairs.packed(other) == pytest.approx(2.0 * np.sum(one * other), rel=1e-14)


def test_classes_have_one_parity_each_and_cover_all_pairs(pairs):
    parities = CHARACTERS[pairs.rows] * CHARACTERS[pairs.columns]
    seen = [tuple(parities[part][0]) for part in pairs.classes]
    assert len(set(seen)) == len(seen) == 2
    assert all((parities[part] == parities[part][0]).all() for part in pairs.classes)
    assert [part.start for part in pairs.classes[1:]] == [part.stop for part in pairs.classes[:-1]]
    assert (pairs.classes[0].start, pairs.classes[-1].stop) == (0, len(pairs))


def test_without_mirrors_there_is_one_class(rng):
    pairs = PairProducts(np.zeros(5, int), np.zeros((5, 0), int))
    assert pairs.classes == [slice(0, 15)]
    matrix = rng.normal(size=(5, 5))
    np.testing.assert_array_equal(pairs.matrix(pairs.packed(matrix + matrix.T)), matrix + matrix.T)
