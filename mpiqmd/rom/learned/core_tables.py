"""Model cores on the grid: where they are in the mean, and what each does to exchange and correlation when it moves alone.

    ε_a(x) = E_xc[ρ̄ + γ_a(x)] - E_xc[ρ̄],     v_a(x) = v_xc[ρ̄ + γ_a(x)] - v_xc[ρ̄]

v_a is one more local potential of ion a, tabulated with it on the nodes of its box; it needs values near the box alone.  With
the grid's gradient and its adjoint, ``∫ v f dr = ∫ (∂e/∂ρ f + 2 ∂e/∂σ ∇ρ·∇f) dr`` exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.grid.support import boxes as boxes_within
from mpiqmd.kohnsham.atom_functions import add_placed
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.core_density import derivatives
from mpiqmd.rom.learned.data import MovingCore

BLOCK = 32
"""Nodes at a time."""
PIECE = 1 << 14
"""Numbers of each function at a time."""


@dataclass(frozen=True)
class CoreFields:
    """The model cores of a molecule on the grid of the density, if it has any.

    Attributes
    ----------
    model
        The physics.
    boxes
        Where each atom may be.
    """

    model: KohnShamModel
    boxes: list[ChebyshevBox]

    @property
    def xc(self) -> ExchangeCorrelation:
        """Exchange and correlation."""
        return self.model.term(ExchangeCorrelation)

    @property
    def moving(self) -> list[MovingCore]:
        """Those of atoms that move, as models have them."""
        if self.xc.core is None:
            return []
        pairs = enumerate(zip(self.xc.core.functions, self.boxes, strict=True))
        return [
            MovingCore(a, box, function.inverse_step, function.coefficients_ic)
            for a, (function, box) in pairs
            if function is not None and box.axes
        ]

    def whole(self, valence: Field) -> Field:
        """Return a valence density with all cores in the middle of their boxes.  Not collective."""
        if self.xc.core is None:
            return valence
        middle_av = np.array([box.middle_v for box in self.boxes])
        return Field(valence.grid, valence.local + self.xc.core.evaluate(middle_av).local)

    def values(self, field: Field, points_local: np.ndarray) -> np.ndarray:
        """Return a field and, for a GGA, its gradient at some of this rank's points, shape (u, points), its unit (per bohr).

        Collective.
        """
        flat = field.local.reshape(1, -1)[:, points_local]
        if self.xc.gradient is None:
            return flat
        return np.concatenate([flat, self.xc.gradient.apply(field).reshape(3, -1)[:, points_local]])

    def core(self, index: int, position_v: np.ndarray, points_local: np.ndarray) -> np.ndarray:
        """Return the core of one atom at a position (3,), bohr, in the same way, bohr⁻³ and bohr⁻⁴.  Collective."""
        assert self.xc.core is not None
        field = Field(self.xc.grid)
        add_placed([self.xc.core.functions[index]], self.xc.grid, position_v[None], field.local)
        return self.values(field, points_local)

    def near(self, core: MovingCore) -> np.ndarray:
        """Return indices (points,) of this rank's points at which a core, or its gradient, is not zero.  Not collective."""
        grid, box = self.xc.grid, core.box
        halo = 0.0 if self.xc.gradient is None else 0.5 * grid.order * float(grid.spacing_v.max())
        reach = core.radius + halo + 0.5 * float(np.linalg.norm(box.upper_v - box.lower_v))
        found = np.zeros(grid.local_shape, bool)
        for part in boxes_within(grid, box.middle_v, reach):
            found[part.slices] |= part.distances < reach
        return np.flatnonzero(found)


class CoreTable:
    """ε and v of one moving core at nodes of its box.  Construction is collective.

    Parameters
    ----------
    fields, core
        All cores on the grid, and this one.
    whole
        ρ̄ with all cores in the middle, bohr⁻³.
    """

    def __init__(self, fields: CoreFields, core: MovingCore, whole: Field) -> None:
        self.fields, self.core, self.grid = fields, core, whole.grid
        self.points_local = fields.near(core)
        self._mean_uq = fields.values(whole, self.points_local)
        self._middle_uq = fields.core(core.index, core.box.middle_v, self.points_local)
        self._energy_q, self._potential_uq = derivatives(fields.model.functional, self._mean_uq)

    def seen(self, functions: Orbitals) -> np.ndarray:
        """Return functions and, for a GGA, their gradients near the box, shape (f, u points), their unit (per bohr).

        In single precision, like the functions.  Collective.
        """
        parts = (Field(functions.grid, local) for local in functions.local)
        return np.array([self.fields.values(part, self.points_local).ravel().astype(np.float32) for part in parts])

    def tabulate(self, weights_kn: np.ndarray, seen_fx: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Field]]:
        """Return ε (nodes,), Ha, ``∫ v f dr`` (nodes, f) and the potentials ``Σ_n w_kn v_n``, Ha.  Collective."""
        nodes = self.core.box.nodes()
        energies, rows, totals_kx = [], [], np.zeros((len(weights_kn), seen_fx.shape[1]))
        for start in range(0, len(nodes), BLOCK):
            pulls = []
            for node_v in nodes[start : start + BLOCK]:
                change_uq = self.fields.core(self.core.index, node_v, self.points_local) - self._middle_uq
                energy_q, potential_uq = derivatives(self.fields.model.functional, self._mean_uq + change_uq)
                energies.append(float((energy_q - self._energy_q).sum()))
                pulls.append((potential_uq - self._potential_uq).ravel())
            pulls_nx = np.array(pulls)
            rows.append(_product(pulls_nx, seen_fx))
            totals_kx += weights_kn[:, start : start + len(pulls)] @ pulls_nx
        comm, volume = self.grid.comm, self.grid.volume_element
        energies_n, values_nf = sum_over_ranks(comm, np.array(energies)), sum_over_ranks(comm, np.concatenate(rows))
        return volume * energies_n, volume * values_nf, [self._potential(total_x) for total_x in totals_kx]

    def _potential(self, pull_x: np.ndarray) -> Field:
        """Return ``∂e/∂ρ - ∇·∂e/∂∇ρ`` on the whole grid."""
        whole = np.zeros((len(self._mean_uq), self.grid.local_size))
        whole[:, self.points_local] = pull_x.reshape(len(whole), -1)
        density, *slope = whole.reshape(-1, *self.grid.local_shape)
        if self.fields.xc.gradient is not None:
            density = density - self.fields.xc.gradient.divergence(np.array(slope))
        return Field(self.grid, np.ascontiguousarray(density))


def _product(left_nx: np.ndarray, right_fx: np.ndarray) -> np.ndarray:
    """Return ``left right^T`` in double precision of functions in single."""
    result = np.zeros((len(left_nx), len(right_fx)))
    for start in range(0, left_nx.shape[1], PIECE):
        part = slice(start, start + PIECE)
        result += left_nx[:, part] @ right_fx[:, part].T.astype(float)
    return result
