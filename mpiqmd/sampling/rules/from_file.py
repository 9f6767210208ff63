"""Geometries of a file: all of them, or few that represent the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mpiqmd.keys.spec import UNSET, KeySpec, declared
from mpiqmd.keys.values import PathName
from mpiqmd.sampling.rules.rule import COUNT, Body, SamplingRule, Sources, count_for, sampling_rule
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.selection import farthest_points

STRUCTURES = KeySpec(PathName(), UNSET, "file of geometries, any ASE reads or trajectory.h5", only_there=True)
"""The key ``structures`` of rules that read a file."""


@sampling_rule("structures", "all geometries of a file")
@dataclass(frozen=True, kw_only=True)
class Structures(SamplingRule):
    """All geometries of a file, in its order."""

    structures: Path | None = declared(STRUCTURES)

    def problems(self) -> list[str]:
        """Return the problem that no file is named."""
        if self.structures is not None:
            return []
        return [f'[train] structures is missing although sampling = "{self.name}". Write the path of a file of geometries.']

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the geometries in the body frame.  Collective."""
        assert self.structures is not None
        return Samples(body.aligned(sources.geometries(self.structures)), name=self.name)


@sampling_rule("trajectory", "few that represent a file")
@dataclass(frozen=True, kw_only=True)
class Trajectory(Structures):
    """Those of the file that lie farthest from each other."""

    count: int | None = declared(COUNT)

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the geometries in the body frame, in the order of their choice.  Collective."""
        found, count = super().samples(sources, body), count_for(self.count, body)
        return found.chosen(farthest_points(found.positions_sav, count, body.symmetries))
