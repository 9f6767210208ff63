"""Thermal motion on both sides of a pyramid that inverts, and on the way between: windows along the inversion."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

from mpiqmd.errors import ConfigError
from mpiqmd.keys.kinds import COUNT as ATOM
from mpiqmd.keys.spec import UNSET, key
from mpiqmd.molecule.inversion import Inversion, find_inversions
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.across import deviation_along
from mpiqmd.sampling.rules.in_window import WindowKeys
from mpiqmd.sampling.rules.rule import Sources, sampling_rule
from mpiqmd.sampling.windows import Windows, from_side_to_side, lay_windows

FLATTEST = radians(5.0)
"""Angle of a pyramid in its minimum, at least: one that is flatter has no two sides."""


@sampling_rule("inversion", "thermal motion in windows from one side of a pyramid to the other")
@dataclass(frozen=True, kw_only=True)
class InversionSampling(WindowKeys):
    """Windows along the inversion of one atom with three neighbours."""

    apex: int | None = key(ATOM, UNSET, "the atom that inverts, with three neighbours, from 0; found if there is one")

    def lay(self, sources: Sources) -> Windows:
        """Return the windows.  Collective.  Raises ConfigError where no atom inverts, or which one is not clear."""
        modes = sources.vibrations(self.relax)
        inversion = self._inversion(modes.molecule)
        steepness = inversion.value(modes.molecule.positions_av)
        if steepness < FLATTEST:
            raise ConfigError(
                f"train.sampling = 'inversion': {modes.molecule.labels[inversion.apex]} is at {inversion.shown(steepness)} in "
                f"its minimum, {inversion.shown(FLATTEST)} at least is a pyramid. What is flat vibrates to both sides: use "
                "train.sampling = 'normal-modes'."
            )
        windows = lay_windows(inversion, modes.molecule, from_side_to_side(steepness, self.window))
        reach = self.deviations * deviation_along(modes, inversion, self.temperature, self.quantum)
        sources.say(
            f"{modes.molecule.labels[inversion.apex]} inverts: it is at {inversion.shown(steepness)} in its minimum, thermal "
            f"motion reaches {inversion.shown(reach)} to both sides; {windows.words}"
        )
        if reach > windows.half_width:
            sources.say(
                "warning: that is farther than samples of the outermost windows, to "
                f"{inversion.shown(windows.half_width)} beyond the minimum; a larger train.window makes them wider"
            )
        return windows

    def _inversion(self, molecule: Molecule) -> Inversion:
        found = find_inversions(molecule)
        chosen = [inversion for inversion in found if self.apex in (None, inversion.apex)]
        if len(chosen) != 1:
            said = "train.sampling = 'inversion'" if self.apex is None else f"train.apex = {self.apex}"
            atoms = ", ".join(str(inversion.apex) for inversion in found) or "none"
            raise ConfigError(
                f"{said}: atoms of {molecule.formula} with three neighbours that could invert are {atoms}. Name one of them by "
                "train.apex, or use train.sampling = 'normal-modes'."
            )
        return chosen[0]
