"""The online stage of a reduced model: what is loaded becomes a surface, with ground states and error estimates beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiqmd.errors import ConfigError, ConvergenceError, DataFileError, GeometryError, MpiqmdError
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.body_surface import BodySurface, MovingFrame
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.parallel.dense import eigh
from mpiqmd.rom.body_solver import grid_surface
from mpiqmd.rom.error_control import ErrorControl
from mpiqmd.rom.estimate import ErrorEstimator
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.learned import store as learned
from mpiqmd.rom.learned.body_solver import LearnedBodySolver, learned_surface
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.grid_solve import GridEnergy, minimum_near
from mpiqmd.rom.learned.solver import GAIN_PER_TOLERANCE, LearnedSolver
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.options import RomOptions
from mpiqmd.rom.otherwise import Otherwise
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.solved import ReducedAnswer
from mpiqmd.rom.training_distance import TrainingDistance
from mpiqmd.rom.training_span import TrainingSpan
from mpiqmd.rom.window_frame import frame_of_model

if TYPE_CHECKING:
    from mpiqmd.parallel.log import Log


GRID_TOLERANCE = 1e-10
"""What a last step on the grid may gain, Ha, where a grid-free form is compared with it."""


class Answer(NamedTuple):
    """Energy (Ha) and forces (Ha/bohr) at a geometry, and the density matrix over the modes, shape (modes, modes)."""

    evaluation: Evaluation
    density_matrix_mm: np.ndarray


class OnlineStage:
    """A reduced model ready for use: its surface, ground states in the body frame, error estimates.

    Construction is collective.

    Parameters
    ----------
    model
        The physics.
    reduced
        The reduced model of that physics.
    options
        Which online stage, how tightly it is solved, and what follows large errors.
    make_full_solver
        Makes the full-space solver when it is first needed, which may be never.
    log
        Where large errors are told.

    Attributes
    ----------
    surface
        Energies and forces in the laboratory, their errors watched.
    online
        The form in use, as ``rom.online`` has it.
    region
        The geometries of the training.
    frame, solver, estimator, grid_free
        The body frame, the solver on the grid, the estimator of its errors, and the grid-free solver, None without one.
    """

    def __init__(
        self,
        model: KohnShamModel,
        reduced: ReducedModel,
        options: RomOptions,
        make_full_solver: Callable[[], ElectronicSolver],
        log: Log,
    ) -> None:
        self.model, self.online = model, options.online
        reference = Molecule(model.molecule.symbols, reduced.reference_av, model.molecule.charge, reduced.masses_a)
        self.frame = make_frame(reference, reduced.frame)
        moving = frame_of_model(MovingFrame(self.frame, model.grid.periodic_cell_v), reduced.notes, reduced.source)
        self.solver = RomSolver.from_model(model, reduced, options.minimiser, options.tolerance)
        self.estimator = ErrorEstimator(model, reduced.basis.modes)
        self.grid_free = _grid_free(model, reduced, options)
        region = self.region = TrainingDistance(reduced.training_positions_sav, reduced.box.vertex, reduced.symmetries)
        inner: BodySurface[Any, ReducedAnswer]
        if self.grid_free is None:
            inner = grid_surface(moving, self.solver, options.forces, region)
        else:
            inner = learned_surface(moving, self.grid_free, options.forces, region)
        otherwise = Otherwise(self.estimator, self.solver, make_full_solver)
        self.surface = ErrorControl(inner, self.estimator, otherwise, Limits.of(options), log)

    def ground_state(self, body_positions_av: np.ndarray) -> GroundState:
        """Return the reduced ground state on the grid at body-frame positions.  Collective."""
        return self.solver.solve(body_positions_av)

    def answer(self, body_positions_av: np.ndarray) -> Answer:
        """Return energy, exact forces and density matrix of the form in use, without memory of earlier calls.  Collective.

        Raises GeometryError outside the tables of a grid-free form, and ConvergenceError.
        """
        if self.grid_free is None:
            return self.answer_on_grid(body_positions_av)
        surface = learned_surface(MovingFrame(self.frame), self.grid_free)
        (alignment,), (answer,) = surface.solve([body_positions_av], [surface.fresh()])
        if isinstance(answer, MpiqmdError):
            raise answer
        assert not isinstance(alignment, MpiqmdError)
        return Answer(surface.carried_back(alignment, answer), answer.density_matrix_mm)

    def answer_on_grid(self, body_positions_av: np.ndarray) -> Answer:
        """Return the same of the form on the grid, there or not there another one.  Collective.  Raises ConvergenceError."""
        if self.grid_free is not None:
            with suppress(GeometryError, ConvergenceError):
                return self._answer_near(body_positions_av, self.answer(body_positions_av).density_matrix_mm)
        state, alignment = self.ground_state(body_positions_av), self.frame.align(body_positions_av)
        evaluation = Evaluation(state.free_energy, alignment.gradient_forces(state.gradient_av))
        return Answer(evaluation, state.density_matrix_nn)

    @cached_property
    def _grid_energy(self) -> GridEnergy:
        """The reduced energy on the grid; it remembers the kinetic energy between modes."""
        return GridEnergy(self.model, self.estimator.modes)

    def _answer_near(self, body_positions_av: np.ndarray, density_matrix_mm: np.ndarray) -> Answer:
        """Return the same, found from the grid-free form's by the orbitals' gradient: quicker with hundreds of modes."""
        model, energy = self.model, self._grid_energy
        _, vectors = eigh(model.grid.comm, density_matrix_mm)
        kinetic_mm = energy.modes.kinetic_matrix(model.laplacian)
        problem, occupied_mn = model.place(body_positions_av), vectors[:, -model.n_occupied :]
        value, orbitals_mn, gradient_av = minimum_near(energy, problem, kinetic_mm, occupied_mn, GRID_TOLERANCE)
        forces_av = self.frame.align(body_positions_av).gradient_forces(gradient_av)
        return Answer(Evaluation(value, forces_av), orbitals_mn @ orbitals_mn.T)

    def error_estimate(self, body_positions_av: np.ndarray, density_matrix_mm: np.ndarray) -> float:
        """Return the estimated energy error of a reduced density matrix, Ha.  Collective."""
        return self.estimator.estimate(self.model.place(body_positions_av), density_matrix_mm)


def _grid_free(model: KohnShamModel, reduced: ReducedModel, options: RomOptions) -> LearnedBodySolver | None:
    """Return the solver of a learned-grid model, None where the grid is wanted.  Not collective."""
    if options.online == "grid":
        return None
    gone = {name.split("/")[0] for name in reduced.arrays} - {"learned"}
    if gone:
        raise ConfigError(
            f"{reduced.source} was trained with rom.online = {' and '.join(map(repr, sorted(gone)))}, a form that this version "
            "no longer has. Train again with `mpiqmd train`: its snapshots are kept and used again. Or use rom.online = 'grid'."
        )
    span = TrainingSpan.of_geometries(reduced.training_positions_sav, reduced.symmetries)
    arrays = learned.from_arrays(reduced.arrays, source=reduced.source)
    if model.functional.uses_gradient and not arrays.xc.slopes_vfq.size:
        raise DataFileError(
            f"{reduced.source} has no gradients at its points of xc, which this functional needs. Train again with "
            "`mpiqmd train`: its snapshots are kept."
        )
    energy = LearnedEnergy(arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)
    return LearnedBodySolver(LearnedSolver(energy, GAIN_PER_TOLERANCE * options.tolerance), model.molecule.labels, span)
