"""What the errors of a reduced model on unseen geometries mean, in one sentence.

A model is good enough if its largest unseen errors are at most ``rom.error_tolerance`` in energy and ``FORCE_PER_ENERGY``
times that in force.  Otherwise the errors on the training geometries tell the remedy: where they are as large, the modes are
too few; where they are small, the geometries are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

FORCE_PER_ENERGY = 10.0
"""Force error (Ha/bohr) that is tolerated per energy error (Ha), 1/bohr: 5e-4 Ha/bohr, that of the published model, for the
default tolerance."""
AS_LARGE = 0.3
"""Training errors of this share of the unseen ones are as large."""


def verdict(errors: Mapping[str, Any], tolerance: float, online: str) -> dict[str, Any] | None:
    """Return ``good`` (None if nothing is known), ``words``, ``tolerance``, ``energy`` (Ha) and ``force`` (Ha/bohr).

    Not collective.

    Parameters
    ----------
    errors
        :func:`mpiqmd.rom.validation.summary`, possibly from a file; None is returned if it is something else.
    tolerance
        ``rom.error_tolerance``, Ha.
    online
        ``rom.online``: the errors of the grid-free model, or those of the reduced energy on the grid, count.
    """
    try:
        trained, unseen = _pair(errors["reproduction"]), _pair(errors["validation"])
        compiled = _pair(errors["validation"], "compiled_") if online != "grid" else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    used = compiled or unseen
    if used is None or trained is None:
        words = "warning: no unseen geometries were solved (train.validation = 0): nobody knows how good the model is"
        return {"good": None, "words": words, "tolerance": tolerance, "energy": None, "force": None}
    energy, force = used
    good = _excess(used, tolerance) <= 1.0
    words = _praise(used, tolerance) if good else _warning(used, tolerance) + _remedy(trained, unseen, used, tolerance)
    return {"good": good, "words": words, "tolerance": tolerance, "energy": energy, "force": force}


def _pair(errors: Mapping[str, Any], prefix: str = "") -> tuple[float, float] | None:
    """Return energy and force error; None where they are not known.  Raises ValueError if they are no numbers."""
    values = errors[f"{prefix}energy"], errors[f"{prefix}force"]
    if None in values:
        return None
    energy, force = (float(value) for value in values)
    if not (isfinite(energy) and isfinite(force)):
        raise ValueError("errors that are not finite")
    return energy, force


def _excess(errors: tuple[float, float], tolerance: float) -> float:
    """Return the larger of both errors in units of what is tolerated."""
    energy, force = errors
    return max(energy / tolerance, force / (FORCE_PER_ENERGY * tolerance))


def _allowed(tolerance: float) -> str:
    return f"rom.error_tolerance = {tolerance:.1e} Ha ({FORCE_PER_ENERGY * tolerance:.1e} Ha/bohr in forces)"


def _praise(errors: tuple[float, float], tolerance: float) -> str:
    energy, force = errors
    return (
        f"good enough: unseen errors of {energy:.1e} Ha and {force:.1e} Ha/bohr are within {_allowed(tolerance)} near the "
        "training geometries"
    )


def _warning(errors: tuple[float, float], tolerance: float) -> str:
    energy, force = errors
    return (
        f"warning: NOT good enough: unseen errors of {energy:.1e} Ha and {force:.1e} Ha/bohr, where {_allowed(tolerance)} is "
        "allowed; "
    )


def _remedy(
    trained: tuple[float, float], unseen: tuple[float, float] | None, used: tuple[float, float], tolerance: float
) -> str:
    """Return what to do, from where the error arises: in the compilation, in the modes, or between the geometries."""
    worst = _excess(used, tolerance)
    if unseen is not None and _excess(unseen, tolerance) < AS_LARGE * worst:
        return (
            "most of it comes from the compilation: train in a narrower region or on more geometries, or use "
            "rom.online = 'grid'"
        )
    if _excess(trained, tolerance) >= AS_LARGE * worst:
        return (
            "training geometries are as bad: keep more modes (rom.online = 'learned' has no cap; else rom.max_rank, "
            "rom.energy_fraction or rom.rank)"
        )
    return (
        "training geometries are reproduced: train on more geometries (train.count, a denser lattice, more structures) or in a "
        "narrower region"
    )
