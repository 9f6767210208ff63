"""Errors of energies and forces at many geometries, and the few numbers that say what they come to.

Forces are those of the exact gradient through the body frame, which are free of rigid motion: what moves the nuclei.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

QUANTILES = (0.5, 0.9, 1.0)
"""Of the largest force error of each geometry."""


@dataclass(frozen=True, eq=False)
class Errors:
    """What a form of a reduced model has at each geometry more than Hi-Fi.  Not collective; replicated.

    Attributes
    ----------
    energies_s, forces_sav, estimates_s
        Differences of energies (Ha) and forces (Ha/bohr), and the estimated errors of the energies (Ha); NaN where the form
        has no answer, and where nothing was estimated.
    """

    energies_s: np.ndarray
    forces_sav: np.ndarray
    estimates_s: np.ndarray

    def __len__(self) -> int:
        return len(self.energies_s)

    @property
    def is_answered_s(self) -> np.ndarray:
        """Whether the form has an answer at each geometry."""
        return np.isfinite(self.energies_s)

    @property
    def offset(self) -> float:
        """Mean error of the energies, Ha; 0 without any."""
        return float(self.energies_s[self.is_answered_s].mean()) if self.is_answered_s.any() else 0.0

    @property
    def largest_s(self) -> np.ndarray:
        """The largest force error of each geometry, Ha/bohr, over its components; NaN without an answer."""
        return np.abs(self.forces_sav).max(axis=(1, 2), initial=0.0) + 0.0 * self.energies_s

    def chosen(self, indices: Sequence[int] | np.ndarray) -> Errors:
        """Return those at some of the geometries, or where a mask says so."""
        return Errors(self.energies_s[indices], self.forces_sav[indices], self.estimates_s[indices])

    def worst(self, count: int) -> list[int]:
        """Return the geometries with the largest force errors, at most ``count``, the worst first."""
        answered = np.flatnonzero(self.is_answered_s)
        order = np.argsort(-self.largest_s[answered], kind="stable")
        return [int(index) for index in answered[order[:count]]]


def statistics(errors: Errors, offset: float) -> dict[str, Any] | None:
    """Return the statistics of errors as plain data, None of no geometries.  Not collective.

    ``count`` and ``unanswered`` of the geometries; of ``energy`` the ``mean`` and the ``lowest`` error, and what is left
    without the offset, ``rms`` and ``largest`` (Ha); of ``force`` ``rms`` and ``largest`` over all components, and
    ``quantiles`` of the largest of each geometry (Ha/bohr); the largest ``estimate`` (Ha, None without any).

    Parameters
    ----------
    errors
        The errors; geometries without an answer are counted, no more.
    offset
        Constant error of the energies, Ha, which no difference of energies has.
    """
    known = errors.chosen(errors.is_answered_s)
    counts = {"count": len(errors), "unanswered": len(errors) - len(known)}
    if not len(errors):
        return None
    if not len(known):
        return counts | {"energy": None, "force": None, "estimate": None}
    about_s, estimates_s = known.energies_s - offset, known.estimates_s[np.isfinite(known.estimates_s)]
    return counts | {
        "energy": {
            "mean": float(known.energies_s.mean()),
            "lowest": float(known.energies_s.min()),
            "rms": float(np.sqrt(np.mean(about_s**2))),
            "largest": float(np.abs(about_s).max()),
        },
        "force": {
            "rms": float(np.sqrt(np.mean(known.forces_sav**2))),
            "largest": float(np.abs(known.forces_sav).max()),
            "quantiles": {f"{q:g}": float(np.quantile(known.largest_s, q)) for q in QUANTILES},
        },
        "estimate": float(estimates_s.max()) if len(estimates_s) else None,
    }
