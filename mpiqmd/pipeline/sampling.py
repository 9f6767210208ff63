"""The training geometries that an input asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.errors import ConfigError
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import same_molecule
from mpiqmd.pipeline.structures import read_structures
from mpiqmd.sampling.lattice import water_lattice
from mpiqmd.sampling.samples import Samples

if TYPE_CHECKING:
    from mpi4py import MPI


def choose_samples(settings: Settings, comm: MPI.Comm, reference: Molecule, frame: BodyFrame) -> Samples:
    """Return the training geometries in the body frame.  Collective.  Raises ConfigError where sampling does not fit."""
    train = settings.train
    if train.sampling == "structures":
        symbols, positions_sav = on_rank_zero(comm, read_structures, train.structures)
        same_molecule(symbols, reference, train.structures)
        body_sav = np.array([frame.align(positions_av).body_positions_av for positions_av in positions_sav])
        return Samples(body_sav, name="structures")
    vertex = require_bent(frame, reference)
    inner = water_lattice(train.bond_length, train.bond_scales, train.angle, train.angle_offsets, vertex)
    if not (train.outer_bond_scales and train.outer_angle_offsets):
        return inner
    outer = water_lattice(train.bond_length, train.outer_bond_scales, train.angle, train.outer_angle_offsets, vertex)
    return inner.joined(outer, "nested lattice")


def require_bent(frame: BodyFrame, molecule: Molecule) -> int:
    """Return the central atom of a bent XY2 molecule.  Raises ConfigError for any other.  Not collective."""
    if not isinstance(frame, BisectorFrame):
        raise ConfigError(
            f"train.sampling = 'lattice' with {'-'.join(molecule.symbols)}: the lattice of bond lengths and angles is for "
            "bent XY2 molecules such as water. Use train.sampling = 'structures' with a file of geometries."
        )
    return frame.vertex
