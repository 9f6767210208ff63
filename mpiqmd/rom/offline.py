"""The offline stage after the solves: orbitals to modes, and modes to a reduced model, grid-free if that is wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.extrapolation import purify
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BisectorFrame
from mpiqmd.molecule.symmetry import Mirror, mirror_image
from mpiqmd.parallel.log import Log
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.compiled import store as compiled
from mpiqmd.rom.compiled.compile import compile_model, make_solver
from mpiqmd.rom.learned import store as learned
from mpiqmd.rom.learned.compile import LearnedCompiler
from mpiqmd.rom.learned.training_set import TrainingSet
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.sampled_box import sampled_box
from mpiqmd.rom.snapshot_orbitals import SnapshotOrbitals
from mpiqmd.rom.snapshots import SAME_GEOMETRY, SnapshotStore
from mpiqmd.sampling.rules.rule import Body


def compress(snapshots: Orbitals, mirrors: Sequence[Mirror], options: RomOptions, log: Log) -> ReducedBasis:
    """Return the reduced basis of all training orbitals, closed under the mirrors.  Collective.

    Raises ConfigError if the rank or the fraction is impossible.
    """
    signs = [tuple(mirror_signs) for mirror_signs, _ in mirrors]
    basis = build_basis(snapshots, options.energy_fraction, options.criterion, options.rank, signs)
    capped = options.rank is None and options.online == "compiled" and basis.rank > options.max_rank
    if capped:
        basis = basis.truncated(options.max_rank)
    log(
        f"{describe_snapshots(basis)}: {basis.rank} of {len(basis.singular_values_k)} independent modes kept"
        f"{' (rom.max_rank)' if capped else ''}; rom.energy_fraction = {options.energy_fraction} asks for "
        f"{basis.rank_sigma} by sigma, {basis.rank_sigma2} by sigma2"
    )
    return basis


def describe_snapshots(basis: ReducedBasis) -> str:
    """Return how many orbitals a basis was made of, with their images under its mirrors.  Not collective."""
    images = basis.n_snapshots * (1 + len(basis.mirrors_gv))
    return f"{basis.n_snapshots} orbitals" + (f" ({images} with their mirror images)" if len(basis.mirrors_gv) else "")


def projections(basis: ReducedBasis, snapshots: SnapshotOrbitals) -> np.ndarray:
    """Return ``<ψ_m|φ_n>`` of the orbitals of every geometry, shape (geometries, modes, orbitals).  Collective."""
    return np.array([basis.coefficients(snapshots.of(index)) for index in range(len(snapshots.store))])


def make_reduced_model(
    model: KohnShamModel,
    body: Body,
    basis: ReducedBasis,
    store: SnapshotStore,
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
    store
        Geometries, energies and forces of the training.
    options, log
        Whether to compile and how tightly to solve, and where progress goes.
    """
    frame, mirrors = body.frame, body.mirrors
    arrays: dict[str, np.ndarray] = {}
    if options.online != "grid":
        training = closed_training_set(store.positions_sav, orbitals_smn, basis, mirrors)
        arrays = _grid_free_arrays(model, body, basis, training, options, log)
    vertex = frame.vertex if isinstance(frame, BisectorFrame) else None
    return ReducedModel(
        basis=basis,
        signature=model.signature(),
        frame=frame.name,
        reference_av=body.reference.positions_av,
        masses_a=body.reference.masses_a,
        training_positions_sav=store.positions_sav,
        training_energies_s=store.energies_s,
        training_forces_sav=store.forces_sav,
        training_orbitals_smn=orbitals_smn,
        box=sampled_box(store.positions_sav, vertex, mirrors),
        arrays=arrays,
        notes={"mirror_permutations": [permutation.tolist() for _, permutation in mirrors]},
    )


def _grid_free_arrays(
    model: KohnShamModel, body: Body, basis: ReducedBasis, training: TrainingSet, options: RomOptions, log: Log
) -> dict[str, np.ndarray]:
    """Return the arrays by path of a compiled or a learned-grid model.  Collective."""
    if options.online == "learned":
        return learned.to_arrays(LearnedCompiler(model, basis.modes, training, body.frame, log=log).compile())
    arrays = compile_model(model, basis.modes, basis.parities_mg, body.mirrors, training, body.frame, log=log)
    solver = make_solver(model, arrays, training, body.frame, options.tolerance)
    return compiled.to_arrays(dataclasses.replace(arrays, solver=solver.stored()))


def closed_training_set(
    positions_sav: np.ndarray, orbitals_smn: np.ndarray, basis: ReducedBasis, mirrors: list[Mirror]
) -> TrainingSet:
    """Return geometries and density matrices together with their mirror images.  Collective."""
    comm, n_electrons = basis.modes.grid.comm, SPIN_WEIGHT * orbitals_smn.shape[2]
    matrices = [purify(comm, orbitals @ orbitals.T, n_electrons) for orbitals in orbitals_smn]
    positions, densities = list(positions_sav), list(matrices)
    for g, mirror in enumerate(mirrors):
        parity = basis.parities_mg[:, g]
        for positions_av, matrix in zip(positions_sav, matrices, strict=True):
            image = mirror_image(positions_av, mirror)
            if min(np.abs(image - other).max() for other in positions) > SAME_GEOMETRY:
                positions.append(image)
                densities.append(matrix * np.outer(parity, parity))
    return TrainingSet(np.array(positions), np.array(densities))
