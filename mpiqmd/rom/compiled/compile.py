"""From a reduced basis and its training set to a compiled model.  Distributed over the grid; the result is replicated."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import BodyFrame
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.compiled.build import Compiler
from mpiqmd.rom.compiled.data import CompiledArrays
from mpiqmd.rom.compiled.energy import CompiledEnergy
from mpiqmd.rom.compiled.interaction import InteractionSamples
from mpiqmd.rom.compiled.learning import fit_predictor
from mpiqmd.rom.compiled.pairs import PairProducts
from mpiqmd.rom.compiled.quadrature import QuadratureBuilder
from mpiqmd.rom.compiled.solver import CompiledSolver
from mpiqmd.rom.learned.chebyshev import MOVES, training_boxes
from mpiqmd.rom.learned.training_set import TrainingSet, require_compilable
from mpiqmd.sampling.mixtures import sample_geometries

SMALL_NODES = 8
"""Nodes of a small box, at most."""
SAME = 1e-9
"""Difference below which two density matrices are one."""


@dataclasses.dataclass(frozen=True)
class CompileSettings:
    """How finely to compile.

    Attributes
    ----------
    nodes
        Chebyshev nodes per moving direction of each atom; at most SMALL_NODES for one that moves less than SMALL to either
        side of its middle.
    margin
        Room around the training positions, as a share of their range.
    points
        Quadrature points for the remainder of the xc energy.
    densities
        Densities at random geometries, beyond those of the training, for the fit of the interaction and the quadrature.
    seed
        Seed of their choice.
    """

    nodes: int = 11
    margin: float = 0.15
    points: int = 300
    densities: int = 60
    seed: int = 1


def compile_model(
    model: KohnShamModel,
    modes: Orbitals,
    characters_mg: np.ndarray,
    mirrors: list[tuple[np.ndarray, np.ndarray]],
    training: TrainingSet,
    frame: BodyFrame,
    settings: CompileSettings | None = None,
    log: Log | None = None,
) -> CompiledArrays:
    """Return the compiled model of a basis.  Collective.

    Parameters
    ----------
    model
        The physics; its electronic temperature must be zero.
    modes
        Orthonormal modes with definite parity under ``mirrors``.
    characters_mg
        Those parities, shape (modes, mirrors).
    mirrors
        (signs, permutation) of the reference's mirrors about the origin.
    training
        Geometries and density matrices, closed under the mirrors.
    frame
        The body frame, to align mixtures of training geometries.
    settings, log
        How finely, and where to report.

    Raises
    ------
    ConfigError
        At finite electronic temperature, or with a nonlinear core correction.
    """
    require_compilable(model)
    settings, log = settings or CompileSettings(), log or silent(model.grid.comm)
    pairs = PairProducts(_sectors(characters_mg, mirrors, training.positions_sav), characters_mg)
    reference_p = _reference(pairs, characters_mg, training)
    small_nodes = min(settings.nodes, SMALL_NODES)
    boxes = training_boxes(training.positions_sav, settings.nodes, small_nodes, settings.margin)
    dense_modes = model.space(modes).dense
    compiler = Compiler(model, modes, dense_modes, pairs, reference_p, boxes, log, mirrors)
    samples = InteractionSamples(pairs.classes)
    matrices = _distinct(training.density_matrices_smm, characters_mg)
    arrays, _ = _refitted(compiler.compile(), compiler, samples, matrices)
    more = _more_densities(model, arrays, training, frame, settings.densities, settings.seed)
    arrays, _ = _refitted(arrays, compiler, samples, more)
    builder = QuadratureBuilder(model, dense_modes, pairs, reference_p, seed=settings.seed, mirrors=mirrors)
    quadrature = builder.build(matrices + more, settings.points)
    arrays = dataclasses.replace(arrays, quadrature=quadrature)
    unseen = _more_densities(model, arrays, training, frame, settings.densities // 2, settings.seed + 1)
    arrays, missing = _refitted(arrays, compiler, samples, unseen)
    log(
        f"{len(pairs)} pair products, {arrays.interaction.multiplications} multiplications to let them interact (fitted to "
        f"{missing:.0e} Ha at unseen geometries), {len(quadrature.weights_q)} quadrature points"
    )
    return arrays


def _refitted(
    arrays: CompiledArrays, compiler: Compiler, samples: InteractionSamples, matrices: list[np.ndarray]
) -> tuple[CompiledArrays, float]:
    """Return the arrays with the interaction fitted on these densities too, and what the fit missed of them, Ha.

    Collective.
    """
    pairs = compiler.pairs
    coefficients_sp = np.array([pairs.coefficients(matrix) for matrix in matrices]).reshape(-1, len(pairs))
    missing = samples.add(coefficients_sp, compiler.potentials(coefficients_sp))
    return dataclasses.replace(arrays, interaction=samples.fit()), missing


def make_solver(
    model: KohnShamModel,
    arrays: CompiledArrays,
    training: TrainingSet,
    frame: BodyFrame | None = None,
    tolerance: float = 1e-9,
) -> CompiledSolver:
    """Return the online solver about the training geometry nearest the mean.  Replicated, not collective.

    Given the body frame it fits the predictor of its minima, which takes a second or two and saves most evaluations of
    every step.
    """
    start = training.positions_sav[training.central], training.density_matrices_smm[training.central]
    solver = CompiledSolver(compiled_energy(model, arrays), *start, model.n_occupied, tolerance)
    if frame is not None:
        solver.predictor = fit_predictor(solver, training.positions_sav, frame)
    return solver


def stored_solver(model: KohnShamModel, arrays: CompiledArrays, tolerance: float = 1e-9) -> CompiledSolver:
    """Return the online solver that the arrays were stored with.  Replicated, not collective."""
    energy = compiled_energy(model, arrays)
    return CompiledSolver(energy, None, None, model.n_occupied, tolerance, stored=arrays.solver)


def compiled_energy(model: KohnShamModel, arrays: CompiledArrays) -> CompiledEnergy:
    """Return the compiled energy of a model.  Replicated, not collective."""
    return CompiledEnergy(arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)


def _sectors(characters_mg: np.ndarray, mirrors, positions_sav: np.ndarray) -> np.ndarray:
    """Return the sector of each mode: its parities under the mirrors that every geometry keeps."""
    kept = [
        g
        for g, (signs, permutation) in enumerate(mirrors)
        if (permutation == np.arange(len(permutation))).all() and np.abs(positions_sav * signs - positions_sav).max() < MOVES
    ]
    if not kept:
        return np.zeros(len(characters_mg), int)
    _, labels = np.unique(-characters_mg[:, kept], axis=0, return_inverse=True)
    return labels.ravel()


def _reference(pairs: PairProducts, characters_mg: np.ndarray, training: TrainingSet) -> np.ndarray:
    """Return the mean training density on the pairs, made fully symmetric."""
    reference = np.mean([pairs.coefficients(matrix) for matrix in training.density_matrices_smm], axis=0)
    symmetric = (characters_mg[pairs.rows] * characters_mg[pairs.columns] > 0).all(axis=1)
    return np.where(symmetric, reference, 0.0)


def _distinct(matrices_smm: np.ndarray, characters_mg: np.ndarray) -> list[np.ndarray]:
    """Return the density matrices without those that are mirror images of earlier ones."""
    kept: list[np.ndarray] = []
    signs = [np.outer(column, column) for column in characters_mg.T]
    for matrix in matrices_smm:
        images = [matrix, *(matrix * sign for sign in signs)]
        if not any(np.abs(image - other).max() < SAME for image in images for other in kept):
            kept.append(matrix)
    return kept


def _more_densities(
    model: KohnShamModel, arrays: CompiledArrays, training: TrainingSet, frame: BodyFrame, count: int, seed: int
) -> list[np.ndarray]:
    """Return density matrices at random mixtures of training geometries, solved as compiled so far.  Collective."""
    solver = make_solver(model, arrays, training)
    matrices = []
    for positions_av in sample_geometries(training.positions_sav, frame, count, seed, reach=1.0):
        with suppress(ConvergenceError):
            matrices.append(solver.solve(solver.energy.place(positions_av)).density_matrix_mm)
    return decide(model.grid.comm, matrices)
