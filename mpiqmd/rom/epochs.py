"""The models of one run after another: each but the first has grown from the one before it, which it took the place of.

The surface is another one then, and the energy of a geometry jumps.  Nothing is done about it but to say by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np

from mpiqmd.findings import Finding
from mpiqmd.parallel.countdown import duration

WHOLE_NUMBERS = 6
"""The first fields of an epoch are such."""


class Epoch(NamedTuple):
    """One exchange of models.

    Attributes
    ----------
    number
        Of the new model; the one that the run began with is 1.
    step
        Evaluation, counted from 0, after which the models were exchanged: the step of a trajectory.
    geometries_before, geometries, modes_before, modes
        Training geometries and modes of the old and of the new model.
    energy_before, energy, energy_full
        Of the geometry of that step, Ha: of the old surface (on the grid where it has no tables; NaN where it has no minimum),
        of the new one, and of the full solution, which is the step's own.
    seconds
        What the growth took.
    """

    number: int
    step: int
    geometries_before: int
    geometries: int
    modes_before: int
    modes: int
    energy_before: float = nan
    energy: float = nan
    energy_full: float = nan
    seconds: float = 0.0

    @property
    def jump(self) -> float:
        """By how much the energy of the geometry rose, Ha; NaN where the old surface had none."""
        return self.energy - self.energy_before

    @property
    def line(self) -> str:
        """All of it in words."""
        jump = f"by {self.jump:+.1e} Ha to {self.energy:.8f} Ha" if isfinite(self.jump) else f"to {self.energy:.8f} Ha"
        return (
            f"model {self.number} from step {self.step} on: {self.geometries_before} -> {self.geometries} geometries, "
            f"{self.modes_before} -> {self.modes} modes; there the energy of the surface jumps {jump}, "
            f"{self.energy - self.energy_full:+.1e} Ha from the full one; growth took {duration(self.seconds)}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for ``result.json``."""
        return self._asdict() | {"jump": self.jump}


def as_array(epochs: Sequence[Epoch]) -> np.ndarray:
    """Return all numbers in the order of the fields, shape (epochs, fields), atomic units.  Not collective."""
    return np.array(epochs, float).reshape(len(epochs), len(Epoch._fields))


def from_array(numbers: np.ndarray) -> list[Epoch]:
    """Return what :func:`as_array` wrote.  Not collective."""
    rows = np.asarray(numbers, float).tolist()
    return [Epoch(*map(int, row[:WHOLE_NUMBERS]), *row[WHOLE_NUMBERS:]) for row in rows]


def findings(epochs: Sequence[Epoch], tolerance: float) -> list[Finding]:
    """Return what the exchanges mean for the energies of a run, given what error of an energy is tolerated (Ha)."""
    if not epochs:
        return []
    jumps = [abs(epoch.jump) for epoch in epochs if isfinite(epoch.jump)]
    steps = ", ".join(str(epoch.step) for epoch in epochs)
    largest = max(jumps, default=nan)
    words = f"the model grew {_times(len(epochs))} (after step {steps}), and the conserved energy was left to jump with it"
    if not jumps:
        return [Finding(None, f"{words}, by what is not known")]
    return [
        Finding(True if largest <= tolerance and len(jumps) == len(epochs) else None, f"{words}, by up to {largest:.1e} Ha")
    ]


def lines(epochs: Sequence[Epoch], name: Callable[[int], str]) -> list[str]:
    """Return a line on each exchange; ``name`` says what an evaluation is called.  Not collective."""
    return [epoch.line.replace(f"step {epoch.step}", name(epoch.step), 1) for epoch in epochs]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
