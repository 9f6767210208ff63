"""Thermal motion about a minimum: geometries that fill the region where the vibrations go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.keys.kinds import TEMPERATURE
from mpiqmd.keys.spec import declared, key
from mpiqmd.keys.values import Boolean, Bounds, Number
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.sampling.normal_modes import ThermalRegion
from mpiqmd.sampling.rules.rule import COUNT, Body, SamplingRule, Sources, count_for, sampling_rule
from mpiqmd.sampling.samples import Samples

FAR = 0.75
"""Displacement along a normal mode (bohr) beyond which real motion bends away from it."""


@dataclass(frozen=True, kw_only=True)
class ThermalKeys:
    """The keys of rules that sample thermal motion."""

    temperature: float = key(TEMPERATURE, "300 K", "temperature of the nuclei")
    quantum: bool = key(Boolean(), False, "the motion of quantum nuclei, zero-point motion included")
    deviations: float = key(
        Number(Bounds(above=0.0, maximum=20.0)), 3.0, "half-width of the region, standard deviations a mode"
    )
    relax: bool = key(Boolean(), True, "about the nearest minimum instead of the geometry in [system]")


@dataclass(frozen=True, kw_only=True)
class ThermalRule(ThermalKeys, SamplingRule):
    """What rules have in common that sample thermal motion about one minimum."""

    def region(self, sources: Sources) -> ThermalRegion:
        """Return the region where thermal motion goes.  Collective."""
        return ThermalRegion(sources.vibrations(self.relax), self.temperature, self.deviations, self.quantum)

    def reference(self, sources: Sources) -> Molecule:
        """Return the molecule at its minimum.  Collective."""
        return sources.vibrations(self.relax).molecule

    def filled(self, sources: Sources, body: Body, count: int) -> Samples:
        """Return at most ``count`` samples that fill the region, in the body frame.  Collective."""
        region = self.region(sources)
        if region.reach > FAR:
            sources.say(
                f"warning: atoms move by up to {region.reach:.2f} bohr along one vibration, which is no straight line any more "
                "(an internal rotation?); windows along it (train.sampling = 'torsion') or frames of a trajectory "
                "(train.sampling = 'trajectory') describe such motion better"
            )
        made = region.samples(count, body.symmetries)
        return Samples(body.aligned(made.positions_sav), made.labels, made.name)

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray | None:
        """Return random thermal motion, shape (count, N, 3), bohr.  Collective."""
        return body.aligned(self.region(sources).random(count, rng))


@sampling_rule("normal-modes", "thermal motion")
@dataclass(frozen=True, kw_only=True)
class NormalModeSampling(ThermalRule):
    """Geometries that fill the region of thermal motion."""

    count: int | None = declared(COUNT)

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the samples in the body frame.  Collective."""
        return self.filled(sources, body, count_for(self.count, body))
