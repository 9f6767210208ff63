"""The sentence at the end of a training: good enough, or the remedy that fits the errors."""

from __future__ import annotations

import pytest

from mpiqmd.rom.verdict import FORCE_PER_ENERGY, verdict

pytestmark = pytest.mark.serial
TOLERANCE = 5e-5


def errors(trained, unseen, compiled=None):
    """A summary of errors (energy, force) as `train` keeps it."""
    energies = {"energy": unseen[0] if unseen else None, "force": unseen[1] if unseen else None}
    energies |= {"compiled_energy": compiled[0] if compiled else None, "compiled_force": compiled[1] if compiled else None}
    return {"reproduction": dict(zip(("energy", "force"), trained, strict=True)), "validation": energies}


@pytest.mark.parametrize(
    ("energy", "force", "good"),
    [
        (0.99 * TOLERANCE, 0.99 * FORCE_PER_ENERGY * TOLERANCE, True),
        (1.01 * TOLERANCE, 0.0, False),
        (0.0, 1.01 * FORCE_PER_ENERGY * TOLERANCE, False),
    ],
)
def test_energy_and_force_must_both_be_tolerable(energy, force, good):
    judged = verdict(errors((0.0, 0.0), (energy, force)), TOLERANCE, "grid")
    assert judged["good"] is good and (judged["energy"], judged["force"]) == (energy, force)
    assert judged["words"].startswith("good enough" if good else "warning: NOT good enough")
    assert f"{energy:.1e} Ha and {force:.1e} Ha/bohr" in judged["words"] and "5.0e-05 Ha" in judged["words"]


def test_the_compiled_errors_count_where_it_is_compiled():
    summary = errors((1e-7, 1e-6), (1e-6, 1e-5), (1e-3, 1e-2))
    assert verdict(summary, TOLERANCE, "grid")["good"]
    judged = verdict(summary, TOLERANCE, "compiled")
    assert not judged["good"] and "comes from the compilation" in judged["words"]


def test_the_remedy_follows_from_the_training_errors():
    assert "keep more modes" in verdict(errors((0.9e-2, 0.05), (1e-2, 0.06)), TOLERANCE, "grid")["words"]
    words = verdict(errors((1e-6, 1e-5), (1e-2, 0.06)), TOLERANCE, "grid")["words"]
    assert "train on more geometries" in words and "modes" not in words


def test_nothing_is_known_without_unseen_geometries():
    judged = verdict(errors((1e-9, 1e-8), None), TOLERANCE, "compiled")
    assert judged["good"] is None and "train.validation = 0" in judged["words"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        "errors",
        None,
        {"reproduction": {}, "validation": {}},
        errors(("a", 1), (1, 1)),
        errors((1, 1), (float("nan"), 1)),
        errors((1, 1), (10**400, 1)),
        errors((1, 1), ([], 1)),
    ],
    ids=str,
)
def test_what_a_strange_file_says_is_no_verdict(wrong):
    assert verdict(wrong, TOLERANCE, "grid") is None
