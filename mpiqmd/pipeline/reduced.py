"""Reduced models for the other commands: made from snapshots, loaded from files, turned into surfaces."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.config.settings import Settings
from mpiqmd.datafiles import Shapes, stored_digest
from mpiqmd.errors import DataFileError
from mpiqmd.kohnsham.extrapolation import purify
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.body_surface import BodySurface, MovingFrame
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import BisectorFrame, BodyFrame, make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.surface import evaluation_at
from mpiqmd.molecule.symmetry import Mirror, mirror_image
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.build import build_solver
from mpiqmd.rom.basis import ReducedBasis
from mpiqmd.rom.body_solver import grid_surface
from mpiqmd.rom.compiled.body_solver import compiled_surface
from mpiqmd.rom.compiled.compile import TrainingSet, compile_model, make_solver, stored_solver
from mpiqmd.rom.compiled.solver import CompiledSolver
from mpiqmd.rom.compiled.store import from_arrays, to_arrays
from mpiqmd.rom.domain import sampled_box
from mpiqmd.rom.error_control import ErrorControl
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.full import FullSolution
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.online import RomSolver
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.rom.solved import ReducedAnswer
from mpiqmd.rom.verdict import verdict

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log


def build_reduced_model(
    settings: Settings,
    model: KohnShamModel,
    frame: BodyFrame,
    reference: Molecule,
    basis: ReducedBasis,
    store: SnapshotStore,
    mirrors: list[Mirror],
    log: Log,
) -> ReducedModel:
    """Return the reduced model of a basis and its snapshots, compiled if the input asks for it.  Collective."""
    orbitals = np.array([basis.coefficients(store.read(model.grid, index)) for index in range(len(store))])
    vertex = frame.vertex if isinstance(frame, BisectorFrame) else None
    arrays: dict[str, np.ndarray] = {}
    if settings.rom.online == "compiled":
        training = closed_training_set(store.positions_sav, orbitals, basis, mirrors)
        compiled = compile_model(model, basis.modes, basis.parities_mg, mirrors, training, frame, log=log)
        solver = make_solver(model, compiled, training, frame, settings.rom.tolerance)
        arrays = to_arrays(dataclasses.replace(compiled, solver=solver.stored()))
    return ReducedModel(
        basis=basis,
        signature=model.signature(),
        frame=frame.name,
        reference_av=reference.positions_av,
        masses_a=reference.masses_a,
        training_positions_sav=store.positions_sav,
        training_energies_s=store.energies_s,
        training_forces_sav=store.forces_sav,
        training_orbitals_smn=orbitals,
        box=sampled_box(store.positions_sav, vertex, mirrors),
        arrays=arrays,
        notes={"mirror_permutations": [permutation.tolist() for _, permutation in mirrors]},
    )


def closed_training_set(
    positions_sav: np.ndarray, orbitals_smn: np.ndarray, basis: ReducedBasis, mirrors: list[Mirror]
) -> TrainingSet:
    """Return geometries and density matrices together with their mirror images.  Collective."""
    comm, n_electrons = basis.modes.grid.comm, 2.0 * orbitals_smn.shape[2]
    matrices = [purify(comm, orbitals @ orbitals.T, n_electrons) for orbitals in orbitals_smn]
    positions, densities = list(positions_sav), list(matrices)
    for g, mirror in enumerate(mirrors):
        parity = basis.parities_mg[:, g]
        for positions_av, matrix in zip(positions_sav, matrices, strict=True):
            image = mirror_image(positions_av, mirror)
            if min(np.abs(image - other).max() for other in positions) > 1e-9:
                positions.append(image)
                densities.append(matrix * np.outer(parity, parity))
    return TrainingSet(np.array(positions), np.array(densities))


def build_rom_surface(
    settings: Settings, model: KohnShamModel, path: Path, log: Log, check_every: int | None = None
) -> tuple[ErrorControl, str]:
    """Return the reduced surface of a model file and the file's hash.  Collective.

    ``check_every`` overrides the input's.  Raises ConfigError if the model belongs to other physics than the input.
    """
    reduced = ReducedModel.load(path, model.grid.comm, model.grid, model.signature())
    digest = on_rank_zero(model.grid.comm, stored_digest, path)
    assert digest is not None, "a model without a seal is not loaded"
    log(f"reduced model {path}: {reduced.rank} modes, {len(reduced.training_positions_sav)} training geometries")
    judgement = verdict(reduced.notes.get("errors", {}), settings.rom.error_tolerance, settings.rom.online)
    if judgement is not None and not judgement["good"]:
        log(f"{path}: {judgement['words']}")
    return ReducedSurface(settings, model, reduced, log, check_every).surface, digest


def mirrors_of(reduced: ReducedModel) -> list[Mirror]:
    """Return the mirrors of a model file.  Not collective.  Raises DataFileError if they are not those of its modes."""
    signs_gv = reduced.basis.mirrors_gv
    shapes = Shapes(g=len(signs_gv), a=len(reduced.reference_av))
    try:
        written = np.asarray(reduced.notes["mirror_permutations"], int).reshape(len(signs_gv), -1)
        permutations_ga = shapes.numbers("mirror_permutations", written, "g a" if len(signs_gv) else "g 0", integer=True)
    except (KeyError, TypeError, ValueError) as problem:
        raise DataFileError(
            f"{reduced.source}: its mirrors are unusable ({problem}); one permutation of the atoms for each mirror is needed. "
            "Train the model again."
        ) from problem
    return list(zip(signs_gv, permutations_ga, strict=True))


def _compiled_solver(model: KohnShamModel, reduced: ReducedModel, frame: BodyFrame, tolerance: float) -> CompiledSolver:
    """Return the online solver of a compiled model, fitted anew where the file is too old to hold it.  Collective."""
    arrays = from_arrays(reduced.arrays, source=reduced.source)
    if arrays.solver is not None:
        return stored_solver(model, arrays, tolerance)
    orbitals = reduced.training_orbitals_smn
    training = closed_training_set(reduced.training_positions_sav, orbitals, reduced.basis, mirrors_of(reduced))
    return make_solver(model, arrays, training, frame, tolerance)


class ReducedSurface:
    """A reduced model ready for use: its surface, ground states in the body frame, error estimates.

    Construction is collective.
    """

    def __init__(
        self,
        settings: Settings,
        model: KohnShamModel,
        reduced: ReducedModel,
        log: Log,
        check_every: int | None = None,
    ) -> None:
        rom = settings.rom
        self.model = model
        reference = Molecule(model.molecule.symbols, reduced.reference_av, model.molecule.charge, reduced.masses_a)
        self.frame = make_frame(reference, reduced.frame)
        moving = MovingFrame(self.frame, model.grid.periodic_cell_v)
        self.solver = RomSolver.from_model(model, reduced, rom.minimiser, rom.tolerance)
        self.estimator = ErrorEstimator(model, reduced.basis.modes)
        self.compiled_solver: CompiledSolver | None = None
        inner: BodySurface[Any, ReducedAnswer]
        if rom.online == "compiled":
            self.compiled_solver = _compiled_solver(model, reduced, self.frame, rom.tolerance)
            inner = compiled_surface(moving, self.compiled_solver, rom.forces, reduced.box, reference.labels)
        else:
            inner = grid_surface(moving, self.solver, rom.forces, reduced.box)
        check_every = rom.check_every if check_every is None else check_every
        limits = Limits.named(check_every, rom.error_tolerance, rom.on_large_error)
        full = FullSolution(self.estimator, lambda: build_solver(settings, model))
        self.surface = ErrorControl(inner, self.estimator, full, limits, log)

    def ground_state(self, body_positions_av: np.ndarray) -> GroundState:
        """Return the reduced ground state on the grid at body-frame positions.  Collective."""
        return self.solver.solve(body_positions_av)

    def evaluate_compiled(self, body_positions_av: np.ndarray) -> Evaluation | None:
        """Return energy and exact forces of the compiled model without memory of earlier calls, None if there is none.

        Not collective.  Raises GeometryError outside its tables.
        """
        if self.compiled_solver is None:
            return None
        surface = compiled_surface(MovingFrame(self.frame), self.compiled_solver, labels=self.model.molecule.labels)
        return evaluation_at(surface, body_positions_av, surface.fresh())

    def error_estimate(self, body_positions_av: np.ndarray, state: GroundState) -> float:
        """Return the estimated energy error of a reduced ground state, Ha.  Collective."""
        return self.estimator.estimate(self.model.place(body_positions_av), state.density_matrix_nn)
