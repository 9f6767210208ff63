"""Integrals of potentials over pair products, on the part of the grid that the mirrors leave, in cache-sized blocks.

A mirror of an axis under which the integrand ``ψ_i v ψ_j`` is even halves the points: those on one side count twice.
Only blocks of modes whose pairs are asked for are multiplied.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.rom.compiled.pairs import PairProducts

BLOCK = 1024
"""Grid points per block: a block of modes and its product with the potential stay in cache."""
ON_PLANE = 1e-9
"""Distance from a mirror plane, bohr, that counts as none."""


class PairIntegrals:
    """Computes ``∫ ψ_i v ψ_j dr`` over pair products.  Construction is not collective.

    Parameters
    ----------
    modes, pairs
        Modes and their pair products.
    signs_gv
        Signs of the axes under the mirrors that ``pairs.characters_mg`` belongs to, shape (mirrors, 3).

    Attributes
    ----------
    all_axes
        Axes (0 is x) whose mirror is one of them.
    mirror_of_axis
        Which mirror flips an axis alone.
    kept_axes
        Those of them under which all pair products are even: mirrors that every geometry has.
    """

    def __init__(self, modes: Orbitals, pairs: PairProducts, signs_gv: np.ndarray | None = None) -> None:
        self.modes, self.pairs, self.grid = modes, pairs, modes.grid
        signs = np.zeros((0, 3)) if signs_gv is None else np.reshape(signs_gv, (-1, 3))
        single = {int(np.argmin(row)): g for g, row in enumerate(signs) if (row < 0).sum() == 1}
        parities = pairs.characters_mg[pairs.rows] * pairs.characters_mg[pairs.columns]
        self.mirror_of_axis, self.all_axes = single, tuple(sorted(single))
        self.kept_axes = tuple(v for v in self.all_axes if (parities[:, single[v]] > 0).all())
        kinds = np.column_stack([pairs.sectors_m, pairs.characters_mg])
        _, self._kind_m = np.unique(kinds, axis=0, return_inverse=True)
        self._kind_m = self._kind_m.ravel()
        self._folded: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def elements(self, potentials: list[Field], fold: tuple[int, ...] = (), part: slice = slice(None)) -> np.ndarray:
        """Return the integrals for several potentials, shape (potentials, pairs of ``part``).  Collective.

        Parameters
        ----------
        potentials
            The functions v.
        fold
            Axes under whose mirror every integrand is even.
        part
            The pairs wanted.
        """
        points, weights, modes = self._fold(fold)
        values = np.stack([potential.local.ravel()[points] for potential in potentials]) * weights
        rows, columns = self.pairs.rows[part], self.pairs.columns[part]
        local = np.zeros((len(potentials), self.pairs.n_modes, self.pairs.n_modes))
        kinds = np.sort([self._kind_m[rows], self._kind_m[columns]], axis=0)
        for a, b in np.unique(kinds, axis=1).T:
            left, right = np.flatnonzero(self._kind_m == a), np.flatnonzero(self._kind_m == b)
            block = _weighted_products(modes, left, right, values)
            local[:, left[:, None], right] = block
            local[:, right[:, None], left] = block.transpose(0, 2, 1)
        packed = np.ascontiguousarray(local[:, rows, columns])
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, packed)

    def _fold(self, axes: tuple[int, ...]) -> tuple[np.ndarray | slice, np.ndarray | float, np.ndarray]:
        """Return the points of one side of the mirror planes, how often they count, and the modes there."""
        if not axes:
            return slice(None), 1.0, self.modes.matrix_local
        if axes not in self._folded:
            weights = np.ones(self.grid.local_shape)
            for v in axes:
                coordinate = self.grid.local_coordinates[2 - v]
                half = 0.5 * self.grid.cell_v[v]
                on_plane = (np.abs(coordinate) < ON_PLANE) | (np.abs(coordinate + half) < ON_PLANE)
                weights = weights * np.where(on_plane, 1.0, np.where(coordinate > 0, 2.0, 0.0))
            points = np.flatnonzero(weights.ravel())
            modes = np.ascontiguousarray(self.modes.matrix_local[:, points])
            self._folded[axes] = points, weights.ravel()[points], modes
        return self._folded[axes]


def _weighted_products(modes: np.ndarray, left: np.ndarray, right: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``Σ_r v(r) ψ_i(r) ψ_j(r)`` for i in ``left``, j in ``right`` and every row v of ``values``."""
    if len(left) > len(right):
        return _weighted_products(modes, right, left, values).transpose(0, 2, 1)
    result = np.zeros((len(values) * len(left), len(right)))
    for start in range(0, modes.shape[1], BLOCK):
        piece = modes[left, start : start + BLOCK]
        weighted = (values[:, None, start : start + BLOCK] * piece).reshape(len(result), -1)
        result += weighted @ modes[right, start : start + BLOCK].T
    return result.reshape(len(values), len(left), len(right))


def density_of_pairs(modes: Orbitals, pairs: PairProducts, coefficients_p: np.ndarray) -> Field:
    """Return ``ρ = Σ_p d_p ψ_i ψ_j``.  Not collective."""
    matrix = pairs.matrix(coefficients_p / pairs.multiplicities_p)
    values, vectors = np.linalg.eigh(matrix)
    keep = np.abs(values) > 1e-13 * max(1.0, np.abs(values).max())
    if not keep.any():
        return Field(modes.grid)
    return modes.combine(vectors[:, keep]).density(2.0 * values[keep])
