"""The ions' pseudopotentials at any geometry: tables over each moving atom's position.

    Σ_a v_a = mean + Σ_l t_l(x) v_l + rest(x),     rest on the density functions:  l_f(x) = Σ_k t_k(x_a) (left right)_kf

Mean and first order (t of degree one in a single coordinate) are exact matrices over the active modes; the products of higher
degree see the density only through the density functions and the mean density.  Projector overlaps are tabulated whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.kohnsham.electrons import BRA_AND_KET, SPIN_WEIGHT
from mpiqmd.rom.compiled.chebyshev import ChebyshevProducts
from mpiqmd.rom.compiled.products import shared_product
from mpiqmd.rom.learned.data import MovingIon


@dataclass(frozen=True)
class PlacedIons:
    """What the tables give at a batch of geometries.

    Attributes
    ----------
    slopes_bkv
        Derivatives of all products with respect to the position of their atom, 1/bohr.
    mean_b
        Energy of the mean density in what is left of the potentials, Ha.
    potential_bf
        l(x) on the density functions, Ha.
    overlaps
        Of each atom with projectors: ``<ψ|β>``, shape (B, active, p).
    couplings
        D of each.
    excess_b
        How far outside its box an atom is, bohr.
    """

    slopes_bkv: np.ndarray
    mean_b: np.ndarray
    potential_bf: np.ndarray
    overlaps: list[np.ndarray]
    couplings: list[np.ndarray]
    excess_b: np.ndarray

    def nonlocal_applied(self, orbitals_bnk: np.ndarray) -> np.ndarray | float:
        """Return ``Ũ β D β^T``, shape (B, occupied, active), Ha."""
        total: np.ndarray | float = 0.0
        for overlaps_bkp, coupling_pp in zip(self.overlaps, self.couplings, strict=True):
            total = total + (orbitals_bnk @ overlaps_bkp @ coupling_pp) @ overlaps_bkp.transpose(0, 2, 1)
        return total

    def chosen(self, members: np.ndarray) -> PlacedIons:
        """Return some of the geometries."""
        overlaps = [overlaps_bkp[members] for overlaps_bkp in self.overlaps]
        return replace(
            self,
            slopes_bkv=self.slopes_bkv[members],
            mean_b=self.mean_b[members],
            potential_bf=self.potential_bf[members],
            overlaps=overlaps,
            excess_b=self.excess_b[members],
        )


class Ions:
    """The tables of all moving atoms.  Replicated, not collective.

    Parameters
    ----------
    ions
        One each.
    mean_kk
        h without the first order, over the active modes, Ha.
    """

    def __init__(self, ions: list[MovingIon], mean_kk: np.ndarray) -> None:
        self.ions, self.mean_kk = ions, mean_kk
        self.products = ChebyshevProducts(
            [ion.index for ion in ions], [ion.box for ion in ions], [ion.degrees_kv for ion in ions]
        )
        counts = [len(ion.first_order_lkk) for ion in ions]
        self._first = [slice(p.start, p.start + n) for p, n in zip(self.products.parts, counts, strict=True)]
        self._rest = [slice(p.start + n, p.stop) for p, n in zip(self.products.parts, counts, strict=True)]
        size = len(mean_kk)
        first = [ion.first_order_lkk.reshape(-1, size * size) for ion in ions]
        self.first_order_lx = np.concatenate([np.zeros((0, size * size)), *first])
        self.n_functions = ions[0].right_jf.shape[1] - 1 if ions else 0

    def place(self, positions_bav: np.ndarray) -> tuple[np.ndarray, PlacedIons]:
        """Return h (B, active, active), Ha, and the rest; geometries are (B, N, 3), bohr."""
        size, (k, _) = len(positions_bav), self.mean_kk.shape
        weights_bk, slopes_bkv, excess_b = self.products.evaluate(np.ascontiguousarray(positions_bav))
        linear_bl = np.concatenate([np.zeros((size, 0)), *(weights_bk[:, part] for part in self._first)], axis=1)
        one_electron_bkk = shared_product(linear_bl, self.first_order_lx, size).reshape(size, k, k)
        one_electron_bkk += self.mean_kk
        potential_bf, overlaps, couplings = np.zeros((size, self.n_functions + 1)), [], []
        for ion, part, rest in zip(self.ions, self.products.parts, self._rest, strict=True):
            inner_bj = shared_product(weights_bk[:, rest], ion.left_kj, size)
            potential_bf += shared_product(inner_bj, ion.right_jf, size)
            if len(ion.coupling_pp):
                all_bk = np.concatenate([np.ones((size, 1)), weights_bk[:, part]], axis=1)
                overlaps.append(shared_product(all_bk, ion.overlaps_kx, size).reshape(size, k, -1))
                couplings.append(ion.coupling_pp)
        mean_b, on_functions_bf = potential_bf[:, -1].copy(), potential_bf[:, :-1].copy()
        return one_electron_bkk, PlacedIons(slopes_bkv, mean_b, on_functions_bf, overlaps, couplings, excess_b)

    def add_gradient(
        self, placed: PlacedIons, orbitals_bnk: np.ndarray, charges_bf: np.ndarray, gradient_bav: np.ndarray
    ) -> None:
        """Add the derivative of the ions' energies at fixed orbitals to gradients (B, N, 3), Ha/bohr."""
        size = len(charges_bf)
        density_bx = SPIN_WEIGHT * (orbitals_bnk.transpose(0, 2, 1) @ orbitals_bnk).reshape(size, -1)
        first_bl = shared_product(density_bx, self.first_order_lx.T, size)
        seen_bf = np.concatenate([charges_bf, np.ones((size, 1))], axis=1)
        done, pulls = 0, iter(self._nonlocal_pulls(placed, orbitals_bnk))
        for ion, part in zip(self.ions, self.products.parts, strict=True):
            count = len(ion.first_order_lkk)
            inner_bj = shared_product(seen_bf, ion.right_jf.T, size)
            pull_bk = np.concatenate([first_bl[:, done : done + count], shared_product(inner_bj, ion.left_kj.T, size)], axis=1)
            done += count
            if len(ion.coupling_pp):
                pull_bk += shared_product(next(pulls), ion.overlaps_kx[1:].T, size)
            gradient_bav[:, ion.index] += (pull_bk[:, None] @ placed.slopes_bkv[:, part])[:, 0]

    def _nonlocal_pulls(self, placed: PlacedIons, orbitals_bnk: np.ndarray) -> list[np.ndarray]:
        """Return dE/d(overlaps) of each atom with projectors, flattened, shape (B, active p)."""
        pulls = []
        for overlaps_bkp, coupling_pp in zip(placed.overlaps, placed.couplings, strict=True):
            along_bnp = orbitals_bnk @ overlaps_bkp @ coupling_pp
            pull_bkp = BRA_AND_KET * SPIN_WEIGHT * (orbitals_bnk.transpose(0, 2, 1) @ along_bnp)
            pulls.append(pull_bkp.reshape(len(pull_bkp), -1))
        return pulls
