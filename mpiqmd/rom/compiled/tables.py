"""What follows the nuclei: the Chebyshev tables of all moving atoms as one product of a matrix with a vector.

A table is a sum of products of Chebyshev polynomials of one atom's position,

    f(x) = Σ_k c_k t_k(x_a),    t_k(x) = T_i(x) T_j(y) T_l(z),    k = (atom a; i, j, l),

so values are ``t(x) C`` and the derivative of ``f·d`` with respect to the positions is ``Σ_k (∂t_k/∂x_a) (C d)_k``: the
tables are read once for the values and once for the gradient.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox
from mpiqmd.rom.compiled.data import MovingAtom

NEGLIGIBLE = 1e-12
"""Products of polynomials whose coefficients are all below this (hartree, or the overlaps' unit) are left out."""


class PositionTables:
    """The tables of all moving atoms.  Replicated, not collective.

    Parameters
    ----------
    atoms
        Tables atom by atom.
    n_pairs
        Number of pair products.

    Attributes
    ----------
    local_kp
        Coefficients of the local pseudopotentials on the pairs, shape (products, pairs), Ha.
    overlaps
        Atom, slice of products, and coefficients of the projector overlaps, shape (products, modes * projectors), for
        every moving atom that has projectors.
    """

    def __init__(self, atoms: list[MovingAtom], n_pairs: int) -> None:
        self.indices = np.array([atom.index for atom in atoms], int)
        self.lower_tv = np.array([atom.box.lower_v for atom in atoms]).reshape(-1, 3)
        self.upper_tv = np.array([atom.box.upper_v for atom in atoms]).reshape(-1, 3)
        degrees, local, starts = [np.zeros((0, 3), int)], [np.zeros((0, n_pairs))], [0]
        self.overlaps: list[tuple[int, slice, np.ndarray]] = []
        for atom in atoms:
            shape = _shape(atom.box)
            rows = atom.local.reshape(-1, n_pairs)
            others = atom.overlaps.reshape(len(rows), -1)
            largest = np.maximum(np.abs(rows).max(axis=1), np.abs(others).max(axis=1, initial=0.0))
            kept = np.flatnonzero(largest > NEGLIGIBLE)
            degrees.append(np.array(np.unravel_index(kept, shape)).T)
            local.append(rows[kept])
            part = slice(starts[-1], starts[-1] + len(kept))
            starts.append(part.stop)
            if len(atom.coupling_pp):
                self.overlaps.append((atom.index, part, np.ascontiguousarray(others[kept])))
        self.starts = np.array(starts)
        self.degrees_kv = np.ascontiguousarray(np.concatenate(degrees))
        self.local_kp = np.ascontiguousarray(np.concatenate(local))

    def weights(self, positions_av: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return t_k (products,), their derivatives (products, 3) in 1/bohr, and how far outside its box an atom is."""
        weights_k, slopes_kv = np.empty(len(self.degrees_kv)), np.empty((len(self.degrees_kv), 3))
        excess = kernels.chebyshev_weights(
            positions_av, self.indices, self.lower_tv, self.upper_tv, self.starts, self.degrees_kv, weights_k, slopes_kv
        )
        return weights_k, slopes_kv, excess

    def add_gradient(self, slopes_kv: np.ndarray, coefficients_p: np.ndarray, gradient_av: np.ndarray) -> None:
        """Add the derivative of the local energy ``V(x)·d`` at pair coefficients d to a gradient (N, 3), Ha/bohr."""
        pull_kv = slopes_kv * (self.local_kp @ coefficients_p)[:, None]
        for table, index in enumerate(self.indices):
            gradient_av[index] += pull_kv[self.starts[table] : self.starts[table + 1]].sum(axis=0)


def _shape(box: ChebyshevBox) -> tuple[int, int, int]:
    return tuple(box.n_nodes if v in box.axes else 1 for v in range(3))
