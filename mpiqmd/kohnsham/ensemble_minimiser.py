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

from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.kohnsham.ensemble_search import EnergyFunctional, Minimum, Point, Search
from mpiqmd.kohnsham.line_searches import search_lines
from mpiqmd.kohnsham.pulay import extrapolate

if TYPE_CHECKING:
    from mpi4py import MPI


def minimise_mvp(
    comm: MPI.Comm,
    evaluate: EnergyFunctional,
    guess_mm: np.ndarray,
    n_electrons: float,
    electronic_temperature: float = 0.0,
    *,
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
    search = Search(comm, evaluate, n_electrons, electronic_temperature, tolerance)
    point = search_lines(search, search.start(guess_mm), max_iterations)
    return _finish(search, point, max_iterations, must_converge)


def minimise_diis(
    comm: MPI.Comm,
    evaluate: EnergyFunctional,
    guess_mm: np.ndarray,
    n_electrons: float,
    electronic_temperature: float = 0.0,
    *,
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
    search = Search(comm, evaluate, n_electrons, electronic_temperature, tolerance)
    point = search.start(guess_mm)
    point = extrapolate(search, point, max_iterations, depth, allowance=search.noise(point))
    if point.residual > tolerance:
        point = search_lines(search, point, 200 if must_converge else max_iterations)
    return _finish(search, point, max_iterations, must_converge)


def _finish(search: Search, point: Point, max_iterations: int, must_converge: bool) -> Minimum:
    """Return the minimum at the end of a search, after an extrapolation where all energies have become noise.  Collective.

    Raises ConvergenceError if it must have converged and has not.
    """
    slope = search.slope(point, point.step_mm)
    if point.residual > search.tolerance and abs(slope) < 10.0 * search.noise(point):
        attempts = min(30, 2 * max_iterations)
        point = extrapolate(search, point, attempts, 30, allowance=1e4 * search.noise(point), patience=30)
    converged = point.residual <= search.tolerance
    if must_converge and not converged:
        raise ConvergenceError(
            f"the reduced density matrix did not converge: residual {point.residual:.2e} after "
            f"{search.evaluations} evaluations, at most {search.tolerance:.2e} is allowed. Start from "
            "another geometry's density matrix, loosen the tolerance, or set scf.electronic_temperature if "
            "the highest occupied level is degenerate."
        )
    return search.minimum(point, converged)
