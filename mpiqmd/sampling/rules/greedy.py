"""Candidates of thermal motion or of a file, of which those with the largest estimated errors are solved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiqmd.keys.kinds import POSITIVE_COUNT, POSITIVE_ENERGY
from mpiqmd.keys.spec import declared, key
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.rules.from_file import STRUCTURES
from mpiqmd.sampling.rules.normal_modes import ThermalRule
from mpiqmd.sampling.rules.rule import COUNT, Body, CandidateRule, Sources, count_for, sampling_rule
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.selection import farthest_points


@sampling_rule("greedy", "those of thermal motion or of a file with the largest estimated errors")
@dataclass(frozen=True, kw_only=True)
class Greedy(ThermalRule, CandidateRule):
    """Candidates that fill the region of thermal motion, or that represent a file."""

    structures: Path | None = declared(STRUCTURES)
    count: int | None = declared(COUNT)
    candidates: int = key(POSITIVE_COUNT, 100, "geometries to choose from")
    target: float = key(POSITIVE_ENERGY, 1e-6, "largest estimated energy error of a candidate at which to stop")

    def most(self, body: Body) -> int:
        """Return how many geometries are solved at most.  Not collective."""
        return count_for(self.count, body)

    def reference(self, sources: Sources) -> Molecule:
        """Return the molecule at its minimum, or that of the input where a file is read.  Collective."""
        return super().reference(sources) if self.structures is None else sources.oriented()

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the candidates in the body frame.  Collective."""
        if self.structures is None:
            return self.filled(sources, body, self.candidates)
        found = Samples(body.aligned(sources.geometries(self.structures)), name=self.name)
        return found.chosen(farthest_points(found.positions_sav, self.candidates, body.symmetries))

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray | None:
        """Return random thermal motion, shape (count, N, 3), bohr; None of a file.  Collective."""
        return super().unseen(sources, body, samples, count, rng) if self.structures is None else None
