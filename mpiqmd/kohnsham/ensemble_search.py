"""Points of a search over density matrices: each with its energies, and with where its Hamiltonian would have it.

    A[P] = E[P] - T_e S[P],   H = (1 / w) dE/dP,   P~ = f(H),   step = P~ - P,   residual = |P~ - P|  (Frobenius)

with Fermi-Dirac f.  The functional is a callable; here its calls are counted and decisions made the same on every rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import AccuracyError
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.kohnsham.occupations import entropy, fermi_occupations
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.dense import eigh

if TYPE_CHECKING:
    from mpi4py import MPI

EnergyFunctional = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""``evaluate(density_matrix_mm) -> (energy without entropy, hamiltonian_mm)`` in hartree; collective."""

ROUND_OFF = 1e-12
"""Changes of the free energy below this, relative to it, are noise."""


@dataclass(frozen=True)
class Minimum:
    """Where a minimiser ended; every number belongs to ``density_matrix_mm``.

    Attributes
    ----------
    density_matrix_mm
        P, trace ``N_e / w``.
    eigenvalues_m, coefficients_mm
        Levels (Ha, ascending) and eigenvectors (columns) of H[P].
    occupations_m
        Fermi-Dirac occupations of those levels, in [0, 1].
    energy, free_energy, entropy
        E, A and S (both spins); S is 0 at zero temperature.
    hamiltonian_mm
        H[P], Ha.
    evaluations
        How often the functional was evaluated.
    residual
        ``|f(H[P]) - P|``.
    converged
        Whether the residual met the tolerance.
    history
        Free energies in the order in which they were accepted.
    """

    density_matrix_mm: np.ndarray
    eigenvalues_m: np.ndarray
    occupations_m: np.ndarray
    coefficients_mm: np.ndarray
    energy: float
    free_energy: float
    entropy: float
    hamiltonian_mm: np.ndarray
    evaluations: int
    residual: float
    converged: bool
    history: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """A density matrix, its energies, and where its Hamiltonian would have it.

    Attributes
    ----------
    density_matrix_mm
        P, symmetric, shape (m, m).
    energy, free_energy, entropy
        E and A, Ha, and S (both spins); S is 0 at zero temperature.
    hamiltonian_mm, eigenvalues_m, coefficients_mm
        H[P], its levels (Ha, ascending) and their eigenvectors (columns).
    occupations_m
        Fermi-Dirac occupations of those levels, in [0, 1].
    step_mm, residual
        ``f(H[P]) - P`` and its Frobenius norm.
    """

    density_matrix_mm: np.ndarray
    energy: float
    free_energy: float
    entropy: float
    hamiltonian_mm: np.ndarray
    eigenvalues_m: np.ndarray
    coefficients_mm: np.ndarray
    occupations_m: np.ndarray
    step_mm: np.ndarray
    residual: float


