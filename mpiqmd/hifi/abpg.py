"""ABPG: accelerated block preconditioned gradient, a direct minimisation of the free energy over the orbitals.

One iteration, on a block of orthonormal orbitals Φ:

1. density matrix P of the projected problem, density ρ, potential v[ρ], energy;
2. residual ``R = HΦ - Φ (Φ^T H Φ)`` and step ``F = -(T + σ)^-1 R``;
3. Anderson acceleration of the whole block, then Löwdin orthonormalisation.

There is no inner eigensolver and no mixing of potentials: orbitals and density relax together.  The iteration stops on
four times ``η = w tr(P R^T (T + σ)^-1 R)``, an estimate of the remaining energy error; the step that is known by then is
taken, which halves the error of the forces.  Should the energy rise by more than the estimate, the best iterate is taken up
again with a shorter step; should nothing improve for long, another solver goes on.

Source: J.-L. Fattebert, J. Comput. Phys. 229, 441 (2010).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.hifi.anderson import Anderson
from mpiqmd.hifi.filling import Filled, Smeared
from mpiqmd.hifi.iterate import (
    Iterate,
    evaluate,
    ground_state,
    orthonormalised,
    preconditioned_residual,
)
from mpiqmd.hifi.solver import OrbitalSolver
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT, Electrons
from mpiqmd.kohnsham.ground_state import ElectronicSolver, GroundState
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh
from mpiqmd.parallel.log import Log

RECOVERY = 1.2
"""Growth of a shortened step with every iteration that goes down."""
SHORTEST = 0.25
"""Shortest step, as a share of the preconditioned residual."""
PATIENCE = 40
"""Iterations in which the estimated error has to halve."""


class AbpgSolver(OrbitalSolver):
    """Direct minimiser of the Mermin free energy on the full grid.

    Parameters
    ----------
    model, energy_tolerance, max_iterations, shift, empty_orbitals, log
        As for every :class:`OrbitalSolver`.
    history
        Depth of the Anderson acceleration.
    fallback
        Solver that goes on from the orbitals reached when progress stops; None to go on alone.
    """

    def __init__(
        self,
        model: KohnShamModel,
        energy_tolerance: float = 1e-8,
        max_iterations: int = 200,
        *,
        shift: float = 1.0,
        history: int = 3,
        empty_orbitals: int = 0,
        log: Log | None = None,
        fallback: ElectronicSolver | None = None,
    ) -> None:
        super().__init__(
            model,
            energy_tolerance=energy_tolerance,
            max_iterations=max_iterations,
            shift=shift,
            empty_orbitals=empty_orbitals,
            log=log,
        )
        self.history = history
        self.fallback = fallback

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
        with self.timers("start"):
            orbitals = self._start(problem, guess)
            filling = Filled(self.n_orbitals) if self._is_filled else Smeared(problem, orbitals)
        descent = _Descent(self, filling)
        for iteration in range(1, self.max_iterations + 1):
            electrons = Electrons(problem.model.space(orbitals), filling.density_matrix_nn)
            state = evaluate(problem, electrons, self.timers)
            step, error = preconditioned_residual(state, self.preconditioner, self.timers)
            error = decide(self.model.grid.comm, error + filling.error(state))
            self.log(f"  {iteration:4d}  A = {state.free_energy:18.10f} Ha   error ~ {error:9.2e} Ha")
            if error >= self.energy_tolerance and self.fallback is not None and descent.has_stalled(error):
                return self._hand_over(self.fallback, problem, state, iteration)
            with self.timers("accelerate"):
                orbitals = descent.next(state, step, error)
            if error < self.energy_tolerance:
                last = Electrons(problem.model.space(orbitals), filling.density_matrix_nn)
                return ground_state(problem, state, iteration, error, self.timers, last)
        raise self._not_converged("ABPG iteration", error, "slepc")

    def _hand_over(self, fallback: ElectronicSolver, problem: Problem, state: Iterate, iterations: int) -> GroundState:
        """Let the fallback go on from here.  Collective."""
        self.log(f"  no progress in {PATIENCE} iterations; {type(fallback).__name__} goes on from here")
        _, rotation = eigh(self.model.grid.comm, state.hamiltonian_nn)
        found = fallback.solve(problem, state.electrons.orbitals.combine(rotation))
        return replace(found, iterations=iterations + found.iterations)

    @property
    def _is_filled(self) -> bool:
        """Whether every orbital is doubly occupied, so that P is the identity."""
        return abs(SPIN_WEIGHT * self.n_orbitals - self.model.n_electrons) < 1e-9


class _Descent:
    """The way down from iterate to iterate: acceleration, step length, and the best iterate to return to."""

    def __init__(self, solver: AbpgSolver, filling: Filled | Smeared) -> None:
        self.comm, self.filling = solver.model.grid.comm, filling
        # Near the end the energy wavers by about what the tolerance leaves open: no sign of a step too long.
        self.allowance = 10.0 * solver.energy_tolerance
        self.anderson = Anderson(self.comm, solver.history, products=filling.products)
        self.damping = 1.0
        self.best: Iterate | None = None
        self.best_error, self.memory = np.inf, filling.memory
        self.milestone, self.waited = np.inf, 0

    def has_stalled(self, error: float) -> bool:
        """Return whether the error has not halved for long; to be asked once per iteration.  Not collective."""
        self.waited += 1
        if error < 0.5 * self.milestone:
            self.milestone, self.waited = error, 0
        return self.waited >= PATIENCE

    def next(self, state: Iterate, step: Orbitals, error: float) -> Orbitals:
        """Return the next orbitals after an iterate with its step and estimated error; the filling follows.  Collective."""
        rise = -np.inf if self.best is None else decide(self.comm, state.free_energy - self.best.free_energy)
        if self.best is not None and rise > self.allowance + self.best_error:
            self._shorten()
            self.filling.retreat(self.memory)
            return self.best.electrons.orbitals
        if rise > self.allowance + 1e-3 * error:
            self._shorten()
        else:
            self.damping = min(1.0, RECOVERY * self.damping)
        if rise < 0.0:
            self.best, self.best_error, self.memory = state, error, self.filling.memory
        block, *rest = self.anderson.next(*self.filling.parts(state, step, self.damping))
        self.filling.accept(rest)
        return orthonormalised(Orbitals(state.electrons.orbitals.grid, block))

    def _shorten(self) -> None:
        """Halve the step, down to the shortest, and let the acceleration start anew.  Not collective."""
        self.anderson.forget()
        self.damping = max(SHORTEST, 0.5 * self.damping)
