"""The geometries of one window along a coordinate of large amplitude: thermal motion across it at every value in the window.

A geometry is the window's reference, relaxed at the value of its centre, with amplitudes of the vibrations across the
coordinate, which turn with the atoms they move, and then moved to a value in the window.  So atoms go along the curve that the
coordinate is, not along straight lines, and one calculation of vibrations, at the minimum, serves all windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians
from typing import Any

import numpy as np

from mpiqmd.keys.spec import declared, key
from mpiqmd.keys.values import Bounds, Quantity
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.across import modes_across
from mpiqmd.sampling.laid_down import laid_down
from mpiqmd.sampling.normal_modes import NormalModes, ThermalRegion
from mpiqmd.sampling.rules.normal_modes import ThermalKeys
from mpiqmd.sampling.rules.rule import COUNT, Body, SamplingRule, Sources, WindowedRule, count_for
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.windows import WINDOW_NOTE, Windows, spread

NARROWEST = radians(2.0)
"""Distance between two windows, at least: narrower ones have nothing of their own."""


@dataclass(frozen=True, kw_only=True)
class WindowKeys(ThermalKeys, WindowedRule):
    """The keys that all rules of windows have."""

    count: int | None = declared(COUNT)
    window: float = key(
        Quantity("angle", Bounds(minimum=NARROWEST, maximum=2.0 * pi), ': did you mean degrees? Write "30 deg"'),
        "30 deg",
        "distance between the centres of two windows, as near as symmetry allows",
    )

    def in_window(self, windows: Windows, window: int) -> WindowRule:
        """Return what chooses the geometries of one window.  Not collective."""
        return WindowRule(self, windows, window)


@dataclass(frozen=True, eq=False)
class WindowRule(SamplingRule):
    """The geometries of one window.

    Attributes
    ----------
    keys
        What the input says.
    windows, window
        All windows, and which one.
    """

    keys: WindowKeys
    windows: Windows
    window: int

    @property
    def name(self) -> str:  # type: ignore[override]
        """How the geometries are chosen."""
        return self.windows.coordinate.name

    @property
    def temperature(self) -> float:
        """k_B T of the nuclei, Ha."""
        return self.keys.temperature

    @property
    def centre(self) -> float:
        """Value of the coordinate in the middle of the window, in its unit."""
        return float(self.windows.centres_w[self.window])

    def reference(self, sources: Sources) -> Molecule:
        """Return the molecule relaxed at the middle of the window, laid down as in all windows.  Collective."""
        minimum = sources.vibrations(self.keys.relax).molecule

        def relaxed(window: int) -> Molecule:
            centre = float(self.windows.centres_w[window])
            start_av = self.windows.coordinate.moved(minimum.positions_av, centre)
            return sources.relaxed_at(self.windows, window, minimum.with_positions(start_av))

        return laid_down(self.windows, self.window, relaxed, minimum, sources.sides)

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the samples in the body frame: the reference, ends of all vibrations, and points between.  Collective."""
        made = self._region(sources, body).samples(count_for(self.keys.count, body), body.symmetries)
        offsets_s = spread(len(made), self.windows.half_width)
        labels = [
            label | {self.name: self.centre + float(offset)} for label, offset in zip(made.labels, offsets_s, strict=True)
        ]
        return Samples(self._turned(made.positions_sav, offsets_s, body), labels, self.name)

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return random thermal motion at random values in the window, shape (count, N, 3), bohr.  Collective."""
        drawn_sav = self._region(sources, body).random(count, rng)
        width = self.windows.half_width
        return self._turned(drawn_sav, rng.uniform(-width, width, size=count), body)

    def notes(self) -> dict[str, Any]:
        """Return the windows, and which of them this is, as plain data.  Not collective."""
        return {WINDOW_NOTE: {"windows": self.windows.described(), "window": self.window}}

    def _region(self, sources: Sources, body: Body) -> ThermalRegion:
        """Return the region of vibrations across the coordinate, about the window's reference in its body frame."""
        keys, coordinate = self.keys, self.windows.coordinate
        modes = sources.vibrations(keys.relax)
        across, minimum_av = modes_across(modes, coordinate), modes.molecule.positions_av
        turn_vv = body.frame.align(coordinate.moved(minimum_av, self.centre)).rotation_vv
        carried = [coordinate.carried(mode_av, minimum_av, self.centre) @ turn_vv.T for mode_av in across.displacements_kav]
        here = NormalModes(body.reference, across.frequencies_k, np.array(carried))
        return ThermalRegion(here, keys.temperature, keys.deviations, keys.quantum)

    def _turned(self, positions_sav: np.ndarray, offsets_s: np.ndarray, body: Body) -> np.ndarray:
        """Return geometries at values so far from the middle of the window, in the body frame."""
        moved = self.windows.coordinate.moved
        turned = [moved(each_av, self.centre + offset) for each_av, offset in zip(positions_sav, offsets_s, strict=True)]
        return body.aligned(np.array(turned))