class Search:
    """Evaluates points and counts them.

    Parameters
    ----------
    comm
        Communicator on which everything is replicated.
    evaluate
        The functional, ``P -> (E, H)``, Ha; collective.
    n_electrons, temperature
        Both spins; Ha.
    tolerance
        Residual at which the search is over.

    Attributes
    ----------
    evaluations
        How often the functional was evaluated.
    history
        Free energies, Ha, in the order in which they were accepted.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        evaluate: EnergyFunctional,
        n_electrons: float,
        temperature: float,
        tolerance: float,
    ) -> None:
        self.comm, self.evaluate = comm, evaluate
        self.n_electrons, self.temperature, self.tolerance = n_electrons, temperature, tolerance
        self.evaluations = 0
        self.history: list[float] = []

    def start(self, guess_mm: np.ndarray) -> Point:
        """Return the point of a first density matrix, the first of the history.  Collective.

        Raises
        ------
        AccuracyError
            If its trace is not ``n_electrons / w``.
        """
        electrons = SPIN_WEIGHT * float(np.trace(guess_mm))
        if not abs(electrons - self.n_electrons) < 1e-6 * max(1.0, self.n_electrons):
            raise AccuracyError(
                f"the start density matrix holds {electrons:.8g} electrons, the system has "
                f"{self.n_electrons:g}: the two must agree to 1e-6. Start from another density matrix, or "
                "none."
            )
        point = self.at(guess_mm)
        self.history.append(point.free_energy)
        return point

    def at(self, density_matrix_mm: np.ndarray) -> Point:
        """Return the point of a density matrix, of whose antisymmetric part nothing is kept: one evaluation.  Collective."""
        density_matrix_mm = 0.5 * (density_matrix_mm + density_matrix_mm.T)
        energy, hamiltonian_mm = self.evaluate(density_matrix_mm)
        self.evaluations += 1
        disorder = 0.0
        if self.temperature > 0:
            disorder = entropy(eigh(self.comm, density_matrix_mm)[0])
        levels, vectors = eigh(self.comm, hamiltonian_mm)
        occupations, _, _ = fermi_occupations(levels, self.n_electrons, self.temperature)
        step = (vectors * occupations) @ vectors.T - density_matrix_mm
        return Point(
            density_matrix_mm=density_matrix_mm,
            energy=float(energy),
            free_energy=decide(self.comm, float(energy - self.temperature * disorder)),
            entropy=disorder,
            hamiltonian_mm=hamiltonian_mm,
            eigenvalues_m=levels,
            coefficients_mm=vectors,
            occupations_m=occupations,
            step_mm=step,
            residual=decide(self.comm, float(np.linalg.norm(step))),
        )

    def occupied(self, hamiltonian_mm: np.ndarray) -> np.ndarray:
        """Return ``f(H)``, the density matrix that a Hamiltonian (m, m), Ha, asks for; without unit.  Collective."""
        eigenvalues, vectors = eigh(self.comm, hamiltonian_mm)
        occupations, _, _ = fermi_occupations(eigenvalues, self.n_electrons, self.temperature)
        return (vectors * occupations) @ vectors.T

    def noise(self, point: Point) -> float:
        """Return the change of the free energy, Ha, below which a point counts as no lower.  Not collective."""
        return ROUND_OFF * max(1.0, abs(point.free_energy))

    def slope(self, point: Point, step: np.ndarray) -> float:
        """Return ``dA/dβ = w tr(H S) + w T_e Σ_k S_kk ln(f_k / (1 - f_k))`` at ``point`` along a step S, Ha.  Collective.

        The logarithm of the entropy's derivative is cut at the size of the occupations that the step itself
        makes: below it the exact slope holds in a vanishing part of the line only.
        """
        slope = SPIN_WEIGHT * float(np.sum(point.hamiltonian_mm * step))
        if self.temperature > 0:
            values, vectors = eigh(self.comm, point.density_matrix_mm)
            floor = min(0.25, max(1e-15, float(np.sum(step**2)) / len(values)))
            f = np.clip(values, floor, 1.0 - floor)
            along = np.einsum("ik,ij,jk->k", vectors, step, vectors)
            slope += SPIN_WEIGHT * self.temperature * float(np.sum(along * np.log(f / (1.0 - f))))
        return decide(self.comm, slope)

    def minimum(self, point: Point, converged: bool) -> Minimum:
        """Return a point as the end of the search, with the counts so far.  Not collective."""
        return Minimum(
            density_matrix_mm=point.density_matrix_mm,
            eigenvalues_m=point.eigenvalues_m,
            occupations_m=point.occupations_m,
            coefficients_mm=point.coefficients_mm,
            energy=point.energy,
            free_energy=point.free_energy,
            entropy=point.entropy,
            hamiltonian_mm=point.hamiltonian_mm,
            evaluations=self.evaluations,
            residual=point.residual,
            converged=converged,
            history=tuple(self.history),
        )
