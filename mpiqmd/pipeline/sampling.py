"""The training geometries that an input asks for, with the body frame and the mirrors they are trained in.

Which they are, a rule of :mod:`mpiqmd.sampling.rules` says; here it is given what it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.keys.registries import SAMPLING_RULES
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.orientation import oriented
from mpiqmd.molecule.symmetry import Mirror, grid_mirrors
from mpiqmd.pipeline.build import periodic_cell, read_frames
from mpiqmd.pipeline.solving import TrainingSolver
from mpiqmd.pipeline.vibrations import find_vibrations
from mpiqmd.sampling.mixtures import sample_geometries
from mpiqmd.sampling.normal_modes import NormalModes
from mpiqmd.sampling.rules.rule import Body, SamplingRule
from mpiqmd.sampling.samples import Samples


class TrainingSources:
    """What a sampling rule may ask for, of a molecule and the input; see :class:`mpiqmd.sampling.rules.rule.Sources`.

    ``may_compute`` allows Hi-Fi evaluations, kept in ``folder``.  Construction is not collective.
    """

    def __init__(self, solver: TrainingSolver, molecule: Molecule, folder: Path, may_compute: bool) -> None:
        self.solver, self.molecule, self.folder, self.may_compute = solver, molecule, folder, may_compute
        self._vibrations: dict[bool, NormalModes] = {}

    def oriented(self) -> Molecule:
        """Return the molecule in the body frame.  Not collective."""
        return oriented(self.molecule)

    def geometries(self, path: Path) -> np.ndarray:
        """Return the positions (frames, N, 3), bohr, of a file, molecules whole in a periodic cell.  Collective."""
        settings, comm = self.solver.settings, self.solver.model.grid.comm
        positions_sav = read_frames(settings, self.oriented(), path, comm)
        return np.array([whole(positions_av, periodic_cell(settings)) for positions_av in positions_sav])

    def vibrations(self, relaxed: bool) -> NormalModes:
        """Return the vibrations, found once.  Collective.  Raises what :func:`find_vibrations` raises."""
        if relaxed not in self._vibrations:
            self._vibrations[relaxed] = find_vibrations(self.solver, self.molecule, self.folder, self.may_compute, relaxed)
        return self._vibrations[relaxed]

    def say(self, line: str) -> None:
        """Write a line to the log.  Not collective."""
        self.solver.log(line)


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
    sources: TrainingSources
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
    def mirrors(self) -> list[Mirror]:
        """The mirrors under which snapshots are closed."""
        return self.body.mirrors

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


def make_plan(solver: TrainingSolver, molecule: Molecule, folder: Path, may_compute: bool = True) -> Plan:
    """Return what to train a molecule on.  Collective.

    ``may_compute`` allows Hi-Fi evaluations, kept in ``folder``, where the sampling needs them.  Raises ConfigError where
    sampling does not fit the molecule, and what :func:`find_vibrations` raises.
    """
    train = solver.settings.train
    require_body_frame(molecule)
    arguments = SAMPLING_RULES.arguments(train.sampling, train.options)
    rule: SamplingRule = SAMPLING_RULES.entry(train.sampling).make(**arguments)
    sources = TrainingSources(solver, molecule, folder, may_compute)
    reference = rule.reference(sources)
    frame = make_frame(reference)
    body = Body(reference, frame, grid_mirrors(symmetric_shape(reference, frame)) if train.symmetrize else [])
    return Plan(rule, sources, body, rule.samples(sources, body))


def require_body_frame(molecule: Molecule) -> None:
    """Raise ConfigError for a molecule that has none.  Not collective."""
    try:
        make_frame(molecule)
    except GeometryError:
        raise ConfigError(
            f"there is no reduced model of {molecule.formula}, which is linear: modes are fixed in a body frame, "
            "which two atoms or a bent molecule have. Use the Hi-Fi solver (`mpiqmd md` without --model); if the molecule "
            "should be bent, correct the geometry."
        ) from None


def symmetric_shape(reference: Molecule, frame: BodyFrame) -> Molecule:
    """Return the reference, with equal bonds where it is bent XY2: the shape whose mirrors close the snapshots."""
    if not isinstance(frame, BisectorFrame):
        return reference
    first, second, angle = bent_coordinates(reference.positions_av, frame.vertex)
    mean = 0.5 * (first + second)
    return reference.with_positions(water_positions(mean, mean, angle, frame.vertex))
