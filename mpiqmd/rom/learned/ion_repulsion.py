"""The ions' repulsion in the body frame, cheap enough for every step.

    E_ii = Σ_a Z_a² e_self + Σ_{a<b} Z_a Z_b [1 / |R_ab| + s(R_ab)]

In free space the self-energy and s vanish.  In a periodic cell s is what Ewald's sum of two unit charges has beyond
1/|R|: a smooth function of their separation, tabulated once on the box of separations.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mpiqmd.kohnsham.terms.ion_ion import ion_ion_energy
from mpiqmd.rom.learned import geometry_kernels
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.local_ions import polynomial_rows

NODES = 10
"""Chebyshev nodes per direction of the smooth part."""


class IonTables:
    """Energy and gradient of the ions' repulsion.  Replicated, not collective.

    Parameters
    ----------
    valences_a
        Charges of the ions.
    cell_v
        Cell edges, bohr; None in free space.
    boxes
        Where each atom may be.
    """

    def __init__(self, valences_a: np.ndarray, cell_v: np.ndarray | None, boxes: list[ChebyshevBox]) -> None:
        self.charges = np.ascontiguousarray(valences_a, float)
        self.constant = 0.0
        self.pairs: list[tuple[int, int, ChebyshevBox, np.ndarray]] = []
        if cell_v is not None:
            self._tabulate(cell_v, boxes)

    def _tabulate(self, cell_v: np.ndarray, boxes: list[ChebyshevBox]) -> None:
        self.constant = _itself(cell_v) * float(np.sum(self.charges**2))
        for a in range(len(self.charges)):
            for b in range(a):
                lower_v, upper_v = boxes[a].lower_v - boxes[b].upper_v, boxes[a].upper_v - boxes[b].lower_v
                table_k = _smooth_part(*(tuple(each.tolist()) for each in (cell_v, lower_v, upper_v)))
                box = ChebyshevBox(lower_v, upper_v, (NODES, NODES, NODES))
                self.pairs.append((a, b, box, self.charges[a] * self.charges[b] * table_k))

    def evaluate(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the energies (B,), Ha, of geometries (B, N, 3), bohr, and their gradients (B, N, 3), Ha/bohr."""
        energies_b, gradient_bav = np.full(len(positions_bav), self.constant), np.zeros_like(positions_bav)
        geometry_kernels.add_coulomb(positions_bav, self.charges, energies_b, gradient_bav)
        for a, b, box, coefficients_k in self.pairs:
            rows_bik = polynomial_rows(positions_bav[:, a] - positions_bav[:, b], box, box.degrees_kv())
            smooth_bi = rows_bik[:, :, : len(coefficients_k)] @ coefficients_k
            energies_b += smooth_bi[:, 0]
            gradient_bav[:, a] += smooth_bi[:, 1:]
            gradient_bav[:, b] -= smooth_bi[:, 1:]
        return energies_b, gradient_bav


def _itself(cell_v: np.ndarray) -> float:
    """Return the energy of one unit charge in a periodic cell, Ha."""
    return ion_ion_energy(np.zeros((1, 3)), np.ones(1), cell_v)[0]


@lru_cache(maxsize=64)
def _smooth_part(cell: tuple[float, ...], lower: tuple[float, ...], upper: tuple[float, ...]) -> np.ndarray:
    """Return the Chebyshev coefficients (k,) of s on a box of separations, bohr, Ha; a thousand of Ewald's sums."""
    cell_v, box = np.array(cell), ChebyshevBox(np.array(lower), np.array(upper), (NODES, NODES, NODES))
    itself, unit = _itself(cell_v), np.ones(2)

    def smooth(separation_v: np.ndarray) -> float:
        both = ion_ion_energy(np.array([np.zeros(3), separation_v]), unit, cell_v)[0]
        return both - 2.0 * itself - 1.0 / float(np.linalg.norm(separation_v))

    return box.coefficients(np.array([smooth(node) for node in box.nodes()])).ravel()
