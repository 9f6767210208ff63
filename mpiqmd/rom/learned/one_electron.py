"""What acts on the orbitals with whole matrices: everything that is constant or linear in the displacements.

    h(x) = h_0 + Σ_l y_l h_l,     y = axes · x - offset

h_0 holds the kinetic energy, the pinned ions, the mean potential of the moving ones, and the Hartree and xc potential of the
mean density; h_l the first order of the moving ions' local potentials along the directions in which molecules move.  Both are
exact over the active modes: what is left of the ions' potentials, a tenth of it, is all that the learned grid has to see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.chebyshev import MOVES
from mpiqmd.rom.learned.packed import Packed, pad
from mpiqmd.rom.learned.species import Species

ROUND_OFF = 1e-9
"""Elements of matrices that are zero, relative to the largest."""


@dataclass(frozen=True)
class OneElectronArrays:
    """The matrices over the active modes.

    Attributes
    ----------
    constant_kk
        h_0, Ha.
    first_order_lkk
        h_l, Ha.
    axes_lx, offset_l
        Displacements ``y = axes · x - offset`` along which they act, of flattened positions.
    """

    constant_kk: np.ndarray
    first_order_lkk: np.ndarray
    axes_lx: np.ndarray
    offset_l: np.ndarray


def along_motion(
    constant_kk: np.ndarray,
    slopes_xkk: np.ndarray,
    centre_x: np.ndarray,
    positions_sav: np.ndarray,
    n_coordinates: int,
    species: Species,
) -> OneElectronArrays:
    """Return the matrices along the directions in which molecules move; a frame's conditions leave fewer than 3 N.

    Elements that are zero but for round-off, as symmetry has it, are zero.

    Parameters
    ----------
    constant_kk, slopes_xkk
        What is constant (Ha) and what is linear in every coordinate (Ha/bohr) about ``centre_x``.
    centre_x
        Flattened positions, bohr.
    positions_sav
        Training geometries (samples, N, 3), bohr.
    n_coordinates
        How many of these directions there are at least, if training has shown all.
    species
        To one of which each direction belongs.
    """
    mean_x, spread_l, axes_lx, _ = species.motion(positions_sav)
    axes_lx = axes_lx[spread_l > MOVES]
    if len(axes_lx) < n_coordinates:
        # training has not shown all that the frame allows
        axes_lx = np.eye(len(mean_x))[np.abs(slopes_xkk).max(axis=(1, 2)) > 0.0]
    constant_kk = constant_kk + np.tensordot(mean_x - centre_x, slopes_xkk, axes=1)
    first_order_lkk = np.tensordot(axes_lx, slopes_xkk, axes=1)
    return OneElectronArrays(_without_round_off(constant_kk), _without_round_off(first_order_lkk), axes_lx, axes_lx @ mean_x)


def _without_round_off(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) > ROUND_OFF * np.abs(values).max(), values, 0.0)


class OneElectron:
    """The term online.  Replicated, not collective."""

    def __init__(self, arrays: OneElectronArrays) -> None:
        self.axes_lx, self.offset_l = arrays.axes_lx, arrays.offset_l
        k = len(arrays.constant_kk)
        self._constant = Packed(arrays.constant_kk, np.float64)
        self._first_order = Packed(pad(arrays.first_order_lkk.transpose(0, 2, 1)).transpose(0, 2, 1).reshape(-1, k))

    def displacements(self, positions_bav: np.ndarray) -> np.ndarray:
        """Return y, shape (B, l), of geometries (B, N, 3), bohr."""
        return positions_bav.reshape(len(positions_bav), -1) @ self.axes_lx.T - self.offset_l

    def add(
        self, orbitals_bnk: np.ndarray, displacements_bl: np.ndarray, applied_bnk: np.ndarray, energies_b: np.ndarray
    ) -> np.ndarray:
        """Add the energies (B,), Ha, and the Hamiltonian on the orbitals; return the gradients (B, 3 N), Ha/bohr."""
        matrices = self._constant.panels, self._first_order.panels
        slopes_bl = kernels.add_one_electron(orbitals_bnk, matrices, displacements_bl, SPIN_WEIGHT, applied_bnk, energies_b)
        return slopes_bl @ self.axes_lx
