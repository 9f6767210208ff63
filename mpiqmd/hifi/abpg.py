"""ABPG: accelerated block preconditioned gradient, a direct minimisation of the free energy over the orbitals.

One iteration, on a block of orthonormal orbitals Φ:

1. density matrix P of the projected problem, density ρ, potential v[ρ], energy;
2. residual ``R = HΦ - Φ (Φ^T H Φ)`` and step ``F = -(T + σ)^-1 R``;
3. Anderson acceleration of the whole block, then Löwdin orthonormalisation.

There is no inner eigensolver and no mixing of potentials: orbitals and density relax together.  The iteration stops on
four times ``η = 2 tr(P R^T (T + σ)^-1 R)``, an estimate of the remaining energy error.

Source: J.-L. Fattebert, J. Comput. Phys. 229, 441 (2010).
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.hifi.anderson import Anderson
from mpiqmd.hifi.iterate import (
    Iterate,
    apply_linear_terms,
    density_of,
    evaluate,
    ground_state,
    orthonormalised,
    preconditioned_residual,
)
from mpiqmd.hifi.start import atomic_orbitals
from mpiqmd.kohnsham.density_matrix import minimise_mvp
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.kohnsham.occupations import fermi_occupations
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh
from mpiqmd.parallel.log import Log, silent
from mpiqmd.parallel.timing import Timers


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
        history: int = 3,
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
            orbitals = orthonormalised(orbitals)
        anderson = Anderson(comm, self.history)
        density_matrix, best, damping = None, np.inf, 1.0
        for iteration in range(1, self.max_iterations + 1):
            state = self._evaluate(problem, orbitals, density_matrix)
            step, error = preconditioned_residual(state, self.preconditioner, self.timers)
            self.log(f"  {iteration:4d}  A = {state.free_energy:18.10f} Ha   error ~ {error:9.2e} Ha")
            if decide(comm, error < self.energy_tolerance):
                return ground_state(problem, state, iteration, error, self.timers)
            if decide(comm, state.free_energy > best + 10.0 * self.energy_tolerance + 1e-3 * abs(error)):
                anderson.forget()
                damping = max(0.25, 0.5 * damping)
            best = min(best, state.free_energy)
            with self.timers("accelerate"):
                step.local *= damping
                orbitals = Orbitals(self.model.grid, anderson.next(state.orbitals.local, step.local))
                orbitals = orthonormalised(orbitals)
            density_matrix = state.density_matrix_nn
        raise ConvergenceError(
            f"the ABPG iteration did not converge: estimated energy error {error:.1e} Ha after {self.max_iterations} "
            f"iterations, scf.energy_tolerance = {self.energy_tolerance:.1e}. Try more scf.max_iterations, "
            "scf.solver = 'slepc', scf.electronic_temperature = '1000 K' with scf.empty_orbitals = 4 for a small gap, "
            "or check that the geometry is sensible."
        )

    def _evaluate(self, problem: Problem, orbitals: Orbitals, density_matrix: np.ndarray | None) -> Iterate:
        """Return density, potential, projected Hamiltonian and free energy at these orbitals.  Collective."""
        density_matrix = np.eye(self.n_orbitals) if self._is_filled else self._occupy(problem, orbitals, density_matrix)
        return evaluate(problem, orbitals, density_matrix, self.timers)

    @property
    def _is_filled(self) -> bool:
        """Whether every orbital is doubly occupied, so that P is the identity."""
        return abs(2 * self.n_orbitals - self.model.n_electrons) < 1e-9

    def _occupy(self, problem: Problem, orbitals: Orbitals, previous: np.ndarray | None) -> np.ndarray:
        """Return a density matrix improved inside the span of the orbitals (a few ensemble-DFT line searches)."""
        comm = self.model.grid.comm
        linear_nn = orbitals.gram(Orbitals(self.model.grid, apply_linear_terms(problem, orbitals)))
        linear_nn = 0.5 * (linear_nn + linear_nn.T)

        def energy_at(trial: np.ndarray) -> tuple[float, np.ndarray]:
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
                energy_at,
                previous,
                problem.n_electrons,
                self.model.electronic_temperature,
                max_iterations=2,
                must_converge=False,
            )
        return minimum.density_matrix_mm
