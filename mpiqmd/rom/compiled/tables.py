"""What follows the nuclei: the Chebyshev tables of all moving atoms as one product with a matrix.

A table is a sum of products of Chebyshev polynomials of one atom's position,

    f(x) = Σ_k c_k t_k(x_a),    t_k(x) = T_i(x) T_j(y) T_l(z),    k = (atom a; i, j, l),

so values are ``t(x) C`` and the derivative of ``f·d`` with respect to the positions is ``Σ_k (∂t_k/∂x_a) (C d)_k``: the
tables are read once for the values and once for the gradient.  Atoms that are mirror images of each other share a table:
inside a class of pairs ``f_b(x) = ± f_a(g x)``, and T_i changes sign with odd i, so their polynomials are added with
signs before the table is read.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chebyshev_products import ChebyshevProducts
from mpiqmd.rom.compiled.data import MovingAtom
from mpiqmd.rom.learned.products import shared_product

NEGLIGIBLE = 1e-9
"""Products of polynomials whose coefficients are all below this (hartree, or the overlaps' unit) are left out."""


class PositionTables:
    """The tables of all moving atoms.  Replicated, not collective.

    Parameters
    ----------
    atoms
        Tables atom by atom, an image after its source.
    classes
        Classes of pair products.

    Attributes
    ----------
    local_ckp
        Coefficients of the local pseudopotentials, for every class a matrix (products of sources, pairs), Ha.
    overlaps
        Atom, slice of products, and coefficients of the projector overlaps, shape (products, modes * projectors), for
        every moving atom that has projectors.
    """

    def __init__(self, atoms: list[MovingAtom], classes: list[slice]) -> None:
        self.classes = classes
        self.overlaps: list[tuple[int, slice, np.ndarray]] = []
        targets, factors = [np.zeros(0, int)], [np.zeros((len(classes), 0))]
        degrees: list[np.ndarray] = []
        local, done, own = [], 0, {}
        for atom in atoms:
            source = atom.index if atom.image is None else atom.image.source
            if atom.image is None:
                rows = atom.local.reshape(-1, atom.local.shape[-1])
                own[source] = rows, sum(map(len, local)), _kept([rows, *_flat([a for a in atoms if _is_of(a, source)])])
                local.append(rows[own[source][2]])
            _, first, kept = own[source]
            degrees.append(np.array(np.unravel_index(kept, atom.box.shape)).T)
            targets.append(first + np.arange(len(kept)))
            factors.append(_factors(atom, degrees[-1], len(classes)))
            part = slice(done, done + len(kept))
            done = part.stop
            if len(atom.coupling_pp):
                self.overlaps.append((atom.index, part, np.ascontiguousarray(_flat([atom])[0][kept])))
        self.products = ChebyshevProducts([atom.index for atom in atoms], [atom.box for atom in atoms], degrees)
        self.targets_k, self.factors_ck = np.concatenate(targets), np.ascontiguousarray(np.hstack(factors))
        whole = np.concatenate(local) if local else np.zeros((0, classes[-1].stop))
        self.local_ckp = [np.ascontiguousarray(whole[:, part]) for part in classes]

    def weights(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return t_k (B, products), their derivatives (B, products, 3) in 1/bohr, and how far outside its box an atom is (B,).

        Geometries have shape (B, N, 3), bohr.
        """
        return self.products.evaluate(positions_bav)

    def local(self, weights_bk: np.ndarray) -> np.ndarray:
        """Return the local pseudopotential of all moving atoms on the pairs, shape (B, pairs), Ha."""
        folded_cbk = kernels.fold(weights_bk, self.targets_k, self.factors_ck, len(self.local_ckp[0]))
        local_bp = np.empty((len(weights_bk), self.classes[-1].stop))
        for folded_bk, table, part in zip(folded_cbk, self.local_ckp, self.classes, strict=True):
            shared_product(folded_bk, table, len(folded_bk), out=local_bp[:, part])
        return local_bp

    def add_gradient(self, slopes_bkv: np.ndarray, coefficients_bp: np.ndarray, gradient_bav: np.ndarray) -> None:
        """Add the derivative of the local energies ``V(x)·d`` at pair coefficients d to gradients (B, N, 3), Ha/bohr."""
        pull_cbk = np.empty((len(self.classes), len(coefficients_bp), len(self.local_ckp[0])))
        for pull_bk, table, part in zip(pull_cbk, self.local_ckp, self.classes, strict=True):
            shared_product(coefficients_bp[:, part], table.T, len(pull_bk), out=pull_bk)
        places = self.targets_k, self.factors_ck, slopes_bkv, self.products.starts, self.products.indices
        kernels.add_pull(pull_cbk, *places, gradient_bav)


def _kept(tables: list[np.ndarray]) -> np.ndarray:
    """Return the rows in which any of the tables is not negligible."""
    largest = [np.abs(table).max(axis=1, initial=0.0) for table in tables]
    return np.flatnonzero(np.max(largest, axis=0) > NEGLIGIBLE)


def _flat(atoms: list[MovingAtom]) -> list[np.ndarray]:
    """Return the overlap tables as matrices (products, modes * projectors)."""
    return [atom.overlaps.reshape(np.prod(atom.box.shape), -1) for atom in atoms]


def _is_of(atom: MovingAtom, source: int) -> bool:
    return atom.index == source if atom.image is None else atom.image.source == source


def _factors(atom: MovingAtom, degrees_kv: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the signs with which an atom's polynomials enter the table of its source, shape (classes, products)."""
    if atom.image is None:
        return np.ones((n_classes, len(degrees_kv)))
    flips_k = np.prod(np.where(atom.image.flips_v < 0, (-1.0) ** degrees_kv, 1.0), axis=1)
    return np.outer(atom.image.signs_c, flips_k)
