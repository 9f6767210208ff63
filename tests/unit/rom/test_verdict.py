"""The sentence at the end of a training: good enough, or the remedy that fits the errors."""

from __future__ import annotations

import numpy as np
import pytest

from mpiqmd.rom.error_statistics import Errors, statistics
from mpiqmd.rom.verdict import LARGEST_PER_RMS, Tolerance, finding_on_model, stored_verdict, verdict, warning_on_loading

pytestmark = pytest.mark.serial
TOLERANCE = Tolerance(1e-5, 2e-5)


def of(energy, force, count=60, unanswered=0):
    """Statistics of as many geometries, all errors of one size."""
    signs_s = np.where(np.arange(count) % 2, 1.0, -1.0)
    energies_s = energy * signs_s
    energies_s[:unanswered] = np.nan
    forces_sav = force * np.ones((count, 3, 3)) * signs_s[:, None, None]
    return statistics(Errors(energies_s, forces_sav, np.full(count, np.nan)), 0.0)


def errors(trained, unseen, on_grid=None, trained_on_grid=None):
    """What a training keeps in its model, of pairs of energy and force errors."""
    worst = on_grid and {
        "unseen": {"in_use": unseen, "on_grid": on_grid},
        "training": {"in_use": trained, "on_grid": trained_on_grid or trained},
    }
    return {"online": "learned", "offset": 0.0, "training": trained, "unseen": unseen, "worst": worst}


@pytest.mark.parametrize(
    ("energy", "force", "good"),
    [(0.99e-5, 1.98e-5, True), (1.01e-5, 0.0, False), (0.0, 2.02e-5, False)],
)
def test_energy_and_force_must_both_be_tolerable(energy, force, good):
    judged = verdict(errors(of(0.0, 0.0), of(energy, force)), TOLERANCE)
    assert judged["good"] is good and (judged["energy_error"], judged["force_error"]) == TOLERANCE
    assert judged["words"].startswith("good to" if good else "warning: NOT good enough")
    assert f"{energy:.1e} Ha and {force:.1e} Ha/bohr" in judged["words"] and "60 unseen geometries" in judged["words"]


@pytest.mark.parametrize(("share", "good"), [(0.99, True), (1.01, False)])
def test_one_error_may_be_so_much_larger_than_the_rms(share, good):
    unseen = of(0.0, 1e-6)
    unseen["force"]["largest"] = share * LARGEST_PER_RMS * TOLERANCE.force
    assert verdict(errors(of(0.0, 0.0), unseen), TOLERANCE)["good"] is good


def test_what_the_grid_does_not_have_comes_from_the_compilation():
    judged = verdict(errors(of(1e-7, 1e-6), of(1e-3, 1e-2), on_grid=of(1e-6, 1e-5, count=4)), TOLERANCE)
    assert judged["remedies"] == ["compilation"] and "grid-free form" in judged["words"]
    assert verdict(errors(of(1e-7, 1e-6), of(1e-3, 1e-2), on_grid=of(1e-3, 1e-2)), TOLERANCE)["remedies"] == ["geometries"]
    nearly = verdict(errors(of(1e-7, 1e-6), of(1e-6, 3e-5), on_grid=of(1e-6, 1.9e-5)), TOLERANCE)
    assert nearly["remedies"] == ["compilation"]


def test_modes_are_not_to_blame_for_what_the_form_loses_at_training_geometries():
    def remedies(on_grid):
        unseen = of(1e-6, 1e-3)
        return verdict(errors(of(1e-6, 4e-4), unseen, on_grid=unseen, trained_on_grid=on_grid), TOLERANCE)["remedies"]

    assert remedies(of(1e-8, 1e-6)) == ["compilation", "geometries"]
    assert remedies(of(1e-8, 1e-4)) == ["compilation", "modes", "geometries"]
    assert remedies(of(1e-8, 3e-4)) == ["modes"]


