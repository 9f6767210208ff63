"""The offline stage after the solves: orbitals to modes, and modes to a reduced model, grid-free if that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BisectorFrame
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.log import Log
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.learned import store as learned
from mpiqmd.rom.learned.compile import LearnedCompiler
from mpiqmd.rom.learned.learn_settings import USUAL_ERROR, LearnSettings
from mpiqmd.rom.learned.training_set import closed_training_set
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.sampled_box import sampled_box
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.sampling.rules.rule import Body

AT_ONCE = 16
"""Geometries whose orbitals are projected together."""


class SolvedGeometries(Protocol):
    """What a model keeps of its training beside the orbitals, as a :class:`~mpiqmd.rom.snapshots.SnapshotStore` has it."""

    @property
    def positions_sav(self) -> np.ndarray:
        """Body-frame positions, shape (S, N, 3), bohr."""
        ...

    @property
    def energies_s(self) -> np.ndarray:
        """Free energies, shape (S,), Ha."""
        ...

    @property
    def forces_sav(self) -> np.ndarray:
        """Forces, shape (S, N, 3), Ha/bohr."""
        ...


def compress(snapshots: Orbitals, symmetries: Sequence[Symmetry], options: RomOptions, log: Log) -> ReducedBasis:
    """Return the reduced basis of all training orbitals, closed under symmetry operations.  Collective.

    Raises ConfigError if the rank or the fraction is impossible.
    """
    basis = build_basis(snapshots, options.energy_fraction, options.criterion, options.rank, symmetries, log)
    most = basis.rank if options.rank is not None or options.max_rank is None else options.max_rank
    capped = most < basis.rank
    if capped:
        basis = basis.truncated(most)
    log(
        f"{describe_snapshots(basis.n_snapshots, len(symmetries))}: {basis.rank} of {len(basis.singular_values_k)} independent "
        f"modes kept{' (rom.max_rank)' if capped else ''}; rom.energy_fraction = {options.energy_fraction} asks for "
        f"{basis.rank_sigma} by sigma, {basis.rank_sigma2} by sigma2"
    )
    return basis


def describe_snapshots(count: int, n_symmetries: int) -> str:
    """Return how many orbitals a basis was made of, with their images.  Not collective."""
    return f"{count} orbitals" + (f" ({count * (1 + n_symmetries)} with their images)" if n_symmetries else "")


def projections(basis: ReducedBasis, snapshots: SnapshotOrbitals) -> np.ndarray:
    """Return ``<ψ_m|φ_n>`` of the orbitals of every geometry, shape (geometries, modes, orbitals).  Collective.

    Of some geometries at a time: of one alone it would take as long as it takes to read all modes.
    """
    count, found = len(snapshots.store), []
    for start in range(0, count, AT_ONCE):
        some = [snapshots.of(index).local for index in range(start, min(start + AT_ONCE, count))]
        together_mj = basis.coefficients(Orbitals(snapshots.grid, np.concatenate(some)))
        found += np.split(together_mj, len(some), axis=1)
    return np.array(found)


def make_reduced_model(
    model: KohnShamModel,
    body: Body,
    basis: ReducedBasis,
    solved: SolvedGeometries,
    orbitals_smn: np.ndarray,
    *,
    options: RomOptions,
    log: Log,
) -> ReducedModel:
    """Return the reduced model of a basis, grid-free if the options ask for it.  Collective.

    Parameters
    ----------
    model, body
        The physics, and the molecule in the body frame of its training.
    basis, orbitals_smn
        The modes, and the :func:`projections` of the training orbitals on them.
    solved
        Geometries, energies and forces of the training.
    options, log
        Whether it shall be grid-free, and where progress goes.
    """
    frame, symmetries = body.frame, body.symmetries
    arrays: dict[str, np.ndarray] = {}
    if options.online != "grid":
        occupied_smn = orbitals_smn[:, :, : model.n_occupied]
        training = closed_training_set(basis.modes, symmetries, solved.positions_sav, occupied_smn)
        settings = LearnSettings().scaled(options.compilation_error / USUAL_ERROR)
        arrays = learned.to_arrays(LearnedCompiler(model, basis.modes, training, frame, settings, log).compile())
    vertex = frame.vertex if isinstance(frame, BisectorFrame) else None
    return ReducedModel(
        basis=basis,
        signature=model.signature(),
        frame=frame.name,
        reference_av=body.reference.positions_av,
        masses_a=body.reference.masses_a,
        training_positions_sav=solved.positions_sav,
        training_energies_s=solved.energies_s,
        training_forces_sav=solved.forces_sav,
        training_orbitals_smn=orbitals_smn,
        box=sampled_box(solved.positions_sav, vertex, symmetries),
        symmetries=symmetries,
        arrays=arrays,
    )
