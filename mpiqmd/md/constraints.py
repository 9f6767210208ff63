"""Bonds of fixed length by RATTLE [Andersen1983], in the geodesic form that also suits Langevin dynamics.

With ``d_k = R_i - R_j`` of bond k the constraints are ``sigma_k = (|d_k|^2 - l_k^2) / 2 = 0`` and their gradients the
rows of ``J(R)``: ``+d_k`` at atom i and ``-d_k`` at atom j.  Both parts of a step are projections in the metric of the
masses M:

    velocities    v <- v - M^-1 J^T mu,               J M^-1 J^T mu = J v                  (tangent to the constraints)
    drift by t    R <- R + t v + M^-1 J(R)^T lambda,  sigma = 0,  v <- (change of R) / t   (then made tangent)

Every impulse is along a bond and opposite on its two atoms: momentum and angular momentum stay.  A drift is
time-reversible and symplectic on the constraint surface, so that the conserved energy fluctuates as the timestep squared
[Leimkuhler2016].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.errors import AccuracyError, ConfigError

MAX_ITERATIONS = 50
WORST_CONDITION = 1e10
"""Constraints whose matrix ``J M^-1 J^T`` (diagonal scaled to one) is worse conditioned depend on each other."""


class BondConstraints:
    """Fixed distances between pairs of atoms.

    Parameters
    ----------
    pairs
        Pairs of atom indices, K of them.
    positions_av
        Positions (N, 3), bohr, that have the lengths to keep.
    inverse_masses_a
        Inverse masses (N,); zero for pinned atoms.
    tolerance
        Largest relative deviation of a length.

    Raises
    ------
    ConfigError
        A pair is impossible, or the constraints are not independent (which includes two pinned atoms).
    """

    def __init__(
        self,
        pairs: Sequence[Sequence[int]],
        positions_av: np.ndarray,
        inverse_masses_a: np.ndarray,
        tolerance: float,
    ) -> None:
        check_pairs(pairs, len(positions_av))
        self.pairs = [(int(first), int(second)) for first, second in pairs]
        self._first_k, self._second_k = np.array(self.pairs, dtype=int).reshape(-1, 2).T
        self._inverse_masses_a = inverse_masses_a
        self.tolerance = tolerance
        arms_kv = self._arms(positions_av)
        self._squares_k = (arms_kv**2).sum(axis=1)
        matrix_kk = self._coupling(arms_kv, arms_kv)
        scale_k = np.sqrt(np.maximum(matrix_kk.diagonal(), 1e-300))
        values = np.linalg.eigvalsh(matrix_kk / np.outer(scale_k, scale_k))
        if values[0] * WORST_CONDITION <= values[-1] or not matrix_kk.diagonal().all():
            raise ConfigError(
                f"md.constraints = {[list(pair) for pair in self.pairs]}: these lengths depend on each other, or join two "
                "pinned atoms; each must remove one degree of freedom of its own. Leave out the pairs that follow from "
                "others (three lengths of a linear molecule are one too many)."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def tangent(self, velocities_av: np.ndarray, positions_av: np.ndarray) -> np.ndarray:
        """Return the velocities (N, 3), a.u., without their components that would change a length.  Not collective."""
        arms_kv = self._arms(positions_av)
        rates_k = (arms_kv * (velocities_av[self._first_k] - velocities_av[self._second_k])).sum(axis=1)
        multipliers_k = np.linalg.solve(self._coupling(arms_kv, arms_kv), rates_k)
        return velocities_av - self._spread(arms_kv, multipliers_k)

    def drift(self, positions_av: np.ndarray, velocities_av: np.ndarray, interval: float) -> tuple[np.ndarray, np.ndarray]:
        """Return positions after a free flight along the constraint surface, and the velocities tangent there.

        Both of shape (N, 3), bohr and a.u.  Not collective.

        Raises
        ------
        AccuracyError
            Newton's method finds no such positions: the step is too long.
        """
        arms_kv = self._arms(positions_av)
        moved_av = positions_av + interval * velocities_av
        for _ in range(MAX_ITERATIONS):
            moved_arms_kv = self._arms(moved_av)
            excess_k = 0.5 * ((moved_arms_kv**2).sum(axis=1) - self._squares_k)
            if not np.isfinite(excess_k).all():
                break
            if np.abs(excess_k / self._squares_k).max() <= self.tolerance:
                moved_velocities_av = (moved_av - positions_av) / interval
                return moved_av, self.tangent(moved_velocities_av, moved_av)
            try:
                multipliers_k = np.linalg.solve(self._coupling(moved_arms_kv, arms_kv), excess_k)
            except np.linalg.LinAlgError:
                break
            moved_av = moved_av - self._spread(arms_kv, multipliers_k)
        raise AccuracyError(
            f"the lengths of md.constraints cannot be kept to {self.tolerance:.0e} within a step of {2 * interval:.4g} a.u."
        )

    def _arms(self, positions_av: np.ndarray) -> np.ndarray:
        return positions_av[self._first_k] - positions_av[self._second_k]

    def _coupling(self, left_kv: np.ndarray, right_kv: np.ndarray) -> np.ndarray:
        """Return ``J(left) M^-1 J(right)^T``, shape (K, K)."""
        first, second, inverse = self._first_k, self._second_k, self._inverse_masses_a
        shared_kk = (first[:, None] == first) * inverse[first][:, None]
        shared_kk = shared_kk + (second[:, None] == second) * inverse[second][:, None]
        shared_kk = shared_kk - (first[:, None] == second) * inverse[first][:, None]
        shared_kk = shared_kk - (second[:, None] == first) * inverse[second][:, None]
        return shared_kk * (left_kv @ right_kv.T)

    def _spread(self, arms_kv: np.ndarray, multipliers_k: np.ndarray) -> np.ndarray:
        """Return ``M^-1 J^T mu``, shape (N, 3)."""
        result_av = np.zeros((len(self._inverse_masses_a), 3))
        impulses_kv = multipliers_k[:, None] * arms_kv
        np.add.at(result_av, self._first_k, impulses_kv)
        np.subtract.at(result_av, self._second_k, impulses_kv)
        return result_av * self._inverse_masses_a[:, None]


def check_pairs(pairs: Sequence[Sequence[int]], n_atoms: int) -> None:
    """Raise ConfigError unless the pairs are of different atoms, within the molecule, and not repeated."""
    seen: set[frozenset[int]] = set()
    for pair in pairs:
        atoms = frozenset(pair)
        inside = all(0 <= index < n_atoms for index in pair)
        if len(pair) != 2 or len(atoms) != 2 or not inside or atoms in seen:
            raise ConfigError(
                f"md.constraints holds {np.asarray(pair).tolist()}; allowed: pairs of different atoms, numbered 0 to "
                f"{n_atoms - 1}, each pair once. Correct the list."
            )
        seen.add(atoms)
