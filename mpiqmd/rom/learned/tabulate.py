"""Tables of the moving ions' pseudopotentials, made on the grid.

The local potential of an ion is tabulated on tensor Chebyshev nodes of its box.  In free space its smeared core is a sum of
Gaussians (:meth:`~mpiqmd.kohnsham.terms.local_potential.LocalPotential.gaussians`), each a product of functions of x, y and z:
its overlap with a function on the grid, at all nodes together, is three short products along the axes.  What is left is
short-ranged, and summed near the box alone.  In a periodic cell every node's potential is summed over the grid.  What a model
core does to the xc potential is added (``core_tables``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.core_tables import CoreFields, CoreTable
from mpiqmd.rom.learned.data import MovingIon
from mpiqmd.rom.learned.densities import DensityFunctions

BLOCK = 8
"""Functions, or nodes, at a time."""


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


def pinned_ions(model: KohnShamModel, modes: Orbitals, boxes: list[ChebyshevBox]) -> np.ndarray:
    """Return the matrix of the pinned ions' potentials over the active modes, shape (active, active), Ha.  Collective."""
    symbols = model.molecule.symbols
    pinned = [a for a, box in enumerate(boxes) if not box.axes]
    if not pinned:
        return np.zeros((len(modes), len(modes)))
    chosen, positions_av = tuple(symbols[a] for a in pinned), np.array([boxes[a].lower_v for a in pinned])
    potential = model.term(LocalPotential).restricted(chosen).evaluate(positions_av)
    projectors = model.term(NonlocalPotential).projectors(chosen, positions_av)
    return modes.matrix_elements(potential) + projectors.matrix(projectors.overlaps(modes))


@dataclass(frozen=True)
class Tabulated:
    """One moving ion: its tables, and what acts with whole matrices.

    Attributes
    ----------
    ion
        The tables of what is left.
    mean_kk, slopes_vkk
        Its local potential in the middle of its box over the active modes, averaged (Ha), and that linear in the displacement
        from there (Ha/bohr).
    """

    ion: MovingIon
    mean_kk: np.ndarray
    slopes_vkk: np.ndarray


def tabulated_ion(
    model: KohnShamModel, modes: Orbitals, seen: Seen, index: int, box: ChebyshevBox, countdown: Countdown
) -> Tabulated:
    """Return the tables and the matrices of one moving ion, but for its projectors.  Collective."""
    symbol = (model.molecule.symbols[index],)
    local = model.term(LocalPotential).restricted(symbol)
    degrees_kv = np.array(list(np.ndindex(box.shape)))
    first = [int(np.flatnonzero((degrees_kv == np.eye(3, dtype=int)[v]).all(axis=1))[0]) for v in box.axes]
    tabulate = _summed if local.gaussians is None else _free
    values_nf, fields = tabulate(local, box, seen, degrees_kv[[0, *first]], countdown)
    energies_n = _add_core(seen, index, degrees_kv[[0, *first]], values_nf, fields)
    rest_kf = box.coefficients(values_nf).reshape(len(degrees_kv), -1)
    rest_kf[[0, *first]] = 0.0  # those are whole matrices
    rest_kf[:, -1] += box.coefficients(energies_n).ravel()
    left_kj, right_jf = _low_rank(rest_kf, np.append(seen.functions.singular_values_f, 1.0), seen.smallest)
    right_jf[:, :-1] = right_jf[:, :-1] @ seen.rotation_ff
    ion = MovingIon(index, box, degrees_kv, left_kj, right_jf, np.zeros((len(degrees_kv), 0)), np.zeros((0, 0)))
    matrices = np.array([modes.matrix_elements(field) for field in fields])
    slopes_vkk = np.zeros((3, *matrices[0].shape))
    slopes_vkk[box.axes] = matrices[1:] / (0.5 * (box.upper_v - box.lower_v)[box.axes])[:, None, None]
    return Tabulated(ion, matrices[0], slopes_vkk)


def with_projectors(model: KohnShamModel, modes: Orbitals, ion: MovingIon, smallest: float) -> MovingIon:
    """Return the tables of an ion with the overlaps of its projectors, but for what is below ``smallest`` (Ha).  Collective."""
    overlaps_kx, coupling_pp = _overlaps(model, modes, (model.molecule.symbols[ion.index],), ion.box)
    # rows of an image of another atom are in the order of the other's products
    left_kj = np.empty_like(ion.left_kj)
    left_kj[np.ravel_multi_index(ion.degrees_kv.T, ion.box.shape)] = ion.left_kj
    used = np.abs(left_kj).max(axis=1, initial=0.0) > 0.0
    used |= np.abs(overlaps_kx).max(axis=1, initial=0.0) > smallest
    used[0] = True
    degrees_kv = ion.box.degrees_kv()[used]
    return replace(ion, degrees_kv=degrees_kv, left_kj=left_kj[used], overlaps_kx=overlaps_kx[used], coupling_pp=coupling_pp)


