"""Exact solutions, and the few tools with which tests compare distributed results with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from scipy.special import erf

from mpiqmd.grid import Field, Grid, Orbitals
from mpiqmd.kohnsham.electrons import Electrons, OrbitalSpace
from mpiqmd.kohnsham.functional import Functional
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.molecule.gth import load_gth
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.pseudopotential import Channel, Pseudopotential

# ---- replicated functions, the same on every rank and every number of ranks ------------------------------------------


def local_part(grid: Grid, whole: np.ndarray) -> np.ndarray:
    """This rank's block of an array ``(..., z, y, x)`` that every rank holds."""
    return np.ascontiguousarray(whole[(..., *grid.local_slices)])


def random_field(grid: Grid, rng: np.random.Generator) -> Field:
    """White noise, the same function on any number of ranks."""
    return Field(grid, local_part(grid, rng.normal(size=grid.shape)))


def random_orbitals(grid: Grid, rng: np.random.Generator, n: int) -> Orbitals:
    """Blocks of white noise, the same functions on any number of ranks."""
    return Orbitals(grid, local_part(grid, rng.normal(size=(n, *grid.shape))))


def smooth_orbitals(grid: Grid, rng: np.random.Generator, n: int) -> Orbitals:
    """n orthonormal functions of a few long waves under an envelope that vanishes smoothly at the walls."""
    z, y, x = (2 * np.pi * c / edge for c, edge in zip(grid.local_coordinates, grid.cell_v[::-1], strict=True))
    envelope = 1.0 if grid.is_periodic else np.cos(x / 2) ** 4 * np.cos(y / 2) ** 4 * np.cos(z / 2) ** 4
    functions = []
    for _ in range(n):
        a, b, c, d = rng.uniform(-1, 1, size=4)
        functions.append((np.exp(a * np.sin(x + b) + c * np.cos(y - d)) + np.sin(z + a) * np.cos(x - y + c)) * envelope)
    block = Orbitals(grid, np.stack(functions) + np.zeros((n, *grid.local_shape)))
    return orthonormal(block)


def orthonormal(block: Orbitals) -> Orbitals:
    """The block made orthonormal through its (replicated) Gram matrix."""
    return block.combine(np.linalg.inv(np.linalg.cholesky(block.gram())).T)


def everywhere(block: Field | Orbitals) -> np.ndarray:
    """The whole function or block as an array on every rank.  Collective."""
    comm = block.grid.comm
    blocks = block.local if isinstance(block, Orbitals) else block.local[None]
    wholes = [Field(block.grid, local).gather() for local in blocks]
    whole = comm.bcast(np.array(wholes) if comm.rank == 0 else None, root=0)
    return whole if isinstance(block, Orbitals) else whole[0]


def largest(comm: MPI.Comm, local: np.ndarray) -> float:
    """The largest magnitude of a distributed array on any rank.  Collective."""
    return comm.allreduce(float(np.abs(local).max(initial=0.0)), op=MPI.MAX)


def on_one_rank(grid: Grid, serial_comm: MPI.Comm) -> Grid:
    """The same grid with all its points on this rank."""
    return Grid(serial_comm, grid.cell_v, grid.points_v, grid.order, grid.boundary)


