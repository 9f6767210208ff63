"""The first order of the moving ions' local potentials, read off the learned grid instead of whole matrices.

    w tr(Ũ h_l Ũ^T) ≈ t_l + s_l · z + W_l · (ρ - ρ̄) at the points

Each h_l is a local potential: its energy is an integral over the density, and points that tell the densities of a molecule
apart tell this integral as well.  What they tell of it is found by regression (``first_order_fit``).  Whole matrices
(``one_electron``) are as exact as the modes, but there is one for each internal coordinate, over pairs of modes: from six atoms
on, most of a step would go into them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.compiling import compiled
from mpiqmd.rom.learned.kernels import SUMS, add_multiple, dot
from mpiqmd.rom.learned.packed import by_species, pad, padded


@dataclass(frozen=True)
class FirstOrderArrays:
    """What is read; of no directions where matrices act instead.

    Attributes
    ----------
    axes_lx, offset_l
        Displacements ``y = axes · x - offset`` along which it acts, of flattened positions, bohr.
    mean_l, latent_ld, at_points_lq
        t (Ha/bohr), s (square roots of Ha per bohr) and W (Ha bohr²).
    labels_l
        Symmetry species of the displacements: what a density has of it at the points is read.
    """

    axes_lx: np.ndarray
    offset_l: np.ndarray
    mean_l: np.ndarray
    latent_ld: np.ndarray
    at_points_lq: np.ndarray
    labels_l: np.ndarray

    @classmethod
    def none(cls, atoms: int, directions: int, points: int) -> FirstOrderArrays:
        """Return what acts along no direction, for so many atoms, latent directions and points.  Not collective."""
        nothing = np.zeros(0)
        labels_l = nothing.astype(int)
        return cls(np.zeros((0, 3 * atoms)), nothing, nothing, np.zeros((0, directions)), np.zeros((0, points)), labels_l)


class FirstOrder:
    """The term online.  Replicated, not collective."""

    def __init__(self, arrays: FirstOrderArrays, n_species: int) -> None:
        self.axes_lx, self.offset_l = arrays.axes_lx, arrays.offset_l
        at_points_lq = by_species(arrays.at_points_lq, arrays.labels_l, n_species, padded(arrays.at_points_lq.shape[1]))
        self._read = arrays.mean_l, pad(arrays.latent_ld), at_points_lq

    def displacements(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return y, shape (B, l), of geometries (B, N, 3), bohr."""
        return positions_bav.reshape(len(positions_bav), -1) @ self.axes_lx.T - self.offset_l

    def add(
        self,
        changes_bq: np.ndarray,
        latent_bd: np.ndarray,
        displacements_bl: np.ndarray,
        energies_b: np.ndarray,
        potential_bq: np.ndarray,
    ) -> np.ndarray:
        """Add to energies (B,), Ha, and to what acts at the points (B, species Q); return the gradients (B, 3 N), Ha/bohr.

        ``changes`` are ρ - ρ̄ at the points by species, bohr⁻³, ``latent`` padded latent coordinates.
        """
        values_bl = read_first_order((changes_bq, latent_bd), self._read, displacements_bl, energies_b, potential_bq)
        return values_bl @ self.axes_lx

    def slopes(self, displacements_bl: np.ndarray) -> np.ndarray:
        """Return what it adds to dE/dz directly, padded, shape (B, d), square roots of Ha."""
        return displacements_bl @ self._read[1]


@compiled(fastmath=SUMS)
def read_first_order(
    state: tuple[np.ndarray, np.ndarray],
    read: tuple[np.ndarray, np.ndarray, np.ndarray],
    displacements: np.ndarray,
    energies: np.ndarray,
    potential: np.ndarray,
) -> np.ndarray:
    """Return T (B, l); add ``y·T`` to energies (B,) and ``Σ_l y_l W_l`` to the potential (B, species Q).

    ``state``: ρ - ρ̄ (B, species Q) and z (B, d); ``read``: t (l,), s (l, d) and W (l, species Q).
    """
    (changes, latent), (mean, along, at_points) = state, read
    values = np.empty(displacements.shape)
    for b in range(len(displacements)):
        for m in range(len(mean)):
            values[b, m] = mean[m] + dot(along[m], latent[b]) + dot(at_points[m], changes[b])
            energies[b] += displacements[b, m] * values[b, m]
            add_multiple(potential[b], displacements[b, m], at_points[m])
    return values
