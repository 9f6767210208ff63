"""The training geometries that an input asks for, with the body frame and the mirrors they are trained in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError, GeometryError
from mpiqmd.molecule.bent import bent_coordinates, water_positions
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.images import whole
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import Mirror, grid_mirrors
from mpiqmd.pipeline.body_frame import oriented, periodic_cell
from mpiqmd.pipeline.build import read_frames
from mpiqmd.pipeline.modes import find_modes
from mpiqmd.pipeline.solving import TrainingSolver
from mpiqmd.rom.compiled.learning import sample_geometries
from mpiqmd.sampling.box import random_in_box
from mpiqmd.sampling.lattice import bent_samples, water_lattice
from mpiqmd.sampling.normal_modes import ThermalRegion
from mpiqmd.sampling.samples import Samples
from mpiqmd.sampling.selection import farthest_points

if TYPE_CHECKING:
    from mpi4py import MPI


FAR = 0.75
"""Displacement along a normal mode (bohr) beyond which real motion bends away from it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What to train on.  Not collective; replicated.

    Attributes
    ----------
    reference, frame, mirrors
        The molecule in its body frame, that frame, and the mirrors under which snapshots are closed.
    samples
        Geometries in the body frame; for greedy sampling those to choose from.
    region
        The thermal motion they fill, if they were made from it.
    """

    reference: Molecule
    frame: BodyFrame
    mirrors: list[Mirror]
    samples: Samples
    region: ThermalRegion | None = None

    def unseen(self, count: int, seed: int) -> np.ndarray:
        """Return random geometries of the sampled kind, shape (at most count, N, 3), bohr.

        Thermal motion if that was sampled, uniform in the box of a lattice, mixtures of samples otherwise.
        """
        if count == 0:
            return np.empty((0, *self.samples.positions_sav.shape[1:]))
        rng = np.random.default_rng(seed)
        if self.region is not None:
            drawn_sav = self.region.random(count, rng)
            return np.array([self.frame.align(positions_av).body_positions_av for positions_av in drawn_sav])
        if "theta" in self.samples.labels[0]:
            return _random_bent(self.samples, count, rng, self.frame.vertex)
        return sample_geometries(self.samples.positions_sav, self.frame, count, seed, reach=1.0)


def make_plan(solver: TrainingSolver, molecule: Molecule, folder: Path, may_compute: bool = True) -> Plan:
    """Return what to train a molecule on.  Collective.

    ``may_compute`` allows Hi-Fi evaluations, kept in ``folder``, where the sampling needs them.  Raises ConfigError where
    sampling does not fit the molecule, and what :func:`find_modes` raises.
    """
    settings, region = solver.settings, None
    train = settings.train
    require_body_frame(molecule)
    is_thermal = train.sampling == "normal-modes" or (train.sampling == "greedy" and train.structures is None)
    if is_thermal:
        modes = find_modes(solver, molecule, folder, may_compute)
        region = ThermalRegion(modes, train.temperature, train.deviations, train.quantum)
        if region.reach > FAR:
            solver.log(
                f"warning: atoms move by up to {region.reach:.2f} bohr along one vibration, which is no straight line any more "
                "(an internal rotation?); frames of a trajectory (train.sampling = 'trajectory') describe such motion better"
            )
        reference = modes.reference
    else:
        reference = oriented(molecule)
    frame = make_frame(reference)
    mirrors = grid_mirrors(symmetric_shape(reference, frame)) if train.symmetrize else []
    if region is not None:
        samples = _aligned(region.samples(_size(settings, molecule), mirrors), frame)
    elif train.sampling == "lattice":
        samples = _lattice(settings, require_bent(frame, reference))
    else:
        samples = _from_file(settings, solver.model.grid.comm, reference, frame, mirrors)
    return Plan(reference, frame, mirrors, samples, region)


def geometry_count(settings: Settings, molecule: Molecule) -> int:
    """Return how many geometries are solved, at most for greedy sampling.  Not collective."""
    return 40 + 4 * len(molecule) if settings.train.count is None else settings.train.count


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


def require_bent(frame: BodyFrame, molecule: Molecule) -> int:
    """Return the central atom of a bent XY2 molecule.  Raises ConfigError for any other.  Not collective."""
    if not isinstance(frame, BisectorFrame):
        raise ConfigError(
            f"train.sampling = 'lattice' with {molecule.formula}: the lattice of bond lengths and angles is for "
            "bent XY2 molecules such as water. Use train.sampling = 'normal-modes', or 'structures' with a file of geometries."
        )
    return frame.vertex


def symmetric_shape(reference: Molecule, frame: BodyFrame) -> Molecule:
    """Return the reference, with equal bonds where it is bent XY2: the shape whose mirrors close the snapshots."""
    if not isinstance(frame, BisectorFrame):
        return reference
    first, second, angle = bent_coordinates(reference.positions_av, frame.vertex)
    mean = 0.5 * (first + second)
    return reference.with_positions(water_positions(mean, mean, angle, frame.vertex))


def _size(settings: Settings, molecule: Molecule) -> int:
    """Return the number of samples to make: candidates if they will be chosen from."""
    return settings.train.candidates if settings.train.sampling == "greedy" else geometry_count(settings, molecule)


def _lattice(settings: Settings, vertex: int) -> Samples:
    train = settings.train
    inner = water_lattice(train.bond_length, train.bond_scales, train.angle, train.angle_offsets, vertex)
    if not (train.outer_bond_scales and train.outer_angle_offsets):
        return inner
    outer = water_lattice(train.bond_length, train.outer_bond_scales, train.angle, train.outer_angle_offsets, vertex)
    return inner.joined(outer, "nested lattice")


def _from_file(
    settings: Settings, comm: MPI.Comm, reference: Molecule, frame: BodyFrame, mirrors: list[Mirror]
) -> Samples:
    """Return all geometries of a file, or the few that represent it.  Collective."""
    train = settings.train
    positions_sav = read_frames(settings, reference, train.structures, comm)
    positions_sav = np.array([whole(positions_av, periodic_cell(settings)) for positions_av in positions_sav])
    samples = _aligned(Samples(positions_sav, name=train.sampling), frame)
    if train.sampling == "structures":
        return samples
    return samples.chosen(farthest_points(samples.positions_sav, _size(settings, reference), mirrors))


def _aligned(samples: Samples, frame: BodyFrame) -> Samples:
    """Return samples in the body frame."""
    body_sav = [frame.align(positions_av).body_positions_av for positions_av in samples.positions_sav]
    return Samples(np.array(body_sav), samples.labels, samples.name)


def _random_bent(samples: Samples, count: int, rng: np.random.Generator, vertex: int) -> np.ndarray:
    """Return random bent molecules inside the box of the samples' labels."""
    points = np.array([[label["L1"], label["L2"], label["theta"]] for label in samples.labels])
    longest = points[:, :2].max()
    lower = [points[:, :2].min(), points[:, :2].min(), points[:, 2].min()]
    upper = [longest, longest, points[:, 2].max()]
    return bent_samples(random_in_box(count, rng, lower, upper), "unseen", vertex).positions_sav
