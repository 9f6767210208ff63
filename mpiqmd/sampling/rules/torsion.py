"""Thermal motion all around a bond that turns: windows along the internal rotation."""

from __future__ import annotations

from dataclasses import dataclass
from math import degrees, radians

from mpiqmd.errors import ConfigError
from mpiqmd.keys.composites import ListOf
from mpiqmd.keys.kinds import COUNT as ATOM
from mpiqmd.keys.spec import UNSET, key
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.torsion import Torsion, find_torsions
from mpiqmd.sampling.across import deviation_along
from mpiqmd.sampling.normal_modes import NormalModes
from mpiqmd.sampling.rules.in_window import WindowKeys
from mpiqmd.sampling.rules.rule import Sources, sampling_rule
from mpiqmd.sampling.windows import Windows, all_around, lay_windows

TURNS = radians(30.0)
"""A bond turns where thermal motion reaches beyond this angle: at ``train.deviations`` standard deviations."""


@sampling_rule("torsion", "thermal motion in windows all around a bond that turns")
@dataclass(frozen=True, kw_only=True)
class TorsionSampling(WindowKeys):
    """Windows along the internal rotation about one bond."""

    bond: tuple[int, ...] | None = key(
        ListOf(ATOM, 2), UNSET, "the two atoms about whose bond the molecule turns, from 0; found if not given"
    )

    def lay(self, sources: Sources) -> Windows:
        """Return the windows.  Collective.  Raises ConfigError where no bond turns, or more than one."""
        modes = sources.vibrations(self.relax)
        torsion = self._torsion(modes, sources)
        windows = lay_windows(torsion, modes.molecule, all_around(torsion, self.window))
        reach = degrees(self.deviations * deviation_along(modes, torsion, self.temperature, self.quantum))
        sources.say(
            f"{_named(torsion, modes.molecule)} turns: thermal motion reaches {reach:.0f} degrees to both sides; "
            f"{windows.words}"
        )
        return windows

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


def _named(torsion: Torsion, molecule: Molecule) -> str:
    return "-".join(molecule.labels[atom] for atom in torsion.bond)


def _listed(torsions: list[Torsion]) -> str:
    return ", ".join(str(list(torsion.bond)) for torsion in torsions) or "no bond"