def test_the_remedy_follows_from_the_training_errors():
    def remedies(trained, unseen):
        judged = verdict(errors(of(0.0, trained), of(0.0, unseen)), TOLERANCE)
        assert ("Keep more modes" in judged["words"]) == ("modes" in judged["remedies"])
        assert ("Train on more geometries" in judged["words"]) == ("geometries" in judged["remedies"])
        return judged["remedies"]

    assert remedies(0.05, 0.06) == ["modes"]
    assert remedies(1.9e-5, 2.1e-5) == remedies(1e-5, 0.06) == ["geometries"]
    assert remedies(1e-3, 0.06) == ["modes", "geometries"]


@pytest.mark.parametrize("unanswered", [1, 60])
def test_a_model_without_an_answer_is_not_good(unanswered):
    judged = verdict(errors(of(0.0, 0.0), of(1e-9, 1e-9, unanswered=unanswered)), TOLERANCE)
    assert judged["good"] is False and judged["remedies"] == ["region"] and f"no answer at {unanswered}" in judged["words"]


@pytest.mark.parametrize(
    ("count", "good", "proven"), [(2, None, False), (9, None, False), (10, True, False), (49, True, False), (50, True, True)]
)
def test_few_geometries_do_not_prove_a_model_good(count, good, proven):
    judged = verdict(errors(of(0.0, 0.0), of(1e-9, 1e-9, count=count)), TOLERANCE)
    assert judged["good"] is good and judged["proven"] is proven and judged["remedies"] == []
    first, *_ = judged["words"].split(",")
    assert first.startswith("good to" if good else "warning: not proven: ")
    assert (f"{count} unseen geometries (few: 50 prove more)" in judged["words"]) == (not proven)
    notes = {"errors": errors(of(0.0, 0.0), of(1e-9, 1e-9, count=count)), "verdict": judged}
    assert stored_verdict(notes) == judged
    assert warning_on_loading(notes, "learned") == (None if good else judged["words"])


@pytest.mark.parametrize("count", [1, 9, 49])
def test_few_geometries_may_refute_a_model(count):
    judged = verdict(errors(of(0.0, 0.0), of(1.0, 1.0, count=count)), TOLERANCE)
    assert judged["good"] is False and judged["proven"] and "few: 50 prove more" in judged["words"]


def test_nothing_is_known_without_unseen_geometries():
    judged = verdict(errors(of(1e-9, 1e-8), None), TOLERANCE)
    assert judged["good"] is None and "train.validation = 0" in judged["words"]


STRANGE = [
    {},
    [],
    "errors",
    None,
    {"training": {}, "unseen": {}},
    errors(of(1e-9, 1e-9), of(float("inf"), 1e-9) | {"unanswered": "x"}),
    errors(of(1e-9, 1e-9), {"count": 60, "unanswered": 0, "energy": {"rms": "a"}, "force": {}}),
    errors(of(1e-9, 1e-9), {"count": 60, "unanswered": 0, "energy": {"rms": 10**400, "largest": 1}, "force": {"rms": 1}}),
]


@pytest.mark.parametrize("wrong", STRANGE, ids=str)
def test_what_a_strange_file_says_is_no_verdict(wrong):
    assert verdict(wrong, TOLERANCE) is None
    notes = {"errors": wrong, "verdict": {"energy_error": 1e-5, "force_error": 2e-5}}
    assert stored_verdict(notes) is None and "nobody knows" in warning_on_loading(notes, "grid")


@pytest.mark.parametrize("wrong", [{}, {"energy_error": 0.0, "force_error": 1.0}, {"energy_error": "x", "force_error": 1}, 3])
def test_a_tolerance_that_is_none_gives_no_verdict(wrong):
    assert stored_verdict({"errors": errors(of(0.0, 0.0), of(0.0, 0.0)), "verdict": wrong}) is None


