"""What a full-space solver knows at one set of orbitals: energy, projected Hamiltonian, residual; and how it ends.

    R = HΦ - Φ (Φ^T H Φ),    η = w tr(P R^T (T + σ)^-1 R)

η estimates how far the free energy is above its minimum over the orbitals; both solvers stop on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.errors import AccuracyError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import Problem
from mpiqmd.kohnsham.occupations import entropy
from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.parallel.timing import Timers

ERROR_FACTOR = 4.0
"""True energy error over η near convergence."""


@dataclass
class Iterate:
    """Everything known at one set of orthonormal orbitals.

    Attributes
    ----------
    electrons
        Orbitals, density matrix and density.
    density_energies
        Energies of the terms of the density, Ha, by name.
    hamiltonian_nn, applied
        ``Φ^T H Φ`` (Ha) and ``H Φ``.
    energy, free_energy
        Without and with entropy, Ha.
    """

    electrons: Electrons
    density_energies: dict[str, float]
    hamiltonian_nn: np.ndarray
    applied: Orbitals
    energy: float
    free_energy: float


def orthonormalised(orbitals: Orbitals) -> Orbitals:
    """Return the closest orthonormal orbitals (Löwdin).  Collective."""
    return orbitals.combine(inverse_square_root(orbitals.grid.comm, orbitals.gram()))


def evaluate(problem: Problem, electrons: Electrons, timers: Timers) -> Iterate:
    """Return density, potential, projected Hamiltonian and free energy.  Collective.

    The energy is ``w tr(P H) - ∫ v ρ + Σ_t E_t + c`` with the energies and potentials of the terms of the density and the
    constant of the linear ones, so that H is applied once.

    Parameters
    ----------
    problem
        The Kohn-Sham problem of one geometry.
    electrons
        Orthonormal orbitals and P in their basis.
    timers
        Where the time is booked.

    Raises
    ------
    AccuracyError
        If the energy is not finite.
    """
    with timers("density terms"):
        energies, potential = problem.density_terms(electrons.density)
        doubly_counted = electrons.density.inner(potential)
    with timers("Hamiltonian"):
        applied = problem.linear.plus(potential).apply(electrons.space)
        hamiltonian = electrons.orbitals.gram(applied)
    energy = electrons.expectation(hamiltonian) - doubly_counted + sum(energies.values()) + problem.linear.constant
    if not np.isfinite(energy):
        raise AccuracyError(
            "the energy is not a number: the orbitals diverged. Check for atoms closer than half a bohr, or try "
            "scf.solver = 'slepc'."
        )
    free = energy - problem.model.electronic_temperature * entropy(np.linalg.eigvalsh(electrons.density_matrix_nn))
    return Iterate(electrons, energies, 0.5 * (hamiltonian + hamiltonian.T), applied, energy, free)


def preconditioned_residual(state: Iterate, preconditioner: ShiftedKineticInverse, timers: Timers) -> tuple[Orbitals, float]:
    """Return the step ``-(T + σ)^-1 R`` and the estimated energy error ``4 η`` (Ha).  Collective.

    ``η = w tr(P R^T (T + σ)^-1 R)`` counts slow residuals, whose true weight is one over the gap, at most 1/σ: near
    convergence it was measured a factor 3 to 4 below the true error.
    """
    with timers("residual"):
        residual = state.electrons.orbitals.combine(state.hamiltonian_nn)
        residual.local -= state.applied.local
    with timers("precondition"):
        step = preconditioner.apply_orbitals(residual)
    return step, ERROR_FACTOR * state.electrons.expectation(residual.gram(step))


def ground_state(
    problem: Problem, state: Iterate, iterations: int, error: float, timers: Timers, last: Electrons | None = None
) -> GroundState:
    """Return the converged answer in the basis that diagonalises the Hamiltonian, forces included.  Collective.

    Parameters
    ----------
    problem, state
        The problem and its converged iterate, from which the energies are.
    iterations, error
        How many it took, and the estimated error of the energy that is left, Ha.
    timers
        Measures the forces, and holds the seconds of the rest.
    last
        Electrons one last step away, to be returned and to take the forces from; those of ``state`` by default.  The step is
        small, so that energies change in second order only; forces, of first order in the error of the density, gain most of
        a whole iteration, for little more than the density.
    """
    last = state.electrons if last is None else last
    eigenvalues, rotation = eigh(problem.grid.comm, state.hamiltonian_nn)
    with timers("forces"):
        gradient_av = problem.gradient(last)
    electrons = last.rotated(rotation)
    components = problem.components(state.electrons, state.density_energies, state.energy)
    return GroundState(
        energy=state.energy,
        free_energy=state.free_energy,
        components=components | {"entropy": state.free_energy - state.energy},
        eigenvalues_n=eigenvalues,
        occupations_n=electrons.occupations_n.copy(),
        density_matrix_nn=electrons.density_matrix_nn,
        converged=True,
        iterations=iterations,
        residual=error,
        electrons=electrons,
        gradient_av=gradient_av,
        timing=dict(timers.seconds),
    )
