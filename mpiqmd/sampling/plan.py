"""What a reduced model is trained on: geometries that a rule chose, the body frame, and the symmetry they are trained with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Symmetry, grid_symmetries
from mpiqmd.sampling.mixtures import sample_geometries
from mpiqmd.sampling.rules.rule import Body, SamplingRule, Sources
from mpiqmd.sampling.samples import Samples
from mpiqmd.units import KELVIN_IN_HARTREE

ROOM_TEMPERATURE = 300.0 * KELVIN_IN_HARTREE
"""k_B T of 300 K, Ha."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What to train on.  Not collective; replicated.

    Attributes
    ----------
    rule, sources
        What chose the geometries, and what it asks for more.
    body
        The molecule in its body frame.
    samples
        Geometries in the body frame; of a rule with candidates those to choose from.
    """

    rule: SamplingRule
    sources: Sources
    body: Body
    samples: Samples

    @property
    def reference(self) -> Molecule:
        """The molecule in its body frame."""
        return self.body.reference

    @property
    def frame(self) -> BodyFrame:
        """The body frame."""
        return self.body.frame

    @property
    def symmetries(self) -> list[Symmetry]:
        """The symmetry operations under which snapshots are closed."""
        return self.body.symmetries

    @property
    def temperature(self) -> float:
        """k_B T of the motion that the model is for, Ha: that of the sampling where it has one, otherwise 300 K."""
        return getattr(self.rule, "temperature", ROOM_TEMPERATURE)

    def unseen(self, count: int, seed: int) -> np.ndarray:
        """Return random geometries of the sampled kind, shape (at most count, N, 3), bohr.  Collective.

        Those that the rule gives, mixtures of samples where it gives none.
        """
        if count == 0:
            return np.empty((0, *self.samples.positions_sav.shape[1:]))
        drawn_sav = self.rule.unseen(self.sources, self.body, self.samples, count, np.random.default_rng(seed))
        if drawn_sav is not None:
            return drawn_sav
        return sample_geometries(self.samples.positions_sav, self.frame, count, seed, reach=1.0)


def make_plan(rule: SamplingRule, sources: Sources, sides: Sequence[Hashable] | None) -> Plan:
    """Return what a rule has a molecule trained on.  Collective.

    Snapshots are closed under the molecule's symmetry on a grid with such ``sides``; None closes them under nothing.

    Raises what the rule and its sources raise.
    """
    reference = rule.reference(sources)
    frame = make_frame(reference)
    symmetries = [] if sides is None else grid_symmetries(symmetric_shape(reference, frame), sides)
    body = Body(reference, frame, symmetries)
    return Plan(rule, sources, body, rule.samples(sources, body))


def symmetric_shape(reference: Molecule, frame: BodyFrame) -> Molecule:
    """Return the reference, with equal bonds where it is bent XY2: the shape whose symmetry closes the snapshots."""
    if not isinstance(frame, BisectorFrame):
        return reference
    first, second, angle = bent_coordinates(reference.positions_av, frame.vertex)
    mean = 0.5 * (first + second)
    return reference.with_positions(water_positions(mean, mean, angle, frame.vertex))
