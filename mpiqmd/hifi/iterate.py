"""What a full-space solver knows at one set of orbitals: energy, projected Hamiltonian, residual; and how it ends.

    R = HΦ - Φ (Φ^T H Φ),    η = 2 tr(P R^T (T + σ)^-1 R)

η estimates how far the free energy is above its minimum over the orbitals; both solvers stop on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.errors import AccuracyError
from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.shifted import ShiftedKineticInverse
from mpiqmd.kohnsham.density import density_of
from mpiqmd.kohnsham.ground_state import GroundState
from mpiqmd.kohnsham.model import DensityTerms, Problem
from mpiqmd.kohnsham.occupations import entropy
from mpiqmd.parallel.dense import eigh, inverse_square_root
from mpiqmd.parallel.timing import Timers

ERROR_FACTOR = 4.0
"""True energy error over η near convergence."""


@dataclass
class Iterate:
    """Everything known at one set of orthonormal orbitals."""

    orbitals: Orbitals
    density_matrix_nn: np.ndarray
    density: Field
    terms: DensityTerms
    hamiltonian_nn: np.ndarray
    applied: Orbitals
    free_energy: float


def orthonormalised(orbitals: Orbitals) -> Orbitals:
    """Return the closest orthonormal orbitals (Löwdin).  Collective."""
    return orbitals.combine(inverse_square_root(orbitals.grid.comm, orbitals.gram()))


def evaluate(problem: Problem, orbitals: Orbitals, density_matrix_nn: np.ndarray, timers: Timers) -> Iterate:
    """Return density, potential, projected Hamiltonian and free energy.  Collective.

    The energy is ``2 tr(P H) - ∫ v ρ + E_H + E_xc + E_ii - T_e S`` with ``v = v_H + v_xc``, so that H is applied once.

    Parameters
    ----------
    problem
        The Kohn-Sham problem of one geometry.
    orbitals, density_matrix_nn
        Orthonormal orbitals and P in their basis.
    timers
        Where the time is booked.

    Raises
    ------
    AccuracyError
        If the energy is not finite.
    """
    with timers("density terms"):
        dense = problem.model.on_density_grid(orbitals)
        density = density_of(dense, density_matrix_nn)
        terms = problem.density_terms(density)
        doubly_counted = density.inner(terms.potential)
    with timers("Hamiltonian"):
        applied = problem.apply_hamiltonian(orbitals, terms.potential, dense)
        hamiltonian = orbitals.gram(applied)
    energy = 2.0 * float(np.sum(density_matrix_nn * hamiltonian)) - doubly_counted
    energy += terms.hartree + terms.xc + problem.ion_ion
    if not np.isfinite(energy):
        raise AccuracyError(
            "the energy is not a number: the orbitals diverged. Check for atoms closer than half a bohr, or try "
            "scf.solver = 'slepc'."
        )
    free = energy - problem.model.electronic_temperature * entropy(np.linalg.eigvalsh(density_matrix_nn))
    hamiltonian = 0.5 * (hamiltonian + hamiltonian.T)
    return Iterate(orbitals, density_matrix_nn, density, terms, hamiltonian, applied, free)


def preconditioned_residual(
    state: Iterate, preconditioner: ShiftedKineticInverse, timers: Timers
) -> tuple[Orbitals, float]:
    """Return the step ``-(T + σ)^-1 R`` and the estimated energy error ``4 η`` (Ha).  Collective.

    ``η = 2 tr(P R^T (T + σ)^-1 R)`` counts slow residuals, whose true weight is one over the gap, at most 1/σ: near
    convergence it was measured a factor 3 to 4 below the true error.
    """
    with timers("residual"):
        residual = state.orbitals.combine(state.hamiltonian_nn)
        residual.local -= state.applied.local
    with timers("precondition"):
        step = preconditioner.apply_orbitals(residual)
    return step, ERROR_FACTOR * 2.0 * float(np.sum(state.density_matrix_nn * residual.gram(step)))


def moved(problem: Problem, state: Iterate, orbitals: Orbitals, density_matrix_nn: np.ndarray) -> Iterate:
    """Return an iterate at orbitals one last step away, with their density, but with the energies of before.  Collective.

    The step is small, so that energies change in second order only; forces, of first order in the error of the density,
    gain most of a whole iteration, for little more than the density.
    """
    density = density_of(problem.model.on_density_grid(orbitals), density_matrix_nn)
    return replace(state, orbitals=orbitals, density_matrix_nn=density_matrix_nn, density=density)


def ground_state(
    problem: Problem, state: Iterate, iterations: int, error: float, timers: Timers, last: Iterate | None = None
) -> GroundState:
    """Return the converged answer in the basis that diagonalises the Hamiltonian, forces included.  Collective.

    ``last``, from :func:`moved`, has the orbitals to return and to take the forces from; those of ``state`` by default.
    """
    last = state if last is None else last
    temperature = problem.model.electronic_temperature
    eigenvalues, rotation = eigh(problem.grid.comm, state.hamiltonian_nn)
    density_matrix = rotation.T @ last.density_matrix_nn @ rotation
    disorder = entropy(np.linalg.eigvalsh(state.density_matrix_nn))
    with timers("forces"):
        gradient_av = problem.ion_gradient(last.density, last.orbitals, last.density_matrix_nn)
    return GroundState(
        energy=state.free_energy + temperature * disorder,
        free_energy=state.free_energy,
        components=energy_components(problem, state, disorder),
        eigenvalues_n=eigenvalues,
        occupations_n=np.diag(density_matrix).copy(),
        density_matrix_nn=density_matrix,
        converged=True,
        iterations=iterations,
        residual=error,
        gradient_av=gradient_av,
        orbitals=last.orbitals.combine(rotation),
        density=last.density,
        timing=dict(timers.seconds),
    )


def energy_components(problem: Problem, state: Iterate, disorder: float) -> dict[str, float]:
    """Return the energy term by term; they sum to the free energy.  Collective.

    The kinetic energy is what ``2 tr(P H)`` has left when all potentials are taken out.
    """
    overlaps, density_matrix = problem.projector_overlaps(state.orbitals), state.density_matrix_nn
    nonlocal_energy = 2.0 * float(np.sum(density_matrix * (overlaps @ problem.projector_coupling @ overlaps.T)))
    local_energy = state.density.inner(problem.local_potential)
    potentials = local_energy + nonlocal_energy + state.density.inner(state.terms.potential)
    return {
        "kinetic": 2.0 * float(np.sum(density_matrix * state.hamiltonian_nn)) - potentials,
        "local": local_energy,
        "nonlocal": nonlocal_energy,
        "hartree": state.terms.hartree,
        "xc": state.terms.xc,
        "ion_ion": problem.ion_ion,
        "entropy": -problem.model.electronic_temperature * disorder,
    }
