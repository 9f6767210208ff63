"""The moving ions' projectors: ``w Σ_n b_n·D b_n`` with ``b_n = Ũ_n β(x_a)``, the overlaps tabulated over the position."""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.electrons import SPIN_WEIGHT
from mpiqmd.rom.learned import kernels
from mpiqmd.rom.learned.data import MovingIon
from mpiqmd.rom.learned.local_ions import WITH_SLOPES
from mpiqmd.rom.learned.packed import Packed, pad


class NonlocalIon:
    """The projectors of one ion.  Replicated, not collective."""

    def __init__(self, ion: MovingIon, active: int) -> None:
        self.index, self.coupling_pp = ion.index, np.ascontiguousarray(ion.coupling_pp)
        p, products = len(ion.coupling_pp), len(ion.overlaps_kx)
        overlaps_kpm = pad(ion.overlaps_kx.reshape(products, active, p).transpose(0, 2, 1))
        self._overlaps = Packed(overlaps_kpm.reshape(products, -1).T)

    def look_up(self, rows_bik: np.ndarray) -> np.ndarray:
        """Return β over the active modes and its slopes (1/bohr), shape (B, 4, p, active), padded, from polynomial rows."""
        found = self._overlaps.times(rows_bik.reshape(-1, rows_bik.shape[2]))
        return found.reshape(len(rows_bik), WITH_SLOPES, len(self.coupling_pp), -1)

    def add(
        self,
        orbitals_bnk: np.ndarray,
        overlaps_bipk: np.ndarray,
        applied_bnk: np.ndarray,
        energies_b: np.ndarray,
        gradient_bav: np.ndarray,
    ) -> None:
        """Add the energy (Ha), its Hamiltonian on the orbitals and its gradient (Ha/bohr) at fixed orbitals."""
        slopes_bv = np.zeros((len(orbitals_bnk), 3))
        kernels.add_nonlocal(orbitals_bnk, overlaps_bipk, self.coupling_pp, SPIN_WEIGHT, applied_bnk, (energies_b, slopes_bv))
        gradient_bav[:, self.index] += slopes_bv
