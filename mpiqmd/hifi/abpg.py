"""ABPG: accelerated block preconditioned gradient, a direct minimisation of the free energy over the orbitals.

One iteration, on a block of orthonormal orbitals Φ:

1. density matrix P of the projected problem, density ρ, potential v[ρ], energy;
2. residual ``R = HΦ - Φ (Φ^T H Φ)`` and step ``F = -(T + σ)^-1 R``;
3. Anderson acceleration of the whole block, then Löwdin orthonormalisation.

There is no inner eigensolver and no mixing of potentials: orbitals and density relax together.  The iteration stops on
the estimate ``η = 2 tr(P R^T (T + σ)^-1 R)`` of the remaining energy error.

Source: J.-L. Fattebert, J. Comput. Phys. 229, 441 (2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import AccuracyError, ConvergenceError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.hifi.anderson import Anderson
from mpiqmd.hifi.start import atomic_orbitals
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import DensityTerms, KohnShamModel, Problem
from mpiqmd.kohnsham.occupations import entropy, fermi_occupations
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.parallel.log import Log, silent
from mpiqmd.parallel.timing import Timers


@dataclass
class Iterate:
    """Everything known at one set of orbitals."""

    orbitals: Orbitals
    density_matrix_nn: np.ndarray
    density: Field
    terms: DensityTerms
    hamiltonian_nn: np.ndarray
    applied: Orbitals
    overlaps_np: np.ndarray
    free_energy: float


class AbpgSolver:
    """Direct minimiser of the Mermin free energy on the full grid.

    Parameters
    ----------
    model
        The physics.
    energy_tolerance
        Estimated remaining error of the energy at which to stop, Ha.
    max_iterations
        Iterations after which a ConvergenceError is raised.
    shift
        σ of the preconditioner, Ha.
    history
        Depth of the Anderson acceleration.
    empty_orbitals
        Orbitals beyond the doubly occupied ones, needed at finite electronic temperature.
    log
        Prints one line per iteration; silent by default.
    """

    def __init__(
        self,
        model: KohnShamModel,
        energy_tolerance: float = 1e-8,
        max_iterations: int = 200,
        shift: float = 1.0,
        history: int = 1,
        empty_orbitals: int = 0,
        log: Log | None = None,
    ) -> None:
        self.model = model
        self.energy_tolerance = energy_tolerance
        self.max_iterations = max_iterations
        self.history = history
        self.n_orbitals = model.n_occupied + empty_orbitals
        self.preconditioner = ShiftedKineticInverse(model.grid, shift)
        self.log = log or silent(model.grid.comm)
        self.timers = Timers()

    def solve(self, problem: Problem, guess: Orbitals | None = None) -> GroundState:
        """Return the ground state, forces included.  Collective.

        Parameters
        ----------
        problem
            The Kohn-Sham problem of one geometry.
        guess
            Starting orbitals; atomic ones if not given.

        Raises
        ------
        ConvergenceError
            If ``max_iterations`` pass without meeting the tolerance.
        """
        comm = self.model.grid.comm
        with self.timers("start"):
            orbitals = atomic_orbitals(problem, self.n_orbitals) if guess is None else guess
            orbitals = self._orthonormalise(orbitals)
        anderson = Anderson(comm, self.history)
        density_matrix, best, damping = None, np.inf, 1.0
        for iteration in range(1, self.max_iterations + 1):
            state = self._evaluate(problem, orbitals, density_matrix)
            step, error = self._step(state)
            self.log(f"  {iteration:4d}  A = {state.free_energy:18.10f} Ha   error ~ {error:9.2e} Ha")
            if decide(comm, error < self.energy_tolerance):
                return self._finish(problem, state, iteration, error)
            if decide(comm, state.free_energy > best + 10.0 * self.energy_tolerance + 1e-3 * abs(error)):
                anderson.forget()
                damping = max(0.25, 0.5 * damping)
            best = min(best, state.free_energy)
            with self.timers("accelerate"):
                step.local *= damping
                orbitals = Orbitals(self.model.grid, anderson.next(state.orbitals.local, step.local))
                orbitals = self._orthonormalise(orbitals)
            density_matrix = state.density_matrix_nn
        raise ConvergenceError(
            f"the ABPG iteration did not converge: estimated energy error {error:.1e} Ha after {self.max_iterations} "
            f"iterations, scf.energy_tolerance = {self.energy_tolerance:.1e}. Try more scf.max_iterations, "
            "scf.solver = 'slepc', scf.electronic_temperature = '1000 K' with scf.empty_orbitals = 4 for a small gap, "
            "or check that the geometry is sensible."
        )

    def _orthonormalise(self, orbitals: Orbitals) -> Orbitals:
        transform = inverse_square_root(orbitals.grid.comm, orbitals.gram())
        return orbitals.combine(transform)

    def _evaluate(self, problem: Problem, orbitals: Orbitals, density_matrix: np.ndarray | None) -> Iterate:
        """Return density, potential, projected Hamiltonian and free energy at these orbitals.  Collective."""
        with self.timers("linear terms"):
            linear = self.model.laplacian.apply(orbitals, scale=-0.5)
            linear += problem.local_potential.local * orbitals.local
            overlaps = problem.projectors.overlaps(orbitals)
            problem.projectors.add_applied(overlaps, linear)
        if self._is_filled:
            density_matrix = np.eye(self.n_orbitals)
        else:
            density_matrix = self._occupy(problem, orbitals, linear, density_matrix)
        with self.timers("density terms"):
            density = density_of(orbitals, density_matrix)
            terms = problem.density_terms(density)
        with self.timers("linear terms"):
            linear_energies = orbitals.gram(Orbitals(self.model.grid, linear))
            applied = Orbitals(self.model.grid, linear)
            applied.local += terms.potential.local * orbitals.local
            hamiltonian = orbitals.gram(applied)
        energy = 2.0 * float(np.sum(density_matrix * linear_energies)) + terms.hartree + terms.xc + problem.ion_ion
        if not np.isfinite(energy):
            raise AccuracyError(
                "the energy is not a number: the orbitals diverged. Check for atoms closer than half a bohr, or try "
                "scf.solver = 'slepc'."
            )
        free = energy - self.model.electronic_temperature * entropy(np.linalg.eigvalsh(density_matrix))
        hamiltonian = 0.5 * (hamiltonian + hamiltonian.T)
        return Iterate(orbitals, density_matrix, density, terms, hamiltonian, applied, overlaps, free)

    @property
    def _is_filled(self) -> bool:
        """Whether every orbital is doubly occupied, so that P is the identity."""
        return abs(2 * self.n_orbitals - self.model.n_electrons) < 1e-9

    def _occupy(
        self, problem: Problem, orbitals: Orbitals, linear: np.ndarray, previous: np.ndarray | None
    ) -> np.ndarray:
        """Return a density matrix improved inside the span of the orbitals (a few ensemble-DFT line searches)."""
        from mpiqmd.kohnsham.density_matrix import minimise_mvp

        comm = self.model.grid.comm
        linear_nn = orbitals.gram(Orbitals(self.model.grid, linear))
        linear_nn = 0.5 * (linear_nn + linear_nn.T)

        def evaluate(trial: np.ndarray) -> tuple[float, np.ndarray]:
            terms = problem.density_terms(density_of(orbitals, trial))
            energy = 2.0 * float(np.sum(trial * linear_nn)) + terms.hartree + terms.xc + problem.ion_ion
            return energy, linear_nn + orbitals.matrix_elements(terms.potential)

        if previous is None:
            values, vectors = eigh(comm, linear_nn)
            filled, _, _ = fermi_occupations(values, problem.n_electrons, 0.0)
            previous = (vectors * filled) @ vectors.T
        with self.timers("density matrix"):
            minimum = minimise_mvp(
                comm,
                evaluate,
                previous,
                problem.n_electrons,
                self.model.electronic_temperature,
                max_iterations=2,
                must_converge=False,
            )
        return minimum.density_matrix_mm

    def _step(self, state: Iterate) -> tuple[Orbitals, float]:
        """Return the preconditioned step ``-(T + σ)^-1 R`` and the error estimate η.  Collective."""
        grid = self.model.grid
        with self.timers("residual"):
            residual = state.orbitals.combine(state.hamiltonian_nn)
            residual.local -= state.applied.local
        with self.timers("precondition"):
            step = self.preconditioner.apply_orbitals(residual)
        return step, 2.0 * float(np.sum(state.density_matrix_nn * residual.gram(step)))

    def _finish(self, problem: Problem, state: Iterate, iterations: int, error: float) -> GroundState:
        temperature = self.model.electronic_temperature
        eigenvalues, rotation = eigh(self.model.grid.comm, state.hamiltonian_nn)
        density_matrix = rotation.T @ state.density_matrix_nn @ rotation
        disorder = entropy(np.linalg.eigvalsh(state.density_matrix_nn))
        with self.timers("forces"):
            gradient_av = problem.ion_gradient(state.density, state.orbitals, state.density_matrix_nn)
        return GroundState(
            energy=state.free_energy + temperature * disorder,
            free_energy=state.free_energy,
            components=energy_components(problem, state.orbitals, state.density_matrix_nn, state.terms, disorder),
            eigenvalues_n=eigenvalues,
            occupations_n=np.diag(density_matrix).copy(),
            density_matrix_nn=density_matrix,
            converged=True,
            iterations=iterations,
            residual=error,
            gradient_av=gradient_av,
            orbitals=state.orbitals.combine(rotation),
            density=state.density,
            timing=dict(self.timers.seconds),
        )


def density_of(orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Field:
    """Return ``ρ = 2 Σ_ij P_ij φ_i φ_j``.  Not collective (P is replicated)."""
    rotated = orbitals.combine(density_matrix_nn)
    flat = 2.0 * np.einsum("ij,ij->j", orbitals.matrix_local, rotated.matrix_local)
    return Field(orbitals.grid, flat.reshape(orbitals.grid.local_shape))


def energy_components(
    problem: Problem, orbitals: Orbitals, density_matrix_nn: np.ndarray, terms: DensityTerms, disorder: float
) -> dict[str, float]:
    """Return the energy term by term; they sum to the free energy.  Collective."""
    overlaps = problem.projector_overlaps(orbitals)
    nonlocal_nn = overlaps @ problem.projector_coupling @ overlaps.T
    return {
        "kinetic": 2.0 * float(np.sum(density_matrix_nn * problem.kinetic_matrix(orbitals))),
        "local": 2.0 * float(np.sum(density_matrix_nn * problem.local_matrix(orbitals))),
        "nonlocal": 2.0 * float(np.sum(density_matrix_nn * nonlocal_nn)),
        "hartree": terms.hartree,
        "xc": terms.xc,
        "ion_ion": problem.ion_ion,
        "entropy": -problem.model.electronic_temperature * disorder,
    }
