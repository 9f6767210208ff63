"""Learned-grid models of the tiny water molecule, made once per process."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from mpi4py import MPI

from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import EckartFrame, make_frame
from mpiqmd.molecule.surface import Owner
from mpiqmd.rom.learned.body_solver import LearnedBodySolver, learned_surface
from mpiqmd.rom.learned.compile import LearnedCompiler
from mpiqmd.rom.learned.data import LearnedArrays
from mpiqmd.rom.learned.energy import LearnedEnergy
from mpiqmd.rom.learned.learn_settings import LearnSettings
from mpiqmd.rom.learned.solver import LearnedSolver
from mpiqmd.rom.learned.training_set import TrainingSet, closed_training_set
from mpiqmd.rom.training_distance import TrainingDistance
from tests.helpers.tiny_water import TRAINING, Trained, geometry, train

RANK = 14
SETTINGS = LearnSettings(
    latent=1e-10, active=1e-10, solves=20, densities=100, xc_points=300, xc_samples=400, nodes=9, fit=200, gap=0.0
)
COARSE = LearnSettings(latent=1e-10, active=1e-10, solves=4, densities=40, xc_points=200, xc_samples=100, nodes=5, fit=60)


@dataclass
class LearnedWater:
    """A learned-grid model with everything it was made from."""

    trained: Trained
    training: TrainingSet
    compiler: LearnedCompiler
    arrays: LearnedArrays

    @property
    def model(self):
        """The physics."""
        return self.trained.model

    @cached_property
    def energy(self):
        """Its energy."""
        model = self.model
        return LearnedEnergy(self.arrays, model.functional, model.valences_a, model.grid.periodic_cell_v)

    def solver(self, tolerance=1e-12):
        """Its solver."""
        return LearnedSolver(self.energy, tolerance)

    def surface(self, labels=(), tolerance=1e-12, forces="gradient", frame=None):
        """Its surface in the laboratory."""
        region = TrainingDistance(self.training.positions_sav, vertex=0)
        moving = MovingFrame(frame or make_frame(self.model.molecule))
        return learned_surface(moving, LearnedBodySolver(self.solver(tolerance), labels), forces, region)

    def owner(self, labels=()):
        """An owner of that surface."""
        return Owner(self.surface(labels))


def learn_water(comm, functional="LDA", boundary="isolated", settings=SETTINGS, **physics):
    """Train on five geometries, keep a few modes and learn a grid for them."""
    trained = train(comm, functional=functional, boundary=boundary, **physics)
    trained.basis = trained.basis.truncated(RANK)
    positions = np.array([geometry(*point) for point in TRAINING])
    orbitals = np.array([trained.basis.coefficients(state.orbitals) for state in trained.states])
    training = closed_training_set(trained.basis.modes, trained.symmetries, positions, orbitals)
    return learn(trained, training, settings)


def learn(trained, training, settings=SETTINGS):
    """Learn the grid of a basis and a training set."""
    frame = make_frame(trained.model.molecule)
    return _learned(trained, training, frame, settings)


def _learned(trained, training, frame, settings):
    compiler = LearnedCompiler(trained.model, trained.basis.modes, training, frame, settings)
    return LearnedWater(trained, training, compiler, compiler.compile())


@lru_cache(maxsize=2)
def loose_water(cores=False):
    """Every atom moves along every axis, so that projectors move too; no mirrors."""
    trained, rng = serial_water(kind="cores" if cores else "plain").trained, np.random.default_rng(3)
    frame = EckartFrame(trained.model.molecule)
    moved = geometry(*TRAINING[0]) + rng.uniform(-0.08, 0.08, size=(12, 3, 3))
    positions_sav = np.array([frame.align(positions_av).body_positions_av for positions_av in moved])
    solver = trained.rom(RANK, tolerance=1e-8)
    matrices = [solver.solve(positions_av).density_matrix_nn for positions_av in positions_sav]
    occupied = [np.linalg.eigh(matrix_mm)[1][:, -trained.model.n_occupied :] for matrix_mm in matrices]
    return _learned(trained, TrainingSet(positions_sav, np.array(occupied)), frame, COARSE)


@lru_cache(maxsize=1)
def matrix_water():
    """The plain one with whole matrices for the first order of the ions, none of it read off points."""
    water = serial_water()
    return learn(water.trained, water.training, replace(SETTINGS, first_order=0.0))


KINDS = {"plain": {}, "doubled": {"density_refinement": 2.0}, "cores": {"cores": True}}
"""Physics: as it is, on a grid of density with twice the points, with model cores that move."""


def serial_water(functional="LDA", boundary="isolated", kind="plain"):
    """The same on this process alone, kept for all tests."""
    return _serial_water(functional, boundary, kind)


@lru_cache
def _serial_water(functional, boundary, kind):
    return learn_water(MPI.COMM_SELF, functional, boundary, **KINDS[kind])
