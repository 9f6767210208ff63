"""Thermal motion all around a bond that turns: windows along the internal rotation, in each the vibrations across it.

A geometry of a window is its reference, relaxed at the angle of its centre, with amplitudes of the vibrations across the
rotation, which turn with the atoms they move, and then turned to an angle in the window.  So atoms go round on circles, not
along straight lines, and one calculation of vibrations, at the minimum, serves all windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import degrees, pi, radians
from typing import Any

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.keys.composites import ListOf
from mpiqmd.keys.kinds import COUNT as ATOM
from mpiqmd.keys.spec import UNSET, declared, key
from mpiqmd.keys.values import Bounds, Quantity
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.torsion import Torsion, find_torsions
from mpiqmd.sampling.across import deviation_along, modes_across
from mpiqmd.sampling.normal_modes import NormalModes, ThermalRegion
from mpiqmd.sampling.rules.normal_modes import ThermalKeys
from mpiqmd.sampling.rules.rule import COUNT, Body, SamplingRule, Sources, WindowedRule, count_for, sampling_rule
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.windows import WINDOW_NOTE, Windows, lay_windows, spread

TURNS = radians(30.0)
"""A bond turns where thermal motion reaches beyond this angle: at ``train.deviations`` standard deviations."""
CIRCLE = 2.0 * pi


@sampling_rule("torsion", "thermal motion in windows all around a bond that turns")
@dataclass(frozen=True, kw_only=True)
class TorsionSampling(ThermalKeys, WindowedRule):
    """Windows along the internal rotation about one bond."""

    count: int | None = declared(COUNT)
    window: float = key(
        Quantity("angle", Bounds(above=0.0, maximum=CIRCLE), ': did you mean degrees? Write "30 deg"'),
        "30 deg",
        "distance between the centres of two windows of an internal rotation, as near as symmetry allows",
    )
    bond: tuple[int, ...] | None = key(
        ListOf(ATOM, 2), UNSET, "the two atoms about whose bond the molecule turns, from 0; found if not given"
    )

    def lay(self, sources: Sources) -> Windows:
        """Return the windows.  Collective.  Raises ConfigError where no bond turns, or more than one."""
        modes = sources.vibrations(self.relax)
        torsion = self._torsion(modes, sources)
        windows = lay_windows(torsion, modes.molecule, self.window)
        reach = degrees(self.deviations * deviation_along(modes, torsion, self.temperature, self.quantum))
        sources.say(
            f"{_named(torsion, modes.molecule)} turns: thermal motion reaches {reach:.0f} degrees to both sides; "
            f"{windows.words}"
        )
        return windows

    def in_window(self, windows: Windows, window: int) -> WindowRule:
        """Return what chooses the geometries of one window.  Not collective."""
        return WindowRule(self, windows, window)

    def _torsion(self, modes: NormalModes, sources: Sources) -> Torsion:
        molecule = modes.molecule
        found = find_torsions(molecule)
        if self.bond is not None:
            named = [torsion for torsion in found if set(torsion.bond) == set(self.bond)]
            if not named:
                raise ConfigError(
                    f"train.bond = {list(self.bond)}: no internal rotation of {molecule.formula}; there are those about "
                    f"{_listed(found)}. Name one of them, or leave train.bond out."
                )
            return named[0]
        reaches = [self.deviations * deviation_along(modes, torsion, self.temperature, self.quantum) for torsion in found]
        turning = [torsion for torsion, reach in zip(found, reaches, strict=True) if reach > TURNS]
        if not turning:
            raise ConfigError(
                f"train.sampling = 'torsion': no bond of {molecule.formula} turns at train.temperature, by more than "
                f"{degrees(TURNS):.0f} degrees at train.deviations; rotations are possible about {_listed(found)}. Use "
                "train.sampling = 'normal-modes', or name a bond by train.bond."
            )
        if len(turning) > 1:
            widest = max(turning, key=lambda torsion: reaches[found.index(torsion)])
            sources.say(
                f"warning: the molecule turns about {len(turning)} bonds, {_listed(turning)}; windows are laid along "
                f"{list(widest.bond)} (train.bond), the others are taken for vibrations"
            )
            return widest
        return turning[0]


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

    keys: TorsionSampling
    windows: Windows
    window: int

    name = "torsion"

    @property
    def temperature(self) -> float:
        """k_B T of the nuclei, Ha."""
        return self.keys.temperature

    @property
    def centre(self) -> float:
        """Angle in the middle of the window, radian."""
        return float(self.windows.centres_w[self.window])

    def reference(self, sources: Sources) -> Molecule:
        """Return the molecule relaxed at the middle of the window.  Collective."""
        coordinate, minimum = self.windows.coordinate, sources.vibrations(self.keys.relax).molecule
        turned_av = coordinate.moved(minimum.positions_av, self.centre)
        return sources.relaxed_at(coordinate, self.centre, minimum.with_positions(turned_av))

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the samples in the body frame: the reference, ends of all vibrations, and points between.  Collective."""
        made = self._region(sources, body).samples(count_for(self.keys.count, body.reference), body.symmetries)
        offsets_s = spread(len(made), self.windows.half_width)
        labels = [
            label | {self.name: self.centre + float(offset)} for label, offset in zip(made.labels, offsets_s, strict=True)
        ]
        return Samples(self._turned(made.positions_sav, offsets_s, body), labels, self.name)

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return random thermal motion at random angles of the window, shape (count, N, 3), bohr.  Collective."""
        drawn_sav = self._region(sources, body).random(count, rng)
        width = self.windows.half_width
        return self._turned(drawn_sav, rng.uniform(-width, width, size=count), body)

    def notes(self) -> dict[str, Any]:
        """Return the windows, and which of them this is, as plain data.  Not collective."""
        return {WINDOW_NOTE: {"windows": self.windows.described(), "window": self.window}}

    def _region(self, sources: Sources, body: Body) -> ThermalRegion:
        """Return the region of vibrations across the rotation, about the window's reference in its body frame."""
        keys, coordinate = self.keys, self.windows.coordinate
        modes = sources.vibrations(keys.relax)
        across, minimum_av = modes_across(modes, coordinate), modes.molecule.positions_av
        turn_vv = body.frame.align(coordinate.moved(minimum_av, self.centre)).rotation_vv
        carried = [coordinate.carried(mode_av, minimum_av, self.centre) @ turn_vv.T for mode_av in across.displacements_kav]
        here = NormalModes(body.reference, across.frequencies_k, np.array(carried))
        return ThermalRegion(here, keys.temperature, keys.deviations, keys.quantum)

    def _turned(self, positions_sav: np.ndarray, offsets_s: np.ndarray, body: Body) -> np.ndarray:
        """Return geometries at angles so far from the middle of the window, in the body frame."""
        moved = self.windows.coordinate.moved
        turned = [moved(each_av, self.centre + offset) for each_av, offset in zip(positions_sav, offsets_s, strict=True)]
        return body.aligned(np.array(turned))


def _named(torsion: Torsion, molecule: Molecule) -> str:
    return "-".join(molecule.labels[atom] for atom in torsion.bond)


def _listed(torsions: list[Torsion]) -> str:
    return ", ".join(str(list(torsion.bond)) for torsion in torsions) or "no bond"
