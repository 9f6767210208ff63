"""What many errors come to."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.rom.error_statistics import Errors, statistics

pytestmark = pytest.mark.serial


@pytest.fixture
def errors(rng):
    """Of ten geometries of two atoms, the fourth without an answer."""
    energies_s, forces_sav = 1e-5 + 1e-6 * rng.normal(size=10), 1e-4 * rng.normal(size=(10, 2, 3))
    energies_s[3], forces_sav[3] = np.nan, np.nan
    return Errors(energies_s, forces_sav, np.full(10, np.nan))


def test_they_are_those_of_the_answered_geometries(errors):
    found, known = statistics(errors, 1e-5), np.delete(np.arange(10), 3)
    forces_sav, about_s = errors.forces_sav[known], errors.energies_s[known] - 1e-5
    assert (found["count"], found["unanswered"], found["estimate"]) == (10, 1, None)
    assert found["energy"]["mean"] == pytest.approx(1e-5 + about_s.mean())
    assert found["energy"]["rms"] == pytest.approx(np.sqrt((about_s**2).mean()))
    assert found["energy"]["largest"] == pytest.approx(np.abs(about_s).max())
    assert found["force"]["rms"] == pytest.approx(np.sqrt((forces_sav**2).mean()))
    assert found["force"]["largest"] == found["force"]["quantiles"]["1"] == np.abs(forces_sav).max()
    assert found["force"]["quantiles"]["0.5"] == np.median(np.abs(forces_sav).max(axis=(1, 2)))


def test_a_constant_offset_is_no_error_but_is_told(errors):
    moved = Errors(errors.energies_s + 1.0, errors.forces_sav, errors.estimates_s)
    one, other = statistics(errors, errors.offset), statistics(moved, moved.offset)
    assert other["energy"]["rms"] == pytest.approx(one["energy"]["rms"], abs=1e-12)
    assert other["energy"]["mean"] == pytest.approx(one["energy"]["mean"] + 1.0)


def test_the_worst_come_first_and_only_with_an_answer(errors):
    worst = errors.worst(20)
    assert sorted(worst) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (np.diff(errors.largest_s[worst]) <= 0.0).all()


def test_no_geometries_and_no_answers():
    none = Errors(np.empty(0), np.empty((0, 2, 3)), np.empty(0))
    assert statistics(none, 0.0) is None and none.offset == 0.0
    lost = Errors(np.full(2, np.nan), np.full((2, 2, 3), np.nan), np.full(2, np.nan))
    assert statistics(lost, 0.0) == {"count": 2, "unanswered": 2, "energy": None, "force": None, "estimate": None}
