"""What the local potential of an ion, wherever it is in its box, is for functions on the grid.

    ∫ v(r - x) f(r) dr   at all Chebyshev nodes x of the box

In free space the smeared core of the ion is ``-Z erf(r/w)/r``, the potential of a Gaussian charge: its integral is that of the
function's own Coulomb potential with this charge, which is near the box alone and a product of functions of x, y and z.  One
solution of Poisson's equation for each function serves all ions.  Where a wall is so near that it would cut the charge, the
core is a sum of Gaussians (:meth:`~mpiqmd.kohnsham.terms.local_potential.LocalPotential.gaussians`) that reach everywhere.
What is left of the potential is short-ranged, and summed near the box.  In a periodic cell every node's potential is summed
over the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.core_tables import CoreFields
from mpiqmd.rom.learned.densities import DensityFunctions

BLOCK = 32
"""Functions, or nodes, at a time."""
REACH = 5.0
"""Widths of a Gaussian charge beyond which 2e-12 of it is along an axis."""
CHAIN = ["einsum_path", (0, 3), (0, 2), (0, 1)]
"""Along x, z and y one after the other."""


@dataclass(frozen=True)
class Seen:
    """What an ion's potentials act on.

    Attributes
    ----------
    functions
        The density functions and the mean density.
    rotation_ff
        Turns the density functions into those in which they interact diagonally, shape (f, f).
    smallest
        Contribution to an energy (Ha) below which a product of polynomials is left out.
    cores
        The model cores, if there are any.
    """

    functions: DensityFunctions
    rotation_ff: np.ndarray
    smallest: float
    cores: CoreFields

    def blocks(self) -> Iterator[Orbitals]:
        """Yield the density functions and, last, the mean density on the whole grid, a few at a time."""
        for start in range(0, len(self.functions), BLOCK):
            yield self.functions.block(slice(start, start + BLOCK))
        yield Orbitals(self.functions.grid, self.functions.mean.local[None])


def rows_of(box: ChebyshevBox, degrees_kv: np.ndarray) -> list[np.ndarray]:
    """Return, for x, y and z, the rows (k, nodes) that make coefficients of these degrees from values at the nodes."""
    return [box.transform(v)[degrees_kv[:, v]] for v in range(3)]


def tensor_rows(box: ChebyshevBox, degrees_kv: np.ndarray) -> np.ndarray:
    """Return the same for values at all nodes of the box, shape (k, nodes)."""
    return np.einsum("kx,ky,kz->kxyz", *rows_of(box, degrees_kv)).reshape(len(degrees_kv), -1)


def potential_sums(
    local: LocalPotential, box: ChebyshevBox, seen: Seen, degrees_kv: np.ndarray, smeared_nf: np.ndarray | None
) -> tuple[np.ndarray, list[Field]]:
    """Return ``∫ v f dr`` at all nodes of an ion's box and the coefficients of some degrees as potentials, Ha.  Collective.

    With the density functions and, last, the mean density: (nodes, f + 1).  ``smeared_nf`` are the :func:`smeared_sums` of
    this ion, None if there are none.
    """
    if local.gaussians is None:
        return _summed(local, box, seen, degrees_kv)
    grid, gaussians, near = local.grid, _Gaussians(local, box), _Near(local, box)
    columns = []
    for block in seen.blocks():
        columns.append(near.on(block))
        if smeared_nf is None:
            columns[-1] += gaussians.on(block.local)
    values_nf = grid.volume_element * sum_over_ranks(grid.comm, np.concatenate(columns, axis=1))
    if smeared_nf is not None:
        values_nf += smeared_nf
    fields = gaussians.potentials(rows_of(box, degrees_kv))
    for field, values_q in zip(fields, tensor_rows(box, degrees_kv) @ near.values_nq, strict=True):
        field.local.reshape(-1)[near.points] += values_q
    return values_nf, fields


def smeared_sums(model: KohnShamModel, boxes: dict[int, ChebyshevBox], seen: Seen, log: Log) -> dict[int, np.ndarray]:
    """Return ``∫ v f dr`` of the smeared cores of those ions that keep away from walls in free space, (nodes, f + 1), Ha.

    Of ions at these places of the molecule, with the functions and, last, the mean density.  Collective.
    """
    whole, symbols = model.term(LocalPotential), model.molecule.symbols
    locals_a = {a: whole.restricted((symbols[a],)) for a in boxes}
    charges = {
        a: _Charge(local, boxes[a])
        for a, local in locals_a.items()
        if local.gaussians is not None and _keeps_away(local, boxes[a])
    }
    if not charges:
        return {}
    columns: dict[int, list[np.ndarray]] = {a: [] for a in charges}
    countdown = Countdown(log, len(seen.functions) + 1, "Coulomb potential of density functions")
    for fields in seen.blocks():
        potentials_fzyx = whole.poisson.operator.apply(fields.local)
        for a, charge in charges.items():
            columns[a].append(charge.on(potentials_fzyx))
        countdown.advance(count=len(fields))
    joined = {a: np.concatenate(each, axis=1) for a, each in columns.items()}
    return {a: whole.grid.volume_element * sum_over_ranks(whole.grid.comm, own_nf) for a, own_nf in joined.items()}


def _keeps_away(local: LocalPotential, box: ChebyshevBox) -> bool:
    """Return whether no wall cuts the Gaussian charge of an ion."""
    room = REACH * local.cores.width
    return bool(np.all(np.maximum(np.abs(box.lower_v), np.abs(box.upper_v)) + room < 0.5 * local.grid.cell_v))


def _summed(local: LocalPotential, box: ChebyshevBox, seen: Seen, degrees_kv: np.ndarray) -> tuple[np.ndarray, list[Field]]:
    """Return :func:`potential_sums` with every node's potential summed over the grid.  Collective."""
    grid, nodes, weights_kn = local.grid, box.nodes(), tensor_rows(box, degrees_kv)
    mean, rows = Orbitals(grid, seen.functions.mean.local[None]), []
    totals = np.zeros((len(degrees_kv), grid.local_size))
    for start in range(0, len(nodes), BLOCK):
        part = slice(start, start + BLOCK)
        potentials = Orbitals(grid, np.stack([local.evaluate(node[None]).local for node in nodes[part]]))
        rows.append(np.concatenate([seen.functions.overlaps(potentials), potentials.gram(mean)], axis=1))
        totals += weights_kn[:, part] @ potentials.matrix_local
    return np.concatenate(rows), [Field(grid, total.reshape(grid.local_shape)) for total in totals]


