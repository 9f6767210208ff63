"""Errors of several models as those of one: root mean squares by numbers, the largest of all, one verdict."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.pipeline.train_windows import ENOUGH_OF_ONE, with_share_of_validation
from mpiqmd.rom.error_statistics import Errors, statistics
from mpiqmd.rom.pooled import pooled_notes
from mpiqmd.rom.verdict import finding_on_model

pytestmark = pytest.mark.serial
RNG = np.random.default_rng(4)


def errors_of(count: int, size: float) -> Errors:
    """Random errors of so many geometries of four atoms."""
    return Errors(1e-2 * size * RNG.normal(size=count), size * RNG.normal(size=(count, 4, 3)), np.full(count, np.nan))


def notes_of(errors: Errors, **changes: object) -> dict:
    """What a model notes of its errors."""
    found = statistics(errors, 0.0)
    kept = {"unseen": found, "training": found, "dynamics": found, "worst": None, "online": "learned"}
    return {"errors": kept, "verdict": {"energy_error": 1e-5, "force_error": 2e-5}} | changes


def test_pooled_statistics_are_those_of_all_geometries_together():
    one, other = errors_of(30, 1e-5), errors_of(25, 1.2e-5)
    both = statistics(
        Errors(*(np.concatenate([getattr(each, name) for each in (one, other)]) for name in ("energies_s", "forces_sav",
                                                                                             "estimates_s"))), 0.0
    )  # fmt: skip
    pooled = pooled_notes([notes_of(one), notes_of(other)])
    found = pooled["errors"]["unseen"]
    assert found["count"] == 55 and found["unanswered"] == 0
    for name in ("energy", "force"):
        for key in ("rms", "largest"):
            assert found[name][key] == pytest.approx(both[name][key], rel=1e-12)


def test_enough_geometries_in_all_windows_prove_what_few_in_each_do_not():
    few = [notes_of(errors_of(20, 1e-5)) for _ in range(3)]
    assert "few" in finding_on_model(few[0], "learned").words
    whole = finding_on_model(pooled_notes(few), "learned")
    assert whole.good and "60 unseen geometries" in whole.words and "few" not in whole.words


def test_what_does_not_belong_together_is_not_pooled():
    good = notes_of(errors_of(20, 1e-5))
    for other in ({}, notes_of(errors_of(20, 1e-5), verdict={"energy_error": 1.0, "force_error": 1.0})):
        assert pooled_notes([good, other]) == {}
    assert pooled_notes([]) == {}
    on_grid = notes_of(errors_of(20, 1e-5))
    on_grid["errors"]["online"] = "grid"
    assert pooled_notes([good, on_grid]) == {}
    warned = pooled_notes([good, notes_of(errors_of(20, 1e-5), full_warnings=["walls"])])
    assert finding_on_model(warned, "learned").good is False


@pytest.mark.parametrize(("asked", "distinct", "share"), [(50, 2, 25), (50, 7, 20), (200, 7, 29), (10, 3, 10), (0, 3, 0)])
def test_windows_share_the_unseen_geometries(settings, asked, distinct, share):
    settings = settings(asked)
    assert with_share_of_validation(settings, distinct).train.validation == share
    assert share <= max(asked, ENOUGH_OF_ONE)


@pytest.fixture
def settings(tmp_path):
    """Makes an input that asks for so many unseen geometries."""
    from mpiqmd.config import load_input
    from tests.helpers.workplace import READ_WATER, with_keys

    def made(asked):
        path = tmp_path / "water.toml"
        path.write_text(with_keys(READ_WATER, train={"validation": asked}))
        return load_input(path)

    return made
