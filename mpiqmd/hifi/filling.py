"""How a direct minimisation fills its orbitals, and what of that takes part in the acceleration.

Where every orbital is doubly occupied, ``P = 1`` and there is nothing to do.  Otherwise P follows an auxiliary Hamiltonian
H~ of the orbitals' span that relaxes together with them,

    P = f(H~),    H~ <- H~ + D (H - H~),    H = Φ^T H[ρ] Φ,

so that a smeared molecule costs one density, one potential and one Hamiltonian application an iteration like any other
(after C. Freysoldt, S. Boeck, J. Neugebauer, Phys. Rev. B 79, 241103 (2009)).  In the eigenbasis of H~ a change of H~_ij moves
charge in proportion to ``g_ij = |f_i - f_j| / |ε_i - ε_j|``, and the charge moves H back by some U g_ij; hence the damping

    D_ij = 1 / (1 + 2 U g_ij),

with U raised where an iteration went wrong.  Steps of orbitals and of H~ share their Anderson coefficients, found in a norm
that measures both by the energy they are worth,

    <f, g> = Σ_i P_ii <f_i, g_i> + w tr(δH_f δH_g),    w = 1 / (4 max(T_e, T_min)),

in which empty orbitals, which converge late, have no say; 1 / (4 T_e) is the steepest slope of f, at ε = μ.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.kernels import inner_products
from mpiqmd.hifi.anderson import Parts
from mpiqmd.hifi.iterate import Iterate
from mpiqmd.kohnsham.electrons import Electrons
from mpiqmd.kohnsham.ensemble_minimiser import minimise_mvp
from mpiqmd.kohnsham.model import Problem
from mpiqmd.kohnsham.occupations import fermi_occupations, lowest_filled
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.dense import eigh

SMALLEST_TEMPERATURE = 0.01
"""T_min, hartree."""
NEAR = 1e-6
"""Levels closer than this (Ha) count as degenerate."""
RESPONSE, RAISED_RESPONSE = 0.05, 0.2
"""U at first, and at least after an iteration that went wrong, Ha."""
NEGLIGIBLE = 1e-6
"""Occupation below which an orbital's step does not count."""
STARTING_SEARCHES = 2
"""Line searches over density matrices at the starting orbitals."""


class Filled:
    """Doubly occupied orbitals.

    Parameters
    ----------
    n_orbitals
        Number of orbitals.
    """

    products = None

    def __init__(self, n_orbitals: int) -> None:
        self.density_matrix_nn = np.eye(n_orbitals)
        self.memory: Parts = ()

    def error(self, state: Iterate) -> float:
        """Return the energy error that the filling leaves, Ha."""
        return 0.0

    def parts(self, state: Iterate, step: Orbitals, damping: float) -> tuple[Parts, Parts]:
        """Return iterate and step of what is accelerated: the orbitals."""
        step.local *= damping
        return [state.electrons.orbitals.local], [step.local]

    def accept(self, parts: Parts) -> None:
        """Take the filling's own parts of the next iterate."""

    def retreat(self, memory: Parts) -> None:
        """Return to an earlier ``memory``, more carefully."""


