"""A water molecule on a coarse grid, trained on a few geometries in a fraction of a second."""

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.hifi.abpg import AbpgSolver
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.bent import water_positions
from mpiqmd.molecule.body_surface import MovingFrame
from mpiqmd.molecule.frame import make_frame
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.symmetry import grid_symmetries
from mpiqmd.rom.basis import ReducedBasis, build_basis
from mpiqmd.rom.body_solver import grid_surface
from mpiqmd.rom.grid_solver import RomSolver
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.sampled_box import sampled_box
from mpiqmd.rom.training_distance import TrainingDistance

ANGLE = np.radians(104.5)
TRAINING = [(1.83, 1.83, 0.0), (1.92, 1.74, 0.0), (1.92, 1.92, 0.09), (1.74, 1.74, -0.09), (1.83, 1.74, 0.09)]
UNSEEN = [(1.87, 1.80, 0.03), (1.79, 1.77, -0.05), (1.90, 1.84, 0.06)]


def geometry(first, second, change):
    """Body-frame positions of bond lengths (bohr) and a change of the angle (radian)."""
    return water_positions(first, second, ANGLE + change)


CORES = {"O": (1.3, 0.7), "H": (0.3, 0.6)}
"""Charge and width (bohr) of Gaussian model cores: hydrogen has none in earnest, but moves."""


def with_core(symbol, functional):
    """A GTH pseudopotential with a model core."""
    pseudo, (charge, width) = load_gth(symbol, functional), CORES[symbol]
    core_r = charge * np.exp(-((pseudo.mesh_r / width) ** 2)) / (np.sqrt(np.pi) * width) ** 3
    return replace(pseudo, core_density_r=core_r)


def water_model(comm, functional="LDA", boundary="isolated", temperature=0.0, points=20, density_refinement=1.0, cores=False):
    """The physics: GTH water in an 8 bohr cell, fourth order."""
    grid = Grid(comm, 8.0, points, order=4, boundary=boundary)
    molecule = Molecule(("O", "H", "H"), geometry(*TRAINING[0]))
    load = with_core if cores else load_gth
    pseudopotentials = {symbol: load(symbol, functional) for symbol in ("O", "H")}
    return KohnShamModel(grid, molecule, pseudopotentials, Functional(functional), temperature, density_refinement)


@dataclass
class Trained:
    """A model, its training states and the untruncated basis."""

    model: KohnShamModel
    solver: AbpgSolver
    states: list[GroundState]
    basis: ReducedBasis

    def hifi(self, positions_av):
        """The full ground state."""
        return self.solver.solve(self.model.place(positions_av))

    def rom(self, rank=None, **options):
        """A reduced solver on the first modes."""
        basis = self.basis if rank is None else self.basis.truncated(rank)
        return RomSolver(self.model, basis.modes, **options)

    def surface(self, rank=None, forces="gradient", extrapolation=2, minimiser="diis", tolerance=1e-8):
        """A reduced surface in the laboratory."""
        solver = self.rom(rank, minimiser=minimiser, tolerance=tolerance)
        region = TrainingDistance(np.array([geometry(*point) for point in TRAINING]), vertex=0, symmetries=self.symmetries)
        return grid_surface(MovingFrame(make_frame(self.model.molecule)), solver, forces, region, extrapolation)

    @property
    def symmetries(self):
        """Symmetry operations of the reference."""
        return grid_symmetries(self.model.molecule)

    def reduced_model(self, rank=None):
        """The same as a model file holds it."""
        basis = self.basis if rank is None else self.basis.truncated(rank)
        positions = np.array([geometry(*point) for point in TRAINING])
        return ReducedModel(
            basis=basis,
            signature=self.model.signature(),
            frame="bisector",
            reference_av=positions[0],
            masses_a=self.model.molecule.masses_a,
            training_positions_sav=positions,
            training_energies_s=np.array([state.free_energy for state in self.states]),
            training_forces_sav=np.array([state.forces_av for state in self.states]),
            training_orbitals_smn=np.array([basis.coefficients(state.orbitals) for state in self.states]),
            box=sampled_box(positions, vertex=0, symmetries=self.symmetries),
            symmetries=self.symmetries,
            arrays={"learned/constant": np.array(-17.0)},
            notes={"validation": {"energy": 1e-6}},
        )


_SOLVED: dict[tuple, tuple] = {}
"""Local parts of what :func:`train` computed: a test's communicator is new, its distribution the same."""


def train(comm, symmetrize=True, **physics):
    """Solve the training geometries and compress them without truncation; once per session and kind."""
    model = water_model(comm, **physics)
    solver = AbpgSolver(model, energy_tolerance=1e-12)
    key = (comm.size, symmetrize, *sorted(physics.items()))
    if key not in _SOLVED:
        _SOLVED[key] = _solve(model, solver, symmetrize)
    states, basis = _SOLVED[key]
    states = [_on(model, state) for state in states]
    return Trained(model, solver, states, replace(basis, modes=Orbitals(model.grid, basis.modes.local)))


def _on(model, state):
    """The same state on another grid of the same distribution."""
    orbitals = Orbitals(model.grid, state.orbitals.local)
    return replace(state, electrons=Electrons(model.space(orbitals), state.density_matrix_nn))


def _solve(model, solver, symmetrize):
    states = [solver.solve(model.place(geometry(*point))) for point in TRAINING]
    snapshots = Orbitals(model.grid, np.concatenate([state.orbitals.local for state in states]))
    return states, build_basis(snapshots, 1.0, symmetries=grid_symmetries(model.molecule) if symmetrize else [])
