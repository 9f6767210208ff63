"""What the errors of a reduced model on unseen geometries mean, in one sentence.

A model is good enough if, on the unseen geometries, the rms error of the force components is within ``train.force_error`` and
that of the energies within ``train.energy_error``, and the largest of both within ``LARGEST_PER_RMS`` times as much.  Energies
count without the mean error at the training geometries, a constant that no difference of energies has.  Otherwise the errors
tell the remedies: what the same modes do not have on the grid comes from the compilation; where the training geometries are
not good enough on the grid either, the modes are too few; where they are much better than the unseen ones, the geometries are.

Few unseen geometries may refute a model, but do not prove it good: fewer than ``ENOUGH`` leave a reservation, fewer than
``LEAST`` prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any, NamedTuple

from mpiqmd.findings import Finding

LARGEST_PER_RMS = 5.0
"""The largest of many errors is about 4 times the rms if they are normal."""
ENOUGH, LEAST = 50, 10
"""Unseen geometries that prove a model good, and those below which nothing is proven."""
AS_LARGE = 0.3
"""Errors of this share of others are as large."""
REMEDIES = {
    "compilation": "Most of it comes from the grid-free form: a smaller rom.compilation_error makes it finer, and "
    "rom.online = 'grid' does without it.",
    "modes": "Keep more modes, training geometries are not good enough either: a larger rom.energy_fraction or rom.rank, and "
    "rom.max_rank where it is set.",
    "geometries": "Train on more geometries (train.count, a denser lattice, more structures) or in a narrower region.",
    "region": "Train in a wider region (train.deviations, train.temperature, a wider lattice, more structures).",
}
ASTRAY = (
    "its own dynamics leads at once to where it has no answer. Train on geometries in all directions that dynamics takes, "
    'out of a plane too: train.sampling = "normal-modes", or structures of a trajectory.'
)
FULL_WARNINGS = "full_warnings"
"""Name, among the notes of a model, of the kinds of warnings of its full solutions."""
GROWN = "grown"
"""Name, among the notes of a model, of where it grew from."""
UNKNOWN = "warning: no unseen geometries were solved (train.validation = 0): nobody knows how good the model is"
UNCHECKED = (
    "warning: nobody knows how good this model is: its file has no errors on unseen geometries. Run `mpiqmd train` again with "
    "its input; what is solved is kept."
)

UNCHECKED_GROWN = (
    "warning: nobody knows how good this model is: it has grown since it was checked. Compare it with full solutions of unseen "
    "geometries (`mpiqmd evaluate` with and without --model)."
)


class Tolerance(NamedTuple):
    """Rms errors that are asked for: of the energies, Ha, and of the force components, Ha/bohr."""

    energy: float
    force: float


class _Size(NamedTuple):
    """Rms and largest errors of a set of geometries, Ha and Ha/bohr."""

    energy: float
    force: float
    largest_energy: float
    largest_force: float

    @classmethod
    def of(cls, statistics: Mapping[str, Any] | None) -> _Size | None:
        """Return the sizes that statistics have, None if they are of no answer.  Raises ValueError and the like."""
        if statistics is None or statistics["energy"] is None:
            return None
        energy, force = statistics["energy"], statistics["force"]
        values = [float(each) for each in (energy["rms"], force["rms"], energy["largest"], force["largest"])]
        if not all(isfinite(value) and value >= 0.0 for value in values):
            raise ValueError("errors that are no sizes")
        return cls(*values)

    def excess(self, tolerance: Tolerance) -> float:
        """Return the largest of the four in units of what is tolerated."""
        rms = max(self.energy / tolerance.energy, self.force / tolerance.force)
        largest = max(self.largest_energy / tolerance.energy, self.largest_force / tolerance.force)
        return max(rms, largest / LARGEST_PER_RMS)

    def __str__(self) -> str:
        return (
            f"{self.energy:.1e} Ha and {self.force:.1e} Ha/bohr (rms; largest {self.largest_energy:.1e} and "
            f"{self.largest_force:.1e})"
        )


def verdict(errors: Mapping[str, Any], tolerance: Tolerance) -> dict[str, Any] | None:
    """Return ``good`` (None if nothing is proven), ``proven``, ``words``, ``found``, ``remedies`` and the tolerance.

    Not collective.  ``proven`` says whether a model called good is so on enough unseen geometries, and is true of one that is
    not; ``found`` are the errors in words, None if there are none; ``remedies`` are names of :data:`REMEDIES`, none of a good
    model; the tolerance is ``energy_error`` (Ha) and ``force_error`` (Ha/bohr).

    Parameters
    ----------
    errors
        Those of :class:`mpiqmd.rom.validation.Validation`, possibly from a file; None is returned if it is something else.
    tolerance
        What is asked for.
    """
    try:
        return _judged(errors, tolerance) | {"energy_error": tolerance.energy, "force_error": tolerance.force}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None


def stored_verdict(notes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the verdict on a model by its notes, said anew, not as the file says it; None if it has none.  Not collective."""
    try:
        kept = notes["verdict"]
        tolerance = Tolerance(float(kept["energy_error"]), float(kept["force_error"]))
        return verdict(notes["errors"], tolerance) if all(0.0 < each < inf for each in tolerance) else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def training_excess(errors: Mapping[str, Any], tolerance: Tolerance) -> float:
    """Return the errors at the training geometries in units of the tolerance; 0 where there are none.  Not collective."""
    size = _Size.of(errors["training"])
    return 0.0 if size is None else size.excess(tolerance)