class _Charge:
    """The Gaussian charge ``-Z (π w²)^-3/2 exp(-r²/w²)`` of an ion at the nodes of its box, on the grid points near it."""

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        width, axes = local.cores.width, local.grid.local_coordinates  # z, y, x
        self.charge = -float(local.cores.valences_a[0])
        self.part: list[slice] = []
        self.values: list[np.ndarray] = []
        for axis, nodes in zip(axes, box.axis_nodes()[::-1], strict=True):
            points = axis.ravel()
            inside = np.flatnonzero((points > nodes.min() - REACH * width) & (points < nodes.max() + REACH * width))
            self.part.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
            distances = points[self.part[-1], None] - nodes
            self.values.append(np.exp(-((distances / width) ** 2)) / (np.sqrt(np.pi) * width))

    def on(self, potentials_fzyx: np.ndarray) -> np.ndarray:
        """Return this rank's sums with the Coulomb potentials of functions at all nodes, shape (nodes, f)."""
        z, y, x = self.values
        near_fzyx = potentials_fzyx[(slice(None), *self.part)]
        found = np.einsum("fzyx,zZ,yY,xX->fXYZ", near_fzyx, z, y, x, optimize=CHAIN)
        return self.charge * found.reshape(len(potentials_fzyx), -1).T


