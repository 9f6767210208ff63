"""Starting orbitals at a geometry from ground states at many others, in any order.

Orbitals φ_s of geometries R_s are aligned with those of the first by the polar factor of their overlap, which makes them smooth
functions of the nuclei.  They are interpolated, ``φ(R) = Σ_s w_s(R) φ_s`` with ``Σ_s w_s = 1``, by kriging:

    | K + ν 1    1 | | w |   | k(R) |
    |   1^T      0 | | μ | = |  1   |,     K_st = k(R_s - R_t),     k(d) = exp(-|d|² / 2 l²)

Blocks of orbitals are kept in single precision, and as many as there is room for: when they are full, those of all geometries
so far are replaced by half as many principal ones, and the geometries by their coefficients over these.

From 60 geometries of CH3OH at 400 K on, orbitals of another one miss 1e-3 of 7 electron pairs, where those of the nearest
geometry miss 2e-2.  For fits of density matrices over nuclei see E. Polack, A. Mikhalev, G. Dusson, B. Stamm, F. Lipparini,
J. Chem. Theory Comput. 17, 6965 (2021); for kriging N. A. C. Cressie, Statistics for Spatial Data, Wiley (1993).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.parallel.comm import decide, sum_over_ranks
from mpiqmd.parallel.dense import polar_factor

LENGTH = 2.0
"""l, bohr: orbitals are smooth, so that it is longer than most geometries are apart."""
NUGGET = 1e-4
"""ν, of orbitals that are not known better, or do not vary so smoothly."""
ROOM = 1e9
"""Bytes of the blocks on a rank."""
PIECE = 8192
"""Points that are combined at once, in cache."""
FEWEST = 8
"""Blocks that are kept, whatever room they take."""


class OrbitalInterpolation:
    """Takes ground states of geometries, and predicts those of others.  Construction is not collective.

    Parameters
    ----------
    grid
        The grid the orbitals live on.
    room
        Bytes on a rank.
    """

    def __init__(self, grid: Grid, room: float = ROOM) -> None:
        self.grid, self.room = grid, room
        self._positions: list[np.ndarray] = []
        self._blocks = np.empty((0, 0), np.float32)
        self._coefficients_sk = np.empty((0, 0))
        self._first: Orbitals | None = None

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def n_blocks(self) -> int:
        """Blocks of orbitals that are kept now."""
        return self._coefficients_sk.shape[1]

    def add(self, positions_av: np.ndarray, orbitals: Orbitals) -> None:
        """Take the ground state of a geometry, positions (N, 3) in bohr.  Collective.

        One with another number of orbitals than those before is let be.
        """
        if self._first is None:
            most = int(self.room * self.grid.comm.size / (4 * len(orbitals) * self.grid.size))
            self._first, self._blocks = orbitals, np.empty((max(most, FEWEST), orbitals.local.size), np.float32)
        if len(orbitals) != len(self._first):
            return
        if self.n_blocks == len(self._blocks):
            self._keep_principal(len(self._blocks) // 2)
        turned = orbitals.combine(polar_factor(self.grid.comm, orbitals.gram(self._first)))
        self._blocks[self.n_blocks] = turned.local.ravel()
        self._coefficients_sk = np.pad(self._coefficients_sk, ((0, 1), (0, 1)))
        self._coefficients_sk[-1, -1] = 1.0
        self._positions.append(np.array(positions_av, float))

    def predict(self, positions_av: np.ndarray) -> Orbitals | None:
        """Return the orbitals at a geometry, bohr, not orthonormalised; None where nothing is known.  Collective."""
        if self._first is None:
            return None
        weights_s = decide(self.grid.comm, kriging_weights(np.array(self._positions), positions_av))
        weights_k = (weights_s @ self._coefficients_sk).astype(np.float32)
        combined = weights_k @ self._blocks[: self.n_blocks]
        return Orbitals(self.grid, combined.astype(float).reshape(self._first.local.shape))

    def _keep_principal(self, most: int) -> None:
        """Replace the blocks by so many principal ones of all geometries, or as many as there are.  Collective."""
        blocks = self._blocks[: self.n_blocks]
        gram_kk = self.grid.volume_element * sum_over_ranks(self.grid.comm, (blocks @ blocks.T).astype(float))
        principal_kp, coefficients_sp = decide(self.grid.comm, _principal(gram_kk, self._coefficients_sk, most))
        for start in range(0, blocks.shape[1], PIECE):
            piece = blocks[:, start : start + PIECE]
            self._blocks[: principal_kp.shape[1], start : start + PIECE] = principal_kp.T.astype(np.float32) @ piece
        self._coefficients_sk = coefficients_sp


def kriging_weights(known_sav: np.ndarray, positions_av: np.ndarray) -> np.ndarray:
    """Return w (equation of the module), shape (samples,), without unit.  Not collective.

    Positions in bohr, those that are known of shape (samples, N, 3).
    """
    count, known_sx = len(known_sav), known_sav.reshape(len(known_sav), -1)
    matrix = np.ones((count + 1, count + 1))
    matrix[:count, :count] = _kernel(known_sx, known_sx) + NUGGET * np.eye(count)
    matrix[count, count] = 0.0
    right = np.append(_kernel(known_sx, positions_av.reshape(1, -1)), 1.0)
    return np.linalg.solve(matrix, right)[:count]


def _kernel(one_sx: np.ndarray, other_tx: np.ndarray) -> np.ndarray:
    """Return k between geometries as rows, bohr, shape (s, t), without unit."""
    return np.exp(-cdist(one_sx, other_tx, "sqeuclidean") / (2.0 * LENGTH**2))


def _principal(gram_kk: np.ndarray, coefficients_sk: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return principal directions of ``c_sk b_k`` over blocks b of this Gram matrix, (k, p), and c over these, (s, p)."""
    values, vectors = np.linalg.eigh(gram_kk)
    kept = values > 1e-10 * values[-1]
    root_kr, inverse_kr = vectors[:, kept] * np.sqrt(values[kept]), vectors[:, kept] / np.sqrt(values[kept])
    along_sr = coefficients_sk @ root_kr
    turned_rp = np.linalg.svd(along_sr, full_matrices=False)[2][:most].T
    return inverse_kr @ turned_rp, along_sr @ turned_rp
