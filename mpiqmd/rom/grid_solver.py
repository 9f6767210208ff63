"""The online stage on the grid: ground states in the span of the modes, by minimising over density matrices."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.ensemble_minimiser import minimise_diis, minimise_mvp
from mpiqmd.kohnsham.ensemble_search import Minimum
from mpiqmd.kohnsham.extrapolation import purify
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.occupations import fermi_occupations
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh
from mpiqmd.rom.grid_model import GridReducedModel, PlacedGridModel
from mpiqmd.rom.model import ReducedModel

MINIMISERS: dict[str, Callable[..., Minimum]] = {"diis": minimise_diis, "mvp": minimise_mvp}


class RomSolver:
    """Ground states over density matrices in the span of fixed modes.  Construction is collective.

    Parameters
    ----------
    model
        The physics.
    modes
        Orthonormal modes on the model's grid.
    minimiser
        ``"diis"`` or ``"mvp"``.
    tolerance
        Largest residual ``|f(H[P]) - P|`` of a solution; the error of the forces is of its order, that of the
        energy of its square.
    training_positions_sav, training_orbitals_smn
        Geometries (bohr) and projected orbitals from which the nearest gives the start of a solve without a
        guess.

    Raises
    ------
    ConfigError
        If the minimiser is unknown or the modes cannot hold the electrons.
    """

    def __init__(
        self,
        model: KohnShamModel,
        modes: Orbitals,
        minimiser: str = "diis",
        tolerance: float = 1e-8,
        training_positions_sav: np.ndarray | None = None,
        training_orbitals_smn: np.ndarray | None = None,
    ) -> None:
        if minimiser not in MINIMISERS:
            raise ConfigError(f"rom.minimiser = {minimiser!r}: allowed are {', '.join(map(repr, MINIMISERS))}. Use 'diis'.")
        if len(modes) < model.n_occupied:
            raise ConfigError(
                f"{len(modes)} modes cannot hold {model.n_electrons:g} electrons: at least "
                f"{model.n_occupied} are needed. Raise rom.rank or rom.energy_fraction."
            )
        self.model, self.minimiser, self.tolerance = model, minimiser, tolerance
        self.reduced = GridReducedModel(model, modes)
        self.training_positions_sav, self.training_orbitals_smn = (
            training_positions_sav,
            training_orbitals_smn,
        )

    @classmethod
    def from_model(
        cls, model: KohnShamModel, reduced: ReducedModel, minimiser: str = "diis", tolerance: float = 1e-8
    ) -> RomSolver:
        """Return the solver of a model file.  Collective.  Raises ConfigError if it is for other physics."""
        reduced.check(model.signature())
        positions, orbitals = reduced.training_positions_sav, reduced.training_orbitals_smn
        return cls(model, reduced.basis.modes, minimiser, tolerance, positions, orbitals)

    @property
    def is_integer(self) -> bool:
        """Whether occupations are 0 or 1."""
        return self.model.electronic_temperature == 0.0

    def solve(
        self,
        body_positions_av: np.ndarray,
        guess_mm: np.ndarray | None = None,
        forces: bool = True,
        placed: PlacedGridModel | None = None,
    ) -> GroundState:
        """Return the reduced ground state at body-frame positions (N, 3) in bohr.  Collective.

        ``density_matrix_nn`` is P over the modes, ``orbitals`` are its occupied natural orbitals,
        ``iterations`` counts evaluations of the energy.  ``gradient_av`` is dE/dx in the body frame.  Raises
        ConvergenceError.  ``placed`` is the reduced energy there, where it is at hand.
        """
        started = time.perf_counter()
        placed = placed or self.reduced.place(body_positions_av)
        set_up = time.perf_counter()
        guess = self._start(placed, body_positions_av) if guess_mm is None else guess_mm
        minimum = MINIMISERS[self.minimiser](
            placed.comm,
            placed.evaluate,
            guess,
            self.model.n_electrons,
            self.model.electronic_temperature,
            tolerance=self.tolerance,
        )
        solved = time.perf_counter()
        state = self._ground_state(placed, minimum, forces)
        state.timing = {
            "setup": set_up - started,
            "solve": solved - set_up,
            "forces": time.perf_counter() - solved,
        }
        return state

    def _ground_state(self, placed: PlacedGridModel, minimum: Minimum, forces: bool) -> GroundState:
        """Return a minimum over density matrices as the ground state on the grid.  Collective."""
        components = placed.components(minimum.density_matrix_mm)
        components["entropy"] = minimum.free_energy - minimum.energy
        return GroundState(
            energy=minimum.energy,
            free_energy=minimum.free_energy,
            components=components,
            eigenvalues_n=minimum.eigenvalues_m,
            occupations_n=minimum.occupations_m,
            density_matrix_nn=minimum.density_matrix_mm,
            converged=minimum.converged,
            iterations=minimum.evaluations,
            residual=minimum.residual,
            electrons=placed.fill(minimum.density_matrix_mm).electrons,
            gradient_av=placed.gradient(minimum.density_matrix_mm) if forces else None,
        )

    def _start(self, placed: PlacedGridModel, body_positions_av: np.ndarray) -> np.ndarray:
        """Return the density matrix of the nearest training geometry, else that of the bare nuclei."""
        comm, model = placed.comm, self.model
        if self.training_orbitals_smn is not None and len(self.training_orbitals_smn):
            distances = np.linalg.norm(self.training_positions_sav - body_positions_av, axis=(1, 2))
            nearest = self.training_orbitals_smn[decide(comm, int(np.argmin(distances)))]
            orbitals = nearest[:, : model.n_occupied]
            return purify(comm, orbitals @ orbitals.T, model.n_electrons)
        eigenvalues, vectors = eigh(comm, placed.linear_mm)
        occupations, _, _ = fermi_occupations(eigenvalues, model.n_electrons, model.electronic_temperature)
        return (vectors * occupations) @ vectors.T
