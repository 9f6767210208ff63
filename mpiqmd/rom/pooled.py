"""The errors of several models that are used as one: each is judged by itself, and enough unseen geometries by all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any

from mpiqmd.rom.verdict import FULL_WARNINGS, full_warnings, stored_verdict

SETS = ("unseen", "training", "dynamics")


def pooled_notes(all_notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the notes of several models, ``errors``, ``verdict`` and warnings, as if one had all of their errors.

    Not collective.  Those without errors, or with another tolerance, leave nothing known of the whole: an empty dictionary.
    """
    judgements = [stored_verdict(notes) for notes in all_notes]
    if not all_notes or any(judgement is None or judgement["found"] is None for judgement in judgements):
        return {}
    asked = [{name: notes["verdict"][name] for name in ("energy_error", "force_error")} for notes in all_notes]
    online = {notes["errors"].get("online") for notes in all_notes}
    if any(each != asked[0] for each in asked) or len(online) > 1:
        return {}
    errors = {name: _pooled([notes["errors"].get(name) for notes in all_notes]) for name in SETS}
    kinds = sorted({kind for notes in all_notes for kind in full_warnings(notes)})
    return {
        "errors": errors | {"worst": None, "online": online.pop()},
        "verdict": asked[0],
        **({FULL_WARNINGS: kinds} if kinds else {}),
    }


def _pooled(statistics: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return the statistics of several sets as those of one; None of no set."""
    there = [each for each in statistics if each is not None]
    if not there:
        return None
    counts = {name: sum(int(each[name]) for each in there) for name in ("count", "unanswered")}
    answered = [each for each in there if each["energy"] is not None]
    if not answered:
        return counts | {"energy": None, "force": None}
    weights = [int(each["count"]) - int(each["unanswered"]) for each in answered]
    return counts | {
        name: {
            "rms": _root_mean(zip(weights, (float(each[name]["rms"]) for each in answered), strict=True)),
            "largest": max(float(each[name]["largest"]) for each in answered),
        }
        for name in ("energy", "force")
    }


def _root_mean(pairs: Iterable[tuple[int, float]]) -> float:
    """The root of the mean square of sizes, each of so many."""
    known = list(pairs)
    return sqrt(sum(count * size**2 for count, size in known) / sum(count for count, _ in known))
