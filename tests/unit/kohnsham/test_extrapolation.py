"""Extrapolated density matrices: published coefficients, order, purity, restart."""

import numpy as np
import pytest
from scipy.linalg import expm

from mpiqmd.errors import DataFileError
from mpiqmd.kohnsham.extrapolation import AspcExtrapolation, aspc_coefficients, purify


def rotating(time, generator, n_occupied=2):
    """A smooth path of projectors."""
    orbitals = expm(time * generator)[:, :n_occupied]
    return orbitals @ orbitals.T


@pytest.fixture
def generator(rng):
    matrix = rng.normal(size=(6, 6))
    return matrix - matrix.T


def test_published_coefficients():
    """Kolafa's table for k = 0, 1, 2."""
    assert aspc_coefficients(2) == pytest.approx([2.0, -1.0])
    assert aspc_coefficients(3) == pytest.approx([2.5, -2.0, 0.5])
    assert aspc_coefficients(4) == pytest.approx([2.8, -2.8, 1.2, -0.2])
    assert aspc_coefficients(1) == pytest.approx([1.0])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_prediction_is_second_order(comm, generator, order):
    errors = []
    for step in (0.002, 0.001):
        extrapolation = AspcExtrapolation(comm, 4, order)
        for i in range(order + 2):
            extrapolation.append(rotating(i * step, generator))
        errors.append(np.abs(extrapolation.predict() - rotating((order + 2) * step, generator)).max())
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.3


def test_prediction_is_a_density_matrix(comm, generator):
    extrapolation = AspcExtrapolation(comm, 4, 2)
    for i in range(5):
        extrapolation.append(rotating(0.1 * i, generator))
        predicted = extrapolation.predict()
        assert np.linalg.norm(predicted @ predicted - predicted) < 1e-13
        assert np.trace(predicted) == pytest.approx(2.0, abs=1e-13)
    assert len(extrapolation) == 4


def test_nothing_known_predicts_nothing(comm, generator):
    extrapolation = AspcExtrapolation(comm, 4)
    assert extrapolation.predict() is None
    extrapolation.append(rotating(0.3, generator))
    assert (extrapolation.predict() == rotating(0.3, generator)).all()
    extrapolation.clear()
    assert extrapolation.predict() is None


def test_fractional_occupations_stay_between_zero_and_one(comm, rng):
    orbitals, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    occupations = np.array([1.2, 1.05, 0.7, 0.2, -0.05, -0.1])
    result = purify(comm, (orbitals * occupations) @ orbitals.T, 6.0, integer=False)
    values = np.linalg.eigvalsh(result)
    assert values.min() > -1e-14 and values.max() < 1 + 1e-14
    assert np.trace(result) == pytest.approx(3.0, abs=1e-12)
    untouched = (orbitals * [1, 0.9, 0.8, 0.2, 0.1, 0]) @ orbitals.T
    assert purify(comm, untouched, 6.0, integer=False) == pytest.approx(untouched, abs=1e-12)


def test_restart_is_bitwise(comm, generator):
    whole, first, second = (AspcExtrapolation(comm, 4, 2) for _ in range(3))
    for i in range(3):
        whole.append(rotating(0.1 * i, generator))
        first.append(rotating(0.1 * i, generator))
    second.restore(first.state())
    for i in range(3, 6):
        whole.append(rotating(0.1 * i, generator))
        second.append(rotating(0.1 * i, generator))
        assert (whole.predict() == second.predict()).all()


def test_empty_and_foreign_states(comm):
    extrapolation = AspcExtrapolation(comm, 4)
    extrapolation.restore(AspcExtrapolation(comm, 4).state())
    assert extrapolation.predict() is None
    with pytest.raises(DataFileError, match=r"shape \(2, 3\)"):
        extrapolation.restore({"density_matrices": np.zeros((2, 3))})