def _add_core(seen: Seen, index: int, degrees_kv: np.ndarray, values_nf: np.ndarray, fields: list[Field]) -> np.ndarray:
    """Add what the core of an ion does to the xc potential to the table of its potential and to coefficients as potentials.

    Return the energies (nodes,), Ha, that this is not: those of the mean valence density beside its first order.  Collective.
    """
    for core in seen.cores.moving:
        if core.index == index:
            table = CoreTable(seen.cores, core, seen.cores.whole(seen.functions.mean))
            seen_fx = np.concatenate([table.seen(block) for block in seen.blocks()])
            energies_n, core_nf, potentials = table.tabulate(_tensor_rows(core.box, degrees_kv), seen_fx)
            values_nf += core_nf
            for field, potential in zip(fields, potentials, strict=True):
                field.local += potential.local
            return energies_n - core_nf[:, -1]
    return np.zeros(len(values_nf))


def _low_rank(rows_kf: np.ndarray, scale_f: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``left @ right`` for rows to ``smallest`` times columns scaled by what they weigh; rows too small are zero."""
    kept = np.flatnonzero((np.abs(rows_kf) * scale_f).max(axis=1) > smallest)
    left, values, right = np.linalg.svd(rows_kf[kept] * scale_f, full_matrices=False)
    rank = int(np.sum(values > smallest))
    left_kj = np.zeros((len(rows_kf), rank))
    left_kj[kept] = left[:, :rank] * values[:rank]
    return left_kj, right[:rank] / scale_f


def _overlaps(
    model: KohnShamModel, modes: Orbitals, symbol: tuple[str, ...], box: ChebyshevBox
) -> tuple[np.ndarray, np.ndarray]:
    """Return Chebyshev coefficients of the projector overlaps (products, active p), and the coupling.  Collective."""
    nonlocal_term, nodes = model.term(NonlocalPotential), box.nodes()
    projectors = nonlocal_term.projectors(symbol, nodes[:1])
    if not len(projectors.coupling_pp):
        return np.zeros((len(nodes), 0)), projectors.coupling_pp
    overlaps = np.array([nonlocal_term.projectors(symbol, node[None]).overlaps(modes) for node in nodes])
    return box.coefficients(overlaps).reshape(len(nodes), -1), projectors.coupling_pp


def _rows(box: ChebyshevBox, degrees_kv: np.ndarray) -> list[np.ndarray]:
    """Return, for x, y and z, the rows (k, nodes) that make coefficients of these degrees from values at the nodes."""
    return [box.transform(v)[degrees_kv[:, v]] for v in range(3)]


def _tensor_rows(box: ChebyshevBox, degrees_kv: np.ndarray) -> np.ndarray:
    """Return the same for values at all nodes of the box, shape (k, nodes)."""
    return np.einsum("kx,ky,kz->kxyz", *_rows(box, degrees_kv)).reshape(len(degrees_kv), -1)


def _summed(
    local: LocalPotential, box: ChebyshevBox, seen: Seen, degrees_kv: np.ndarray, countdown: Countdown
) -> tuple[np.ndarray, list[Field]]:
    """Return ``∫ v f dr`` at all nodes of an ion's box and the coefficients of some degrees as potentials, Ha.  Collective.

    Every node's potential is summed over the grid with the density functions and, last, the mean density: (nodes, f + 1).
    """
    grid, nodes, weights_kn = local.grid, box.nodes(), _tensor_rows(box, degrees_kv)
    mean, rows = Orbitals(grid, seen.functions.mean.local[None]), []
    totals = np.zeros((len(degrees_kv), grid.local_size))
    for start in range(0, len(nodes), BLOCK):
        part = slice(start, start + BLOCK)
        potentials = Orbitals(grid, np.stack([local.evaluate(node[None]).local for node in nodes[part]]))
        rows.append(np.concatenate([seen.functions.overlaps(potentials), potentials.gram(mean)], axis=1))
        totals += weights_kn[:, part] @ potentials.matrix_local
        countdown.advance(count=len(potentials))
    return np.concatenate(rows), [Field(grid, total.reshape(grid.local_shape)) for total in totals]


def _free(
    local: LocalPotential, box: ChebyshevBox, seen: Seen, degrees_kv: np.ndarray, countdown: Countdown
) -> tuple[np.ndarray, list[Field]]:
    """Return the same in free space: Gaussians axis by axis, and a short-ranged rest near the box.  Collective."""
    grid, gaussians, near = local.grid, _Gaussians(local, box), _Near(local, box)
    columns = [gaussians.on(fields.local) + near.on(fields) for fields in seen.blocks()]
    countdown.advance(count=len(near.values_nq))
    values_nf = grid.volume_element * sum_over_ranks(grid.comm, np.concatenate(columns, axis=1))
    fields = gaussians.potentials(_rows(box, degrees_kv))
    for field, values_q in zip(fields, _tensor_rows(box, degrees_kv) @ near.values_nq, strict=True):
        field.local.reshape(-1)[near.points] += values_q
    return values_nf, fields


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
