"""Compiled models of the tiny water molecule, made once per process."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from mpi4py import MPI

from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.frame import make_frame
from mpiqmd.rom.compiled.compile import CompileSettings, compile_model, make_solver
from mpiqmd.rom.compiled.data import CompiledArrays
from mpiqmd.rom.compiled.energy import CompiledEnergy
from mpiqmd.rom.learned.training_set import TrainingSet
from mpiqmd.rom.offline import closed_training_set
from tests.helpers.tiny_water import TRAINING, Trained, geometry, train

RANK = 14


@dataclass
class CompiledWater:
    """A compiled model with everything it was made from."""

    trained: Trained
    training: TrainingSet
    arrays: CompiledArrays

    @property
    def model(self) -> KohnShamModel:
        return self.trained.model

    @property
    def modes(self):
        return self.trained.basis.modes

    @cached_property
    def dense_modes(self):
        """The modes on the grid of the density."""
        return self.model.space(self.modes).dense

    @property
    def cell_v(self):
        return self.model.grid.cell_v if self.model.grid.is_periodic else None

    def energy(self, quadrature=True):
        """The compiled energy, without its quadrature if asked."""
        arrays = self.arrays if quadrature else replace(self.arrays, quadrature=None)
        return CompiledEnergy(arrays, self.model.functional, self.model.valences_a, self.cell_v)

    def solver(self, tolerance=1e-10, learn=False):
        frame = make_frame(self.model.molecule) if learn else None
        return make_solver(self.model, self.arrays, self.training, frame, tolerance)

    def at_nodes(self, first, second):
        """Body positions with both hydrogens on nodes of their tables, where interpolation is exact."""
        nodes = [atom.box.nodes() for atom in self.arrays.atoms]
        return np.array([np.zeros(3), nodes[0][first], nodes[1][second]])


def compile_water(comm, functional="LDA", boundary="isolated", nodes=9, points=40, densities=6, **physics):
    """Train on five geometries, keep a few modes and compile them."""
    trained = train(comm, functional=functional, boundary=boundary, **physics)
    trained.basis = trained.basis.truncated(RANK)
    positions = np.array([geometry(*point) for point in TRAINING])
    orbitals = np.array([trained.basis.coefficients(state.orbitals) for state in trained.states])
    training = closed_training_set(positions, orbitals, trained.basis, trained.mirrors)
    arrays = compile_model(
        trained.model,
        trained.basis.modes,
        trained.basis.parities_mg,
        trained.mirrors,
        training,
        make_frame(trained.model.molecule),
        CompileSettings(nodes=nodes, points=points, densities=densities),
    )
    return CompiledWater(trained, training, arrays)


@lru_cache(maxsize=4)
def serial_water(functional="LDA", boundary="isolated", density="same"):
    """The same on this process alone, kept for all tests."""
    doubled = {"density_refinement": 2.0} if density == "doubled" else {}
    return compile_water(MPI.COMM_SELF, functional, boundary, **doubled)


@lru_cache(maxsize=1)
def loose_water():
    """No mirrors, and every atom moves along every axis, so that projectors move too."""
    water, rng = serial_water(), np.random.default_rng(3)
    middle = geometry(*TRAINING[0])
    moved = middle + rng.uniform(-0.08, 0.08, size=(12, 3, 3))
    matrices = np.array([water.training.density_matrices_smm[k % 5] for k in range(12)])
    training = TrainingSet(moved, matrices)
    none = np.zeros((RANK, 0), int)
    settings = CompileSettings(nodes=5, points=30, densities=0)
    frame = make_frame(water.model.molecule)
    arrays = compile_model(water.model, water.modes, none, [], training, frame, settings)
    return CompiledWater(water.trained, training, arrays)


def random_density_matrix(rng, pairs, n_occupied=4):
    """A projector that respects the sectors: three orbitals in the first, one in the last."""
    last = pairs.sectors_m.max()
    orbitals = np.zeros((pairs.n_modes, n_occupied))
    for n in range(n_occupied):
        sector = last if n == n_occupied - 1 else 0
        orbitals[pairs.sectors_m == sector, n] = rng.normal(size=(pairs.sectors_m == sector).sum())
    orbitals, _ = np.linalg.qr(orbitals)
    return orbitals @ orbitals.T
