"""The second, independent route to the ground state: an eigenproblem iterated to self-consistency.

One iteration, at an input density ρ:

1. the lowest eigenpairs of ``H[ρ]`` by SLEPc, from the previous orbitals and only as tight as the cycle needs;
2. occupations from the eigenvalues, output density ρ';
3. the next input density by Anderson mixing, in the Coulomb norm of the density residual ``δ = ρ' - ρ``.

``½ ∫∫ δ(r) δ(r') / |r - r'| dr dr'`` estimates how far the energy is from self-consistency.  Once it is below the
tolerance the functional is evaluated at the output orbitals, so the energy is variational, and the iteration ends if
their residual η (:mod:`mpiqmd.hifi.iterate`) is below it too.

Source: Anderson, J. ACM 12, 547 (1965); Pulay, Chem. Phys. Lett. 73, 393 (1980).
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import AccuracyError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.eigensolver import LowestEigenpairs
from mpiqmd.hifi.anderson import Anderson, Parts
from mpiqmd.hifi.iterate import (
    Iterate,
    evaluate,
    ground_state,
    preconditioned_residual,
)
from mpiqmd.hifi.solver import OrbitalSolver
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.kohnsham.occupations import fermi_occupations, lowest_filled
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.parallel.comm import decide, sum_over_ranks
from mpiqmd.parallel.log import Log

MIXING = 0.6
"""Share of the density residual that goes into the next input density."""
DEPTH = 6
"""Density residuals that Anderson mixing combines."""
SMALLEST_DETERMINANT = 1e-10
"""Older residuals are dropped when the matrix of cosines between them is closer to singular than this."""
EIGENPAIR_SHARE = 0.01
"""Energy error left in the eigenpairs of an iteration, as a share of the error of the iteration before."""
EIGENPAIR_ITERATIONS = 300
"""Iterations allowed for the eigenpairs of one potential; 5 to 10 are usual."""
DENSITY_SHARE = 0.001
"""Share of the tolerance that the density error may take: forces are of first order in it, the energy of second."""


class SlepcSolver(OrbitalSolver):
    """Self-consistency cycle around SLEPc's eigensolver, with Anderson density mixing.

    Parameters
    ----------
    model, energy_tolerance, max_iterations, shift, empty_orbitals, log
        As for every :class:`OrbitalSolver`.
    """

    def __init__(
        self,
        model: KohnShamModel,
        energy_tolerance: float = 1e-8,
        max_iterations: int = 200,
        *,
        shift: float = 1.0,
        empty_orbitals: int = 0,
        log: Log | None = None,
    ) -> None:
        super().__init__(
            model,
            energy_tolerance=energy_tolerance,
            max_iterations=max_iterations,
            shift=shift,
            empty_orbitals=empty_orbitals,
            log=log,
        )
        self.applications = 0
        """Hamiltonian applications to one function each, over all solves."""

    def solve(self, problem: Problem, guess: Orbitals | None = None) -> GroundState:
        """Return the ground state, forces included.  Collective.

        Parameters
        ----------
        problem
            The Kohn-Sham problem of one geometry.
        guess
            Starting orbitals, the lowest first; atomic ones if not given.

        Raises
        ------
        ConvergenceError
            If ``max_iterations`` pass without meeting the tolerance, or an eigenproblem does not converge.
        AccuracyError
            If the cycle diverges.
        """
        with self.timers("start"):
            lowest = lowest_filled(self.n_orbitals, self.model.n_electrons)
            state = self._evaluate(problem, self._start(problem, guess), lowest)
            _, error = preconditioned_residual(state, self.preconditioner, self.timers)
        with LowestEigenpairs(self.model.grid, self.n_orbitals) as eigensolver:
            return self._iterate(problem, eigensolver, state, decide(self.model.grid.comm, error))

    def _iterate(self, problem: Problem, eigensolver: LowestEigenpairs, state: Iterate, error: float) -> GroundState:
        """Return the ground state, starting from an iterate and its estimated error.  Collective."""
        coulomb = self.model.term(Hartree).potential
        comm, orbitals = self.model.grid.comm, state.electrons.orbitals
        anderson = Anderson(comm, DEPTH, (-np.inf, np.inf), SMALLEST_DETERMINANT, self._coulomb_products)
        density = state.electrons.density
        mixed = [density.local, coulomb(density).local]
        for iteration in range(1, self.max_iterations + 1):
            orbitals, occupations = self._eigenpairs(problem, eigensolver, mixed, orbitals, error)
            with self.timers("density terms"):
                change = Electrons(self.model.space(orbitals), np.diag(occupations)).density
                change.local -= mixed[0]
                response = coulomb(change)
                error = _checked(decide(comm, 0.5 * change.inner(response)))
            self.log(f"  {iteration:4d}  density error ~ {error:9.2e} Ha")
            if error < DENSITY_SHARE * self.energy_tolerance:
                state = self._evaluate(problem, orbitals, np.diag(occupations))
                _, remaining = preconditioned_residual(state, self.preconditioner, self.timers)
                error = decide(comm, max(error, remaining))
                self.log(f"        A = {state.free_energy:18.10f} Ha   error ~ {error:9.2e} Ha")
                if error < self.energy_tolerance:
                    return ground_state(problem, state, iteration, error, self.timers)
            with self.timers("mixing"):
                mixed = anderson.next(mixed, [MIXING * change.local, MIXING * response.local])
        raise self._not_converged("self-consistency cycle", error, "abpg")

    def _eigenpairs(
        self,
        problem: Problem,
        eigensolver: LowestEigenpairs,
        mixed: list[np.ndarray],
        guess: Orbitals,
        error: float,
    ) -> tuple[Orbitals, np.ndarray]:
        """Return the lowest orbitals in the potential of the input density, and their occupations.  Collective."""
        model = self.model
        with self.timers("density terms"):
            _, potential = problem.density_terms(Field(model.density_grid, mixed[0]))
            hamiltonian = problem.linear.plus(potential)

        def apply(block: Orbitals) -> Orbitals:
            self.applications += len(block)
            return hamiltonian.apply(model.space(block))

        reachable = EIGENPAIR_SHARE * max(error, DENSITY_SHARE * self.energy_tolerance)
        tolerance = float(np.sqrt(reachable / problem.n_electrons))
        with self.timers("eigenpairs"):
            eigenvalues, orbitals, _ = eigensolver.solve(
                apply, self.preconditioner.apply_orbitals, guess, tolerance, EIGENPAIR_ITERATIONS
            )
        occupations, _, _ = fermi_occupations(eigenvalues, problem.n_electrons, model.electronic_temperature)
        return orbitals, occupations

    def _evaluate(self, problem: Problem, orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Iterate:
        """Return the functional at orbitals filled by a density matrix, counting the application.  Collective."""
        self.applications += len(orbitals)
        return evaluate(problem, Electrons(self.model.space(orbitals), density_matrix_nn), self.timers)

    def _coulomb_products(self, steps: list[Parts]) -> np.ndarray:
        """Return ``∫∫ ρ_i ρ_j / |r - r'|`` (but for the volume element) of steps ``(ρ, v)``.  Collective."""
        densities, potentials = (np.stack([step[part].ravel() for step in steps]) for part in (0, 1))
        products = sum_over_ranks(self.model.grid.comm, densities @ potentials.T)
        return 0.5 * (products + products.T)


def _checked(error: float) -> float:
    """Return a finite error, Ha, as it is; raise AccuracyError for another."""
    if not np.isfinite(error):
        raise AccuracyError(
            f"the density error is {error}: the self-consistency cycle diverged, it must stay finite. Check for atoms "
            "closer than half a bohr, or try scf.solver = 'abpg'."
        )
    return error