def test_who_loads_a_model_hears_of_a_bad_one_only():
    def notes(energy):
        return {
            "errors": errors(of(0.0, 0.0), of(energy, 0.0)),
            "verdict": {"energy_error": TOLERANCE.energy, "force_error": TOLERANCE.force},
        }

    assert warning_on_loading(notes(1e-9), "learned") is None
    assert warning_on_loading(notes(1e-3), "learned").startswith("warning: NOT good enough")
    assert "another rom.online" in warning_on_loading(notes(1e-3), "grid")


def test_a_model_that_its_own_dynamics_leaves_at_once_is_not_good():
    found = errors(of(0.0, 0.0), of(0.0, 0.0)) | {"dynamics": None}
    judged = verdict(found, TOLERANCE)
    assert judged["good"] is False and judged["remedies"] == ["region"] and "own dynamics" in judged["words"]
    assert verdict(found | {"dynamics": of(0.0, 0.0, 30)}, TOLERANCE)["good"]
    # one geometry alone is drawn at random
    assert verdict(errors(of(0.0, 0.0), of(0.0, 0.0, 1)) | {"dynamics": None}, TOLERANCE)["good"] is None


@pytest.mark.parametrize(
    ("energy", "count", "online", "good", "words"),
    [
        (1e-9, 60, "learned", True, "the model is good to 1.0e-09 Ha and"),
        (1e-9, 20, "learned", True, "on 20 unseen geometries (few: 50 prove more)"),
        (1e-9, 60, "grid", None, "with another rom.online than 'grid'"),
        (1e-9, 5, "learned", None, "the model is not proven by"),
        (1e-3, 5, "learned", False, "the model is NOT good enough with 1.0e-03 Ha"),
    ],
)
def test_a_finding_on_a_model_is_short_and_keeps_the_reservation(energy, count, online, good, words):
    kept = {"energy_error": TOLERANCE.energy, "force_error": TOLERANCE.force}
    found = finding_on_model({"errors": errors(of(0.0, 0.0), of(energy, 0.0, count)), "verdict": kept}, online)
    assert found.good is good and words in found.words and "train." not in found.words


def test_a_model_that_was_never_checked_is_not_found_good():
    kept = {"energy_error": TOLERANCE.energy, "force_error": TOLERANCE.force}
    for notes in ({}, {"errors": errors(of(0.0, 0.0), None), "verdict": kept}):
        assert finding_on_model(notes, "learned") == (None, "the model was never checked on unseen geometries")


def test_a_model_is_never_better_than_the_full_solutions_that_it_reproduces():
    notes = {"errors": errors(of(0.0, 0.0), of(1e-7, 1e-6)), "full_warnings": ["net force", "walls"]}
    notes["verdict"] = verdict(notes["errors"], TOLERANCE)
    assert notes["verdict"]["good"]
    assert "warnings of net force, walls" in warning_on_loading(notes, "learned")
    found = finding_on_model(notes, "learned")
    assert found.good is False and "is good to" in found.words and "had warnings of net force, walls" in found.words
    clean = notes | {"full_warnings": []}
    assert warning_on_loading(clean, "learned") is None and finding_on_model(clean, "learned").good
    assert warning_on_loading(notes | {"full_warnings": "net force"}, "learned") is None


@pytest.mark.parametrize("tolerance", [(1e-5, np.nan), (np.inf, np.inf), (0.0, 1e-5), (-1e-5, 1e-5)])
def test_tolerances_that_are_none_prove_nothing(tolerance):
    notes = {"errors": errors(of(0.0, 0.0), of(1e-7, 1e3))}
    notes["verdict"] = {"energy_error": tolerance[0], "force_error": tolerance[1]}
    assert stored_verdict(notes) is None


def test_errors_below_zero_are_no_errors():
    unseen = of(1e-7, 1e-6)
    unseen["energy"]["rms"] = -1.0
    assert verdict(errors(of(0.0, 0.0), unseen), TOLERANCE) is None