def warning_on_loading(notes: Mapping[str, Any], online: str) -> str | None:
    """Return what whoever uses a model in a form should hear of its errors; None if it is good.  Not collective."""
    judgement, on_full = stored_verdict(notes), warning_on_full(full_warnings(notes))
    if judgement is None:
        return unchecked(notes)
    if judgement["good"]:
        return on_full
    other = "" if notes["errors"].get("online") == online else f" (checked with another rom.online than {online!r})"
    words = judgement["words"] + other
    return words if on_full is None else f"{words} {on_full}"


def unchecked(notes: Mapping[str, Any]) -> str:
    """Return what is said of a model without errors in its notes.  Not collective."""
    return UNCHECKED_GROWN if GROWN in notes else UNCHECKED


def without_errors(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes of a model without its errors and the verdict on them.  Not collective."""
    return {name: note for name, note in notes.items() if name not in ("errors", "verdict")}


def full_warnings(notes: Mapping[str, Any]) -> list[str]:
    """Return the kinds of warnings of the full solutions that a model was trained on, by its notes.  Not collective."""
    kinds = notes.get(FULL_WARNINGS, [])
    return sorted(str(kind) for kind in kinds) if isinstance(kinds, list) else []


def warning_on_full(kinds: Sequence[str]) -> str | None:
    """Return what warnings of the full solutions mean for a model that reproduces them; None if there are none."""
    if not kinds:
        return None
    return (
        "warning: the full solutions that the model reproduces are NOT good enough themselves: warnings of "
        f"{', '.join(kinds)}. Mend these in the input and train again: a model is never better than its grid."
    )


def finding_on_model(notes: Mapping[str, Any], online: str) -> Finding:
    """Return whether a model is good enough in a form that is used, by its notes.  Not collective."""
    judgement = stored_verdict(notes)
    if judgement is None or judgement["found"] is None:
        since = "has not been checked since it grew" if GROWN in notes else "was never checked on unseen geometries"
        return Finding(None, f"the model {since}")
    is_other = notes["errors"].get("online") != online
    good = None if is_other and judgement["good"] else judgement["good"]
    other = f", with another rom.online than {online!r}" if is_other else ""
    words, kinds = f"the model {_STANDING[judgement['good']]} {judgement['found']}{other}", full_warnings(notes)
    if kinds:
        return Finding(False, f"{words}, but its full solutions had warnings of {', '.join(kinds)}")
    return Finding(good, words)


_STANDING = {True: "is good to", None: "is not proven by", False: "is NOT good enough with"}


def _judged(errors: Mapping[str, Any], tolerance: Tolerance) -> dict[str, Any]:
    unseen, trained = errors["unseen"], _Size.of(errors["training"])
    if unseen is None:
        return _verdict(None, UNKNOWN, None, proven=False)
    count, unanswered, size = int(unseen["count"]), int(unseen["unanswered"]), _Size.of(unseen)
    lost = f", no answer at {unanswered} of them" if unanswered else ""
    few = "" if count >= ENOUGH else f" (few: {ENOUGH} prove more)"
    found = f"{'nothing known' if size is None else size} on {count} unseen geometries{few}{lost}"
    allowed = f"train.energy_error = {tolerance.energy:.1e} and train.force_error = {tolerance.force:.1e}"
    if size is not None and not unanswered and size.excess(tolerance) <= 1.0:
        if _leads_astray(errors, count):
            return _verdict(False, f"warning: NOT good enough: {found}, but {ASTRAY}", found, ["region"])
        if count < LEAST:
            words = f"warning: not proven: {found}, within {allowed}, but fewer than {LEAST} prove nothing (train.validation)"
            return _verdict(None, words, found, proven=False)
        return _verdict(True, f"good to {found}, within {allowed}", found, proven=count >= ENOUGH)
    remedies = ["region"] if size is None or unanswered else _remedies(errors["worst"], trained, size, tolerance)
    advice = " ".join(REMEDIES[remedy] for remedy in remedies)
    return _verdict(False, f"warning: NOT good enough: {found}, not within {allowed}. {advice}", found, remedies)


def _verdict(
    good: bool | None, words: str, found: str | None, remedies: Sequence[str] = (), *, proven: bool = True
) -> dict[str, Any]:
    return {"good": good, "proven": proven, "words": words, "found": found, "remedies": list(remedies)}


def _leads_astray(errors: Mapping[str, Any], count: int) -> bool:
    """Whether half of the geometries should have been frames of the model's own dynamics, and none is."""
    dynamics = errors.get("dynamics", {"count": count})
    return count > 1 and (dynamics is None or int(dynamics["count"]) == 0)


def _remedies(worst: Mapping[str, Any] | None, trained: _Size | None, size: _Size, tolerance: Tolerance) -> list[str]:
    """Return from where the error arises: from the grid-free form, from the modes, from between the geometries."""
    at_training, form = 0.0 if trained is None else trained.excess(tolerance), []
    if worst is not None:
        in_use, on_grid = _excesses(worst["unseen"], tolerance)
        if on_grid <= 1.0 or on_grid < AS_LARGE * in_use:
            return ["compilation"]
        in_use, on_grid = _excesses(worst["training"], tolerance)
        if at_training > 1.0 and on_grid < AS_LARGE * in_use:
            at_training, form = on_grid, ["compilation"]
    geometries = ["geometries"] if at_training <= 1.0 or at_training < AS_LARGE * size.excess(tolerance) else []
    return [*form, *(["modes"] if at_training > 1.0 else []), *geometries]


def _excesses(forms: Mapping[str, Any], tolerance: Tolerance) -> tuple[float, float]:
    """Return the excess of the form in use and on the grid at the same geometries; infinite on the grid if it is not known."""
    in_use, on_grid = _Size.of(forms["in_use"]), _Size.of(forms["on_grid"])
    return (0.0, inf) if in_use is None or on_grid is None else (in_use.excess(tolerance), on_grid.excess(tolerance))
