"""Reduced ground states on the grid by their orbitals' gradient: ``H Ũ`` instead of the whole matrix H over the modes.

One evaluation costs one density, its potentials and n orbitals through H, whatever the number of modes: what the offline
stage needs some hundred times.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.errors import ConvergenceError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.kohnsham.electrons import SPIN_WEIGHT, Electrons, OrbitalSpace
from mpiqmd.kohnsham.model import KohnShamModel, Problem
from mpiqmd.parallel.comm import decide, sum_over_ranks
from mpiqmd.rom.learned.anderson import accelerated
from mpiqmd.rom.learned.reference import Reference, orthonormalised

DEPTH = 6
"""Depth of the Anderson acceleration."""
MOST_EVALUATIONS = 25
BLOCK = 8192
"""Grid points whose products are summed in single precision."""


class GridEnergy:
    """The reduced energy and its slope on the grid.  Construction is not collective.

    Parameters
    ----------
    model
        The physics.
    modes
        Orthonormal modes.
    roughly
        Make and project orbitals over the modes in single precision: energies are wrong by some 1e-7 Ha, and where the minimum
        is by a millionth.
    """

    def __init__(self, model: KohnShamModel, modes: Orbitals, roughly: bool = False) -> None:
        self.model, self.modes = model, model.space(modes)
        self._single = modes.matrix_local.astype(np.float32) if roughly and model.refinement is None else None

    def evaluate(self, problem: Problem, orbitals_mn: np.ndarray) -> tuple[float, np.ndarray]:
        """Return E (Ha) of orthonormal orbitals over the modes, and ``H Ũ``, shape (modes, occupied), Ha.  Collective."""
        space, n = self._combined(orbitals_mn), orbitals_mn.shape[1]
        density = Electrons(space, np.eye(n)).density
        energies, potential = problem.density_terms(density)
        applied_mn = self._projected(problem.linear.plus(potential).apply(space))
        bands = SPIN_WEIGHT * float(np.sum(orbitals_mn * applied_mn))
        return bands - density.inner(potential) + sum(energies.values()) + problem.linear.constant, applied_mn

    def _combined(self, orbitals_mn: np.ndarray) -> OrbitalSpace:
        """Return orbitals over the modes on the grid."""
        if self._single is None:
            return self.modes.combine(orbitals_mn)
        grid = self.modes.orbitals.grid
        local = np.ascontiguousarray(orbitals_mn.T, np.float32) @ self._single
        return self.model.space(Orbitals(grid, local.reshape(-1, *grid.local_shape).astype(float)))

    def _projected(self, functions: Orbitals) -> np.ndarray:
        """Return the overlaps of the modes with functions, shape (modes, functions).  Collective."""
        if self._single is None:
            return self.modes.orbitals.gram(functions)
        flat, total_nm = functions.matrix_local.astype(np.float32), np.zeros((len(functions), len(self._single)))
        for start in range(0, flat.shape[1], BLOCK):
            part = slice(start, start + BLOCK)
            # the many rows of the modes on the right: on the left they are copied before they are multiplied
            total_nm += flat[:, part] @ self._single[:, part].T
        return functions.grid.volume_element * sum_over_ranks(functions.grid.comm, total_nm).T


def minimum_near(
    energy: GridEnergy, problem: Problem, kinetic_mm: np.ndarray, orbitals_mn: np.ndarray, tolerance: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the reduced minimum (Ha), its occupied orbitals (modes, occupied) and ``∂E/∂x`` (N, 3), Ha/bohr.

    Collective.  ``orbitals_mn`` are near it, ``kinetic_mm`` is the kinetic energy between modes (Ha); the last step gains less
    than ``tolerance`` (Ha).  Raises ConvergenceError.
    """
    reference = decide(problem.grid.comm, Reference.of_kinetic(kinetic_mm, orbitals_mn))
    start_y = np.zeros(reference.scale_vn.size)
    alone = ResponseHessian(np.zeros((0, len(start_y))), np.zeros((0, 0)))
    value, found_y = minimised(energy, reference, problem, start_y, alone, tolerance)
    found_mn, _ = orthonormalised(reference.spanning(found_y))
    electrons = Electrons(energy.modes.combine(found_mn), np.eye(found_mn.shape[1]))
    return value, found_mn, problem.gradient(electrons)


def minimised(
    energy: GridEnergy,
    reference: Reference,
    problem: Problem,
    coordinates_y: np.ndarray,
    response: ResponseHessian,
    tolerance: float,
) -> tuple[float, np.ndarray]:
    """Return the reduced minimum (Ha) and its y, shape (y,), square roots of Ha, from a start near it.  Collective.

    Quasi-Newton steps, accelerated by Anderson's method, until one would gain less than ``tolerance`` (Ha).
    Raises ConvergenceError.
    """
    comm = problem.grid.comm
    iterates: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    for _ in range(MOST_EVALUATIONS):
        orbitals_mn, inverse_nn = orthonormalised(reference.spanning(coordinates_y))
        value, applied_mn = energy.evaluate(problem, orbitals_mn)
        slope_y = reference.pull(orbitals_mn, inverse_nn, applied_mn)
        step_y = decide(comm, -response.solve(slope_y))
        gain = -0.5 * float(slope_y @ step_y)
        if decide(comm, gain < tolerance):
            return value - gain, coordinates_y + step_y
        iterates, steps = [*iterates[1 - DEPTH :], coordinates_y], [*steps[1 - DEPTH :], step_y]
        coordinates_y = decide(comm, accelerated(iterates, steps))
    raise ConvergenceError(
        f"a reduced ground state for the learned grid did not converge: the last step would gain {gain:.1e} Ha, "
        f"{tolerance:.0e} is wanted. Use rom.online = 'grid', or a training set nearer to the minimum."
    )


class ResponseHessian:
    """``B = 1 + V M V^T``: the curvature in y, with the response of the density in a few orthonormal directions V."""

    def __init__(self, directions_dy: np.ndarray, response_dd: np.ndarray) -> None:
        self.directions_dy = directions_dy
        inverse_dd = np.linalg.inv(np.eye(len(response_dd)) + response_dd)
        self._correction_dd = inverse_dd - np.eye(len(response_dd))

    def solve(self, slope_y: np.ndarray) -> np.ndarray:
        """Return ``B^-1 g``, shape (y,), square roots of Ha.  Not collective."""
        return slope_y + (self._correction_dd @ (self.directions_dy @ slope_y)) @ self.directions_dy
