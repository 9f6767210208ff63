"""The ground state over density matrices in a fixed orthonormal basis (ensemble density-functional theory).

    A[P] = E[P] - T_e S[P],   w tr P = N_e,   eigenvalues of P in [0, 1],   dE = w tr(H dP)

E is any functional of a density matrix of m functions, a callable ``evaluate(P) -> (E, H)``.  At the minimum
P is the *target* of its own Hamiltonian, ``P~ = f(H[P])`` with Fermi-Dirac f; the residual watched is
``|P~ - P|`` (Frobenius): the error of the forces is of its first order, that of the energy of its second.

``minimise_mvp`` searches along ``P + β (P~ - P)`` (Marzari, Vanderbilt, Payne, Phys. Rev. Lett. 79, 1337
(1997)): the free energy never rises.  ``minimise_diis`` extrapolates Hamiltonians by Pulay's method (J.
Comput. Chem. 3, 556 (1982)) and takes a third of the evaluations near the minimum; if the free energy rises
or progress stops, it hands over.  Everything is replicated; decisions are taken once, on rank 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import AccuracyError, ConvergenceError
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
class _Point:
    """A density matrix, its energies, and where its Hamiltonian would have it."""

    density_matrix: np.ndarray
    energy: float
    free_energy: float
    entropy: float
    hamiltonian: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    occupations: np.ndarray
    step: np.ndarray
    residual: float


class _Search:
    """Evaluates points and counts them."""

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

    def at(self, density_matrix: np.ndarray) -> _Point:
        density_matrix = 0.5 * (density_matrix + density_matrix.T)
        energy, hamiltonian = self.evaluate(density_matrix)
        self.evaluations += 1
        disorder = 0.0
        if self.temperature > 0:
            disorder = entropy(eigh(self.comm, density_matrix)[0])
        eigenvalues, vectors = eigh(self.comm, hamiltonian)
        occupations, _, _ = fermi_occupations(eigenvalues, self.n_electrons, self.temperature)
        step = (vectors * occupations) @ vectors.T - density_matrix
        free = decide(self.comm, float(energy - self.temperature * disorder))
        residual = decide(self.comm, float(np.linalg.norm(step)))
        return _Point(
            density_matrix,
            float(energy),
            free,
            disorder,
            hamiltonian,
            eigenvalues,
            vectors,
            occupations,
            step,
            residual,
        )

    def occupied(self, hamiltonian: np.ndarray) -> np.ndarray:
        """Return the density matrix that a Hamiltonian asks for."""
        eigenvalues, vectors = eigh(self.comm, hamiltonian)
        occupations, _, _ = fermi_occupations(eigenvalues, self.n_electrons, self.temperature)
        return (vectors * occupations) @ vectors.T

    def noise(self, point: _Point) -> float:
        return ROUND_OFF * max(1.0, abs(point.free_energy))

    def slope(self, point: _Point, step: np.ndarray) -> float:
        """Return ``dA/dβ`` at ``point`` along ``step``.

        The logarithm of the entropy's derivative is cut at the size of the occupations that the step itself
        makes: below it the exact slope holds in a vanishing part of the line only.
        """
        slope = SPIN_WEIGHT * float(np.sum(point.hamiltonian * step))
        if self.temperature > 0:
            values, vectors = eigh(self.comm, point.density_matrix)
            floor = min(0.25, max(1e-15, float(np.sum(step**2)) / len(values)))
            f = np.clip(values, floor, 1.0 - floor)
            along = np.einsum("ik,ij,jk->k", vectors, step, vectors)
            slope += SPIN_WEIGHT * self.temperature * float(np.sum(along * np.log(f / (1.0 - f))))
        return decide(self.comm, slope)

    def minimum(self, point: _Point, converged: bool) -> Minimum:
        return Minimum(
            point.density_matrix,
            point.eigenvalues,
            point.occupations,
            point.vectors,
            point.energy,
            point.free_energy,
            point.entropy,
            point.hamiltonian,
            self.evaluations,
            point.residual,
            converged,
            tuple(self.history),
        )

    def start(self, guess: np.ndarray) -> _Point:
        electrons = SPIN_WEIGHT * float(np.trace(guess))
        if not abs(electrons - self.n_electrons) < 1e-6 * max(1.0, self.n_electrons):
            raise AccuracyError(
                f"the start density matrix holds {electrons:.8g} electrons, the system has "
                f"{self.n_electrons:g}: the two must agree to 1e-6. Start from another density matrix, or "
                "none."
            )
        point = self.at(guess)
        self.history.append(point.free_energy)
        return point


def minimise_mvp(
    comm: MPI.Comm,
    evaluate: EnergyFunctional,
    guess_mm: np.ndarray,
    n_electrons: float,
    electronic_temperature: float = 0.0,
    tolerance: float = 1e-8,
    max_iterations: int = 200,
    must_converge: bool = True,
) -> Minimum:
    """Minimise the free energy by line searches towards the target density matrix.  Collective.

    Each iteration evaluates the functional at the target and at the minimum of the line, from the values and
    slopes at its ends; the free energy never rises.

    Parameters
    ----------
    comm
        Communicator on which everything is replicated.
    evaluate
        The functional, ``P -> (E, H)``.
    guess_mm
        Start density matrix, eigenvalues in [0, 1], trace ``n_electrons / w``.
    n_electrons, electronic_temperature
        Both spins; hartree.
    tolerance
        Largest accepted residual ``|f(H[P]) - P|``.
    max_iterations
        Line searches allowed.
    must_converge
        Whether not meeting the tolerance is an error; otherwise the best point is returned.

    Raises
    ------
    ConvergenceError
        If the tolerance is not met.
    """
    search = _Search(comm, evaluate, n_electrons, electronic_temperature, tolerance)
    point = _line_searches(search, search.start(guess_mm), max_iterations)
    return _finish(search, point, max_iterations, must_converge)


def _finish(search: _Search, point: _Point, max_iterations: int, must_converge: bool) -> Minimum:
    """Bring down what line searches leave when energies are all noise, by extrapolation."""
    slope = search.slope(point, point.step)
    if point.residual > search.tolerance and abs(slope) < 10.0 * search.noise(point):
        attempts = min(30, 2 * max_iterations)
        point = _extrapolate(search, point, attempts, 30, 1e4 * search.noise(point), patience=30)
    converged = point.residual <= search.tolerance
    if must_converge and not converged:
        raise ConvergenceError(
            f"the reduced density matrix did not converge: residual {point.residual:.2e} after "
            f"{search.evaluations} evaluations, at most {search.tolerance:.2e} is allowed. Start from "
            "another geometry's density matrix, loosen the tolerance, or set scf.electronic_temperature if "
            "the highest occupied level is degenerate."
        )
    return search.minimum(point, converged)


def _line_searches(search: _Search, point: _Point, max_iterations: int) -> _Point:
    """Go down by line searches until the step is short or lowers the energy by no more than noise."""
    for _ in range(max_iterations):
        slope = search.slope(point, point.step)
        if point.residual <= search.tolerance or abs(slope) < 10.0 * search.noise(point):
            break
        better = _line_minimum(search, point, slope)
        if better is None:
            break
        point = better
        search.history.append(point.free_energy)
    return point


def _line_minimum(search: _Search, point: _Point, slope: float) -> _Point | None:
    """Return a lower point between ``point`` and its target, or None if there is none beyond round-off."""
    target = search.at(point.density_matrix + point.step)
    rise = target.free_energy - point.free_energy
    beta = _lowest_energy(rise, slope, search.slope(target, point.step))
    for _ in range(10):
        trial = target if beta == 1.0 else search.at(point.density_matrix + beta * point.step)
        rise = trial.free_energy - point.free_energy
        if rise < 0.0:
            return trial
        curvature = rise - slope * beta
        fitted = -0.5 * slope * beta**2 / curvature if curvature > 0 else 0.0
        beta = float(np.clip(fitted, 0.1 * beta, 0.5 * beta))
    return None


def _lowest_energy(rise: float, slope_0: float, slope_1: float) -> float:
    """Return β in (0, 1] where the cubic through both values and slopes of the line is lowest."""
    if slope_0 >= 0.0:
        return 0.5
    quadratic, cubic = 3.0 * rise - 2.0 * slope_0 - slope_1, slope_0 + slope_1 - 2.0 * rise
    discriminant = quadratic**2 - 3.0 * cubic * slope_0
    if discriminant >= 0.0 and quadratic + np.sqrt(discriminant) > 0.0:
        return float(np.clip(-slope_0 / (quadratic + np.sqrt(discriminant)), 1e-3, 1.0))
    return 1.0 if rise < 0.0 else float(np.clip(-0.5 * slope_0 / (rise - slope_0), 1e-3, 1.0))


def minimise_diis(
    comm: MPI.Comm,
    evaluate: EnergyFunctional,
    guess_mm: np.ndarray,
    n_electrons: float,
    electronic_temperature: float = 0.0,
    tolerance: float = 1e-8,
    max_iterations: int = 40,
    depth: int = 8,
    must_converge: bool = True,
) -> Minimum:
    """Minimise the free energy by direct inversion in the iterative subspace.  Collective.

    The next density matrix is the target of ``Σ c_i H_i``, c minimising ``|Σ c_i (P~_i - P_i)|`` with
    ``Σ c_i = 1``.  If the free energy stays above the best for two evaluations, or the residual does not
    halve in five, line searches go on from the best point as in :func:`minimise_mvp`, whose other parameters
    and errors these are; ``depth`` is the number of Hamiltonians kept.
    """
    search = _Search(comm, evaluate, n_electrons, electronic_temperature, tolerance)
    point = search.start(guess_mm)
    point = _extrapolate(search, point, max_iterations, depth, search.noise(point))
    if point.residual > tolerance:
        point = _line_searches(search, point, 200 if must_converge else max_iterations)
    return _finish(search, point, max_iterations, must_converge)


def _extrapolate(
    search: _Search, point: _Point, max_iterations: int, depth: int, allowance: float, patience: int = 5
) -> _Point:
    """Return the first point within the tolerance, or the best when extrapolation stops paying.

    ``allowance`` (Ha) is the rise of the free energy that counts as none, ``patience`` the number of
    evaluations in which the residual has to halve.
    """
    points: list[_Point] = []
    best, residuals, misses = point, [point.residual], 0
    for _ in range(max_iterations):
        if point.residual <= search.tolerance:
            break
        points = [*points, point][-depth:]
        weights = _pulay_coefficients(search.comm, points)
        point = search.at(search.occupied(np.tensordot(weights, [p.hamiltonian for p in points], axes=1)))
        residuals.append(point.residual)
        change = point.free_energy - best.free_energy
        # One rise is how extrapolation learns how far to go; two in a row are a wrong way.
        misses = misses + 1 if change > allowance else 0
        stalled = len(residuals) > patience and min(residuals[-patience:]) > 0.5 * min(residuals[:-patience])
        if misses == 2 or stalled:
            break
        if change < -search.noise(best) or (misses == 0 and point.residual < best.residual):
            best = point
            search.history.append(point.free_energy)
    return best


def _pulay_coefficients(comm: MPI.Comm, points: list[_Point]) -> np.ndarray:
    """Return the c that minimise ``|Σ c_i e_i|`` with sum 1, the same on every rank."""
    errors = np.array([point.step.ravel() for point in points])
    changes = errors[:-1] - errors[-1]
    norms = np.linalg.norm(changes, axis=1)
    norms[norms == 0.0] = 1.0
    # Columns of one length, so that the cut of the singular values drops repetitions and nothing else.
    others = np.linalg.lstsq((changes / norms[:, None]).T, -errors[-1], rcond=1e-10)[0] / norms
    return decide(comm, np.append(others, 1.0 - others.sum()))