def plane_wave(grid: Grid, wave: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The wave vector (3,) of whole periods of a cell, 1/bohr, and this rank's values of its phase ``k · r``."""
    z, y, x = grid.local_coordinates
    waves_v = 2 * np.pi * np.array(wave) / grid.cell_v
    return waves_v, waves_v[0] * x + waves_v[1] * y + waves_v[2] * z


# ---- exact solutions -------------------------------------------------------------------------------------------------


def distances(grid: Grid, centre_v: np.ndarray) -> np.ndarray:
    """Distances of this rank's points from a centre, bohr."""
    z, y, x = grid.local_coordinates
    return np.sqrt((z - centre_v[2]) ** 2 + (y - centre_v[1]) ** 2 + (x - centre_v[0]) ** 2)


def gaussian_charge(r: np.ndarray, width: float) -> np.ndarray:
    """Unit charge ``exp(-r²/w²) / (√π w)³``."""
    return np.exp(-((r / width) ** 2)) / (np.sqrt(np.pi) * width) ** 3


def gaussian_potential(r: np.ndarray, width: float) -> np.ndarray:
    """Its Coulomb potential in free space, ``erf(r/w) / r``."""
    safe = np.maximum(r, 1e-7)
    return erf(safe / width) / safe


def gaussian_interaction(distance: float, width_1: float, width_2: float) -> float:
    """Coulomb energy of two unit Gaussian charges in free space, ``erf(d / √(w1² + w2²)) / d``."""
    combined = np.hypot(width_1, width_2)
    return float(2 / (np.sqrt(np.pi) * combined) if distance == 0 else erf(distance / combined) / distance)


MADELUNG = {"rocksalt": 1.747564594633182, "caesium chloride": 1.762674773070988}
"""``-E d`` per ion pair for unit charges at nearest distance d (OEIS A085469 and A181152)."""


# ---- pseudo-atoms for which everything is smooth ---------------------------------------------------------------------


def soft_ion(symbol: str, valence: float, width: float, with_projectors: bool = False) -> Pseudopotential:
    """An ion with ``V_loc = -Z erf(r/w) / r`` and, if asked for, two Gaussian projectors for l = 0 and one for l = 1, 2."""
    mesh_r = 0.01 * np.arange(1001)
    channels: tuple[Channel, ...] = ()
    if with_projectors:
        envelope = np.exp(-((mesh_r / 0.9) ** 2))
        pair = np.stack([envelope, envelope * mesh_r**2])
        channels = (
            Channel(0, pair, np.array([[1.3, -0.4], [-0.4, 0.7]])),
            Channel(1, (envelope * mesh_r)[None], np.array([[-0.9]])),
            Channel(2, (envelope * mesh_r**2)[None], np.array([[0.6]])),
        )
    local_r = -valence * gaussian_potential(mesh_r, width)
    return Pseudopotential(symbol, valence, "LDA", f"soft {symbol}", "0" * 64, mesh_r, local_r, channels)


def gth_model(
    grid: Grid,
    symbols: tuple[str, ...],
    functional: str = "LDA",
    charge: int = 0,
    temperature: float = 0.0,
    density_refinement: float = 1.0,
    **options: Any,
) -> KohnShamModel:
    """A model of GTH atoms; its positions come with ``place``."""
    chosen = Functional(functional)
    far_apart_av = 3.0 * np.arange(len(symbols))[:, None] * np.ones(3)
    pseudopotentials = {symbol: load_gth(symbol, chosen.family) for symbol in set(symbols)}
    molecule = Molecule(symbols, far_apart_av, charge)
    return KohnShamModel(grid, molecule, pseudopotentials, chosen, temperature, density_refinement, **options)


def water(length_1: float = 1.83, length_2: float = 1.83, angle: float = 104.5) -> np.ndarray:
    """Positions of O, H, H in bohr: O at the origin, bisector along +x, plane z = 0; the angle in degrees."""
    half = np.radians(angle) / 2
    c, s = np.cos(half), np.sin(half)
    return np.array([[0, 0, 0], [length_1 * c, length_1 * s, 0], [length_2 * c, -length_2 * s, 0]])


def density_of(orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Field:
    """``2 Σ_ij P_ij φ_i φ_j`` on the orbitals' own grid."""
    return Electrons(OrbitalSpace(orbitals), density_matrix_nn).density


# ---- derivatives and orders ------------------------------------------------------------------------------------------


def central_difference(function: Callable[[float], float | np.ndarray], step: float) -> float | np.ndarray:
    """``f'(0)`` from four points, error of order ``step⁴``."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def position_gradient(energy: Callable[[np.ndarray], float | np.ndarray], positions_av: np.ndarray, step: float) -> np.ndarray:
    """``dE/dR`` by central differences: shape (N, 3), after those of the energy if it is an array of energies."""
    columns = []
    for index in np.ndindex(positions_av.shape):

        def along(t: float, index: tuple[int, ...] = index) -> float | np.ndarray:
            moved_av = positions_av.copy()
            moved_av[index] += t
            return energy(moved_av)

        columns.append(central_difference(along, step))
    columns = np.array(columns)
    return np.moveaxis(columns, 0, -1).reshape(*columns.shape[1:], *positions_av.shape)


def random_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A unit vector in the space of all displacements."""
    noise = rng.normal(size=shape)
    return noise / np.linalg.norm(noise)


def free_energy_slope(
    solver: ElectronicSolver,
    model: KohnShamModel,
    positions_av: np.ndarray,
    direction_av: np.ndarray,
    state: GroundState,
    step: float,
) -> float:
    """``dA/dt`` of the ground states at ``R + t D``, each solved from the orbitals of one; to be minus the forces along D."""

    def free_energy(t: float) -> float:
        return solver.solve(model.place(positions_av + t * direction_av), state.orbitals).free_energy

    return central_difference(free_energy, step)


def observed_orders(spacings: list[float], errors: list[float]) -> np.ndarray:
    """``ln(e_i / e_i+1) / ln(h_i / h_i+1)`` for each consecutive pair."""
    return np.diff(np.log(errors)) / np.diff(np.log(spacings))


def order_table(title: str, spacings: list[float], errors: list[float]) -> str:
    """Spacings, errors and observed orders, for the log of a convergence test."""
    orders = ["", *(f"{order:6.2f}" for order in observed_orders(spacings, errors))]
    rows = [f"  h = {h:7.4f}  error = {e:9.2e}  {o}" for h, e, o in zip(spacings, errors, orders, strict=True)]
    return "\n".join([title, *rows])
