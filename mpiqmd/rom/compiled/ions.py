"""The ions' repulsion in the body frame, cheap enough for every step.

    E_ii = Σ_a Z_a² e_self + Σ_{a<b} Z_a Z_b [1 / |R_ab| + s(R_ab)]

In free space the self-energy and s vanish.  In a periodic cell s is what Ewald's sum of two unit charges has beyond
1/|R|: a smooth function of their separation, tabulated once on the box of separations.
"""

from __future__ import annotations

import numpy as np

from mpiqmd.kohnsham.terms.ion_ion import ion_ion_energy
from mpiqmd.rom.compiled import kernels
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox

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
        unit = np.ones(2)
        itself = ion_ion_energy(np.zeros((1, 3)), unit[:1], cell_v)[0]
        self.constant = itself * float(np.sum(self.charges**2))

        def smooth(separation: np.ndarray) -> float:
            both = ion_ion_energy(np.array([np.zeros(3), separation]), unit, cell_v)[0]
            return both - 2.0 * itself - 1.0 / float(np.linalg.norm(separation))

        for a in range(len(self.charges)):
            for b in range(a):
                lower, upper = boxes[a].lower_v - boxes[b].upper_v, boxes[a].upper_v - boxes[b].lower_v
                box = ChebyshevBox(lower, upper, NODES)
                values = np.array([[smooth(node)] for node in box.nodes()])
                self.pairs.append((a, b, box, self.charges[a] * self.charges[b] * box.coefficients(values)))

    def evaluate(self, positions_bav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the energies (B,), Ha, of geometries (B, N, 3), bohr, and their gradients (B, N, 3), Ha/bohr."""
        energies_b, gradient_bav = np.empty(len(positions_bav)), np.zeros_like(positions_bav)
        kernels.coulomb_pairs(positions_bav, self.charges, energies_b, gradient_bav)
        energies_b += self.constant
        for a, b, box, coefficients in self.pairs:
            for g, separation in enumerate(positions_bav[:, a] - positions_bav[:, b]):
                value, slope = np.zeros(1), np.zeros((3, 1))
                box.add_to(coefficients, separation, value, slope)
                energies_b[g] += value[0]
                gradient_bav[g, a] += slope[:, 0]
                gradient_bav[g, b] -= slope[:, 0]
        return energies_b, gradient_bav