class Smeared:
    """Fractional, or integer but unequal, occupations from an auxiliary Hamiltonian.

    Construction is collective: P at the starting orbitals comes from a few line searches over density matrices.

    Parameters
    ----------
    problem
        The Kohn-Sham problem.
    orbitals
        Orthonormal starting orbitals.

    Attributes
    ----------
    density_matrix_nn
        P.
    memory
        H~, Ha; nothing before the first iteration.
    """

    def __init__(self, problem: Problem, orbitals: Orbitals) -> None:
        self.comm, self.response = problem.grid.comm, RESPONSE
        self.n_electrons, self.temperature = problem.n_electrons, problem.model.electronic_temperature
        self.weight = 1.0 / (4.0 * max(self.temperature, SMALLEST_TEMPERATURE) * problem.grid.volume_element)
        self.density_matrix_nn = _starting_density_matrix(problem, orbitals, self.temperature)
        self.memory: Parts = ()

    def error(self, state: Iterate) -> float:
        """Return the energy error that the filling leaves, ``|tr (f(H) - P)(H - H~)|``, Ha.  Collective."""
        if not self.memory:
            return np.inf
        change = state.hamiltonian_nn - self.memory[0]
        return abs(float(np.sum((self._occupied(state.hamiltonian_nn) - state.electrons.density_matrix_nn) * change)))

    def parts(self, state: Iterate, step: Orbitals, damping: float) -> tuple[Parts, Parts]:
        """Return iterate and step of what is accelerated: the orbitals and H~.  Collective.

        The part of the step inside the span of the orbitals only turns them against H~, and is left out.
        """
        step.local -= state.electrons.orbitals.combine(state.electrons.orbitals.gram(step)).local
        step.local *= damping
        auxiliary = self.memory[0] if self.memory else state.hamiltonian_nn
        change = damping * self._damped(auxiliary, state.hamiltonian_nn - auxiliary)
        return [state.electrons.orbitals.local, auxiliary], [step.local, change]

    def accept(self, parts: Parts) -> None:
        """Take the next H~ and fill its levels.  Collective."""
        self.memory = [0.5 * (parts[0] + parts[0].T)]
        self.density_matrix_nn = self._occupied(self.memory[0])

    def retreat(self, memory: Parts) -> None:
        """Return to an earlier H~ and move it less from now on.  Collective."""
        self.response = max(RAISED_RESPONSE, 2.0 * self.response)
        if memory:
            self.accept(memory)

    def _damped(self, auxiliary_nn: np.ndarray, change_nn: np.ndarray) -> np.ndarray:
        """Return ``D (H - H~)`` (equation of the module).  Collective."""
        values, vectors = eigh(self.comm, auxiliary_nn)
        f, _, _ = fermi_occupations(values, self.n_electrons, self.temperature)
        gaps, slopes = values[:, None] - values, f * (1.0 - f) / max(self.temperature, NEAR)
        near = np.abs(gaps) < NEAR
        moved = np.where(near, 0.5 * (slopes[:, None] + slopes), np.abs(f[:, None] - f) / np.where(near, 1.0, np.abs(gaps)))
        return vectors @ ((vectors.T @ change_nn @ vectors) / (1.0 + 2.0 * self.response * moved)) @ vectors.T

    def products(self, steps: list[Parts]) -> np.ndarray:
        """Return inner products of steps of orbitals and H~, shape (steps, steps), per volume element, bohr⁻³.  Collective."""
        local = np.zeros((len(steps), len(steps)))
        for n, occupation in enumerate(np.diag(self.density_matrix_nn)):
            if occupation > NEGLIGIBLE:
                local += occupation * inner_products([step[0][n] for step in steps])
        changes = np.array([step[1].ravel() for step in steps])
        return sum_over_ranks(self.comm, local) + self.weight * changes @ changes.T

    def _occupied(self, hamiltonian_nn: np.ndarray) -> np.ndarray:
        """Return f(H), shape (n, n).  Collective."""
        values, vectors = eigh(self.comm, hamiltonian_nn)
        occupations, _, _ = fermi_occupations(values, self.n_electrons, self.temperature)
        return (vectors * occupations) @ vectors.T


def _starting_density_matrix(problem: Problem, orbitals: Orbitals, temperature: float) -> np.ndarray:
    """Return a density matrix near the best one inside the span of the orbitals.  Collective."""
    space = problem.model.space(orbitals)
    linear_nn = problem.linear.matrix(space)

    def energy_at(trial_nn: np.ndarray) -> tuple[float, np.ndarray]:
        electrons = Electrons(space, trial_nn)
        energies, potential = problem.density_terms(electrons.density)
        energy = electrons.expectation(linear_nn) + sum(energies.values()) + problem.linear.constant
        return energy, linear_nn + space.dense.matrix_elements(potential)

    lowest = lowest_filled(len(orbitals), problem.n_electrons)
    found = minimise_mvp(
        problem.grid.comm,
        energy_at,
        lowest,
        problem.n_electrons,
        temperature,
        max_iterations=STARTING_SEARCHES,
        must_converge=False,
    )
    return found.density_matrix_mm
