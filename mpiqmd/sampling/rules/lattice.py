"""The lattice of bond lengths and angles of a bent XY2 molecule, with a wider one nested around it if asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.keys.composites import ListOf
from mpiqmd.keys.kinds import ANGLE, ANGLE_OFFSET, POSITIVE_LENGTH
from mpiqmd.keys.spec import key
from mpiqmd.keys.values import Bounds, Number
from mpiqmd.molecule.frame import BisectorFrame
from mpiqmd.sampling.box import random_in_box
from mpiqmd.sampling.lattice import bent_samples, water_lattice
from mpiqmd.sampling.rules.rule import Body, SamplingRule, Sources, sampling_rule
from mpiqmd.sampling.samples import Samples


@sampling_rule("lattice", "bond lengths and angles of water")
@dataclass(frozen=True, kw_only=True)
class Lattice(SamplingRule):
    """See :func:`mpiqmd.sampling.lattice.water_lattice`; lengths in bohr, angles in radian."""

    bond_length: float = key(POSITIVE_LENGTH, 1.83, "reference bond length")
    bond_scales: tuple[float, ...] = key(
        ListOf(Number(Bounds(above=0.0))), [0.95, 1.0, 1.05], "factors of both bonds, second <= first"
    )
    angle: float = key(ANGLE, "104.5 deg", "reference angle")
    angle_offsets: tuple[float, ...] = key(ListOf(ANGLE_OFFSET), ["-5 deg", "0 deg", "5 deg"], "added to the angle")
    outer_bond_scales: tuple[float, ...] = key(
        ListOf(Number(Bounds(above=0.0)), may_be_empty=True), [], "scales of a wider lattice nested around it"
    )
    outer_angle_offsets: tuple[float, ...] = key(
        ListOf(ANGLE_OFFSET, may_be_empty=True), [], "angle offsets of the wider lattice"
    )

    def problems(self) -> list[str]:
        """Return the problem of angles that are none."""
        sums = [self.angle + offset for offset in self.angle_offsets]
        bad = [f"{math.degrees(angle):.6g}" for angle in sums if not 0 < angle < math.pi]
        if not bad:
            return []
        return [
            f"[train] angle and angle_offsets: their sums are {', '.join(bad)} degrees. "
            "Allowed: above 0 and below 180 degrees. Use smaller offsets."
        ]

    def samples(self, sources: Sources, body: Body) -> Samples:
        """Return the lattice in the bisector frame; ConfigError for anything but a bent XY2 molecule.  Not collective."""
        vertex = _vertex(body)
        inner = water_lattice(self.bond_length, self.bond_scales, self.angle, self.angle_offsets, vertex)
        if not (self.outer_bond_scales and self.outer_angle_offsets):
            return inner
        outer = water_lattice(self.bond_length, self.outer_bond_scales, self.angle, self.outer_angle_offsets, vertex)
        return inner.joined(outer, "nested lattice")

    def unseen(self, sources: Sources, body: Body, samples: Samples, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return random bent molecules inside the box of the samples, shape (count, N, 3), bohr.  Not collective."""
        points = np.array([[label["L1"], label["L2"], label["theta"]] for label in samples.labels])
        longest = points[:, :2].max()
        lower = [points[:, :2].min(), points[:, :2].min(), points[:, 2].min()]
        upper = [longest, longest, points[:, 2].max()]
        return bent_samples(random_in_box(count, rng, lower, upper), "unseen", _vertex(body)).positions_sav


def _vertex(body: Body) -> int:
    """Return the central atom of a bent XY2 molecule; raises ConfigError for any other."""
    if not isinstance(body.frame, BisectorFrame):
        raise ConfigError(
            f"train.sampling = 'lattice' with {body.reference.formula}: the lattice of bond lengths and angles is for "
            "bent XY2 molecules such as water. Use train.sampling = 'normal-modes', or 'structures' with a file of geometries."
        )
    return body.frame.vertex