class _Gaussians:
    """The smeared core of an ion at the nodes of its box as a sum of products of functions of x, y and z."""

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        assert local.gaussians is not None
        self.grid = local.grid
        exponents_k, self.weights_k = local.gaussians
        axes = self.grid.local_coordinates  # z, y, x
        # values at (grid point, Gaussian, node) along x, y and z
        self.values = [
            np.exp(-exponents_k[None, :, None] * (axes[2 - v].ravel()[:, None, None] - nodes) ** 2)
            for v, nodes in enumerate(box.axis_nodes())
        ]

    def on(self, fields_fzyx: np.ndarray) -> np.ndarray:
        """Return this rank's sums with functions at all nodes, shape (nodes, f)."""
        part = _nonzero(fields_fzyx)
        fields_fzyx = np.ascontiguousarray(fields_fzyx[(slice(None), *part)])
        (x, y, z), (n_f, n_z, n_y, n_x) = (v[p] for v, p in zip(self.values, part[::-1], strict=True)), fields_fzyx.shape
        if not fields_fzyx.size:
            return np.zeros((x.shape[2] * y.shape[2] * z.shape[2], n_f))
        count = len(self.weights_k)
        along_x = (fields_fzyx.reshape(-1, n_x) @ x.reshape(n_x, -1)).reshape(n_f, n_z, n_y, count, -1)
        result = np.zeros((n_f, x.shape[2], y.shape[2], z.shape[2]))
        for g, weight in enumerate(self.weights_k):
            along_y = np.tensordot(along_x[:, :, :, g], y[:, g], axes=(2, 0))  # f z X Y
            result += weight * np.tensordot(along_y, z[:, g], axes=(1, 0))  # f X Y Z
        return result.reshape(n_f, -1).T

    def potentials(self, rows: list[np.ndarray]) -> list[Field]:
        """Return combinations of the nodes' potentials, the weights of a node being a product of those along x, y and z."""
        fields = []
        for weights in zip(*rows, strict=True):
            x, y, z = (values @ along for values, along in zip(self.values, weights, strict=True))
            flat = np.einsum("zg,yg,g,xg->zyx", z, y, self.weights_k, x, optimize=True)
            fields.append(Field(self.grid, np.ascontiguousarray(flat)))
        return fields


def _nonzero(fields_fzyx: np.ndarray) -> tuple[slice, ...]:
    """Return the ranges along z, y and x outside of which functions vanish."""
    present_zyx = fields_fzyx.any(axis=0)
    used = [np.flatnonzero(present_zyx.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0) for places in used)


class _Near:
    """The short-ranged part of an ion at the nodes of its box, on the grid points within its reach.

    Attributes
    ----------
    points
        Their indices in this rank's flattened block.
    values_nq
        Ha, at every node.
    """

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        function, nodes = local.functions[0], box.nodes()
        self.points, self.values_nq = np.zeros(0, int), np.zeros((len(nodes), 0))
        if function is None:
            return
        z, y, x = local.grid.local_coordinates
        squares = sum((np.clip(r, box.lower_v[v], box.upper_v[v]) - r) ** 2 for v, r in enumerate((x, y, z)))
        index = np.nonzero(np.broadcast_to(squares, local.grid.local_shape) < function.radius**2)
        self.points = np.ravel_multi_index(index, local.grid.local_shape)
        positions_vq = np.array([axis.ravel()[i] for axis, i in zip((x, y, z), index[::-1], strict=True)])
        distances_nq = (np.sqrt(((positions_vq - node[:, None]) ** 2).sum(axis=0)) for node in nodes)
        self.values_nq = np.array([function.reduced(distances_q) for distances_q in distances_nq])

    def on(self, fields: Orbitals) -> np.ndarray:
        """Return this rank's sums with functions at all nodes, shape (nodes, f)."""
        return self.values_nq @ fields.matrix_local[:, self.points].T
