"""Tables of the moving ions' pseudopotentials, made on the grid.

The local potential of an ion is tabulated on tensor Chebyshev nodes of its box.  In free space its smeared core is a sum of
Gaussians (:meth:`~mpiqmd.kohnsham.terms.local_potential.LocalPotential.gaussians`), each a product of functions of x, y and z:
its overlap with a function on the grid, at all nodes together, is three short products along the axes.  What is left is
short-ranged, and summed near the box alone.  In a periodic cell every node's potential is summed over the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.parallel.comm import sum_over_ranks
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox
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
    """

    functions: DensityFunctions
    rotation_ff: np.ndarray
    smallest: float

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


def moving_ion(
    model: KohnShamModel, modes: Orbitals, seen: Seen, index: int, box: ChebyshevBox, countdown: Countdown
) -> tuple[MovingIon, np.ndarray]:
    """Return the tables of one moving ion and the matrix of its mean potential, shape (active, active), Ha.  Collective."""
    symbol = (model.molecule.symbols[index],)
    local = model.term(LocalPotential).restricted(symbol)
    table = _FreeTable(local, box) if local.gaussians is not None else _SummedTable(local, box)
    coefficients_kf = box.coefficients(table.on_functions(seen, countdown)).reshape(-1, len(seen.functions) + 1)
    shape = tuple(box.n_nodes if v in box.axes else 1 for v in range(3))
    degrees_kv = np.array(np.unravel_index(np.arange(len(coefficients_kf)), shape)).T
    first = _first_order(degrees_kv)
    fields = table.potentials(degrees_kv[[0, *first]])
    matrices = np.array([modes.matrix_elements(field) for field in fields])
    overlaps_kx, coupling_pp = _overlaps(model, modes, symbol, box)
    rest = np.setdiff1d(np.arange(len(degrees_kv)), [0, *first])
    scale_f = np.append(seen.functions.singular_values_f, 1.0)
    kept, left_kj, right_jf = _low_rank(coefficients_kf[rest], scale_f, seen.smallest)
    right_jf[:, :-1] = right_jf[:, :-1] @ seen.rotation_ff
    used = np.concatenate([first, rest[kept]])
    if not len(coupling_pp):
        overlaps_kx = np.zeros((1 + len(used), 0))
    else:
        used, left_kj = _with_overlaps(used, left_kj, overlaps_kx, len(first), seen.smallest)
        overlaps_kx = overlaps_kx[[0, *used]]
    ion = MovingIon(index, box, degrees_kv[used], matrices[1:], left_kj, right_jf, overlaps_kx, coupling_pp)
    return ion, matrices[0]


def _first_order(degrees_kv: np.ndarray) -> np.ndarray:
    """Return the products of degree one in a single coordinate."""
    return np.flatnonzero(degrees_kv.sum(axis=1) == 1)


def _low_rank(rows_kf: np.ndarray, scale_f: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows matter and ``left @ right`` for them, to ``smallest`` times columns scaled by what they weigh."""
    kept = np.flatnonzero((np.abs(rows_kf) * scale_f).max(axis=1) > smallest)
    left, values, right = np.linalg.svd(rows_kf[kept] * scale_f, full_matrices=False)
    rank = int(np.sum(values > smallest))
    return kept, left[:, :rank] * values[:rank], right[:rank] / scale_f


def _with_overlaps(
    used: np.ndarray, left_kj: np.ndarray, overlaps_kx: np.ndarray, n_first: int, smallest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the products that matter to the potential or to the overlaps, and ``left`` with rows of zeros for the new."""
    wanted = np.flatnonzero(np.abs(overlaps_kx).max(axis=1) > smallest)
    new = np.setdiff1d(wanted, np.append(used, 0))
    return np.concatenate([used, new]), np.concatenate([left_kj, np.zeros((len(new), left_kj.shape[1]))])


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


def _transforms(box: ChebyshevBox) -> list[np.ndarray]:
    """Return, for x, y and z, the matrix from values at nodes to Chebyshev coefficients, shape (degrees, nodes)."""
    n = box.n_nodes
    angles = np.pi * (np.arange(n) + 0.5) / n
    transform = np.cos(np.outer(np.arange(n), angles)) * (2.0 / n)
    transform[0] *= 0.5
    return [transform if v in box.axes else np.ones((1, 1)) for v in range(3)]


def _axis_nodes(box: ChebyshevBox) -> list[np.ndarray]:
    """Return the nodes' coordinates along x, y and z, bohr."""
    unit = np.cos(np.pi * (np.arange(box.n_nodes) + 0.5) / box.n_nodes)
    centre, half = 0.5 * (box.lower_v + box.upper_v), 0.5 * (box.upper_v - box.lower_v)
    return [centre[v] + half[v] * unit if v in box.axes else centre[v : v + 1] for v in range(3)]


class _SummedTable:
    """An ion's potential at the nodes of a box, each summed over the whole grid."""

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        self.local, self.box, self.nodes = local, box, box.nodes()

    def on_functions(self, seen: Seen, countdown: Countdown) -> np.ndarray:
        """Return ``∫ v f dr`` of density functions and mean density at all nodes, shape (nodes, f + 1), Ha.  Collective."""
        rows, mean = [], Orbitals(seen.functions.grid, seen.functions.mean.local[None])
        for start in range(0, len(self.nodes), BLOCK):
            potentials = self._potentials(slice(start, start + BLOCK))
            rows.append(np.concatenate([seen.functions.overlaps(potentials), potentials.gram(mean)], axis=1))
            countdown.advance(count=len(potentials))
        return np.concatenate(rows)

    def potentials(self, degrees_kv: np.ndarray) -> list[Field]:
        """Return the Chebyshev coefficients of some degrees as potentials on the grid, Ha.  Collective."""
        grid, transforms = self.local.grid, _transforms(self.box)
        totals = np.zeros((len(degrees_kv), grid.local_size))
        weights_kn = np.array([_outer(*(transforms[v][degree[v]] for v in range(3))).ravel() for degree in degrees_kv])
        for start in range(0, len(self.nodes), BLOCK):
            part = slice(start, start + BLOCK)
            totals += weights_kn[:, part] @ self._potentials(part).matrix_local
        return [Field(grid, total.reshape(grid.local_shape)) for total in totals]

    def _potentials(self, part: slice) -> Orbitals:
        fields = [self.local.evaluate(node[None]).local for node in self.nodes[part]]
        return Orbitals(self.local.grid, np.stack(fields))


class _FreeTable:
    """The same in free space: Gaussians axis by axis, and a short-ranged rest near the box."""

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        assert local.gaussians is not None
        self.local, self.box, self.grid = local, box, local.grid
        exponents_k, self.weights_k = local.gaussians
        axes = self.grid.local_coordinates  # z, y, x
        # values at (grid point, Gaussian, node) along x, y and z
        self.values = [
            np.exp(-exponents_k[None, :, None] * (axes[2 - v].ravel()[:, None, None] - nodes) ** 2)
            for v, nodes in enumerate(_axis_nodes(box))
        ]

    def on_functions(self, seen: Seen, countdown: Countdown) -> np.ndarray:
        """Return ``∫ v f dr`` of density functions and mean density at all nodes, shape (nodes, f + 1), Ha.  Collective."""
        near, columns = _Near(self.local, self.box), []
        short = np.array(list(near.values()))
        for fields in seen.blocks():
            columns.append(self._smooth(fields.local) + short @ fields.matrix_local[:, near.points].T)
        countdown.advance(count=len(short))
        return self.grid.volume_element * sum_over_ranks(self.grid.comm, np.concatenate(columns, axis=1))

    def _smooth(self, fields_fzyx: np.ndarray) -> np.ndarray:
        """Return this rank's part of the Gaussians' overlaps at all nodes, shape (nodes, f)."""
        (x, y, z), (n_f, n_z, n_y, n_x) = self.values, fields_fzyx.shape
        count = len(self.weights_k)
        along_x = (fields_fzyx.reshape(-1, n_x) @ x.reshape(n_x, -1)).reshape(n_f, n_z, n_y, count, -1)
        result = np.zeros((n_f, x.shape[2], y.shape[2], z.shape[2]))
        for g, weight in enumerate(self.weights_k):
            along_y = np.tensordot(along_x[:, :, :, g], y[:, g], axes=(2, 0))  # f z X Y
            result += weight * np.tensordot(along_y, z[:, g], axes=(1, 0))  # f X Y Z
        return result.reshape(n_f, -1).T

    def potentials(self, degrees_kv: np.ndarray) -> list[Field]:
        """Return the Chebyshev coefficients of some degrees as potentials on the grid, Ha.  Not collective."""
        transforms, fields = _transforms(self.box), []
        for degree in degrees_kv:
            x, y, z = (self.values[v] @ transforms[v][degree[v]] for v in range(3))
            flat = np.einsum("zg,yg,g,xg->zyx", z, y, self.weights_k, x, optimize=True)
            fields.append(Field(self.grid, np.ascontiguousarray(flat)))
        near = _Near(self.local, self.box)
        weights_kn = np.array([_outer(*(transforms[v][degree[v]] for v in range(3))).ravel() for degree in degrees_kv])
        for number, values in enumerate(near.values()):
            for field, weight in zip(fields, weights_kn[:, number], strict=True):
                field.local.reshape(-1)[near.points] += weight * values
        return fields


class _Near:
    """The grid points within reach of the short-ranged part of an ion anywhere in its box."""

    def __init__(self, local: LocalPotential, box: ChebyshevBox) -> None:
        self.function, self.nodes = local.functions[0], box.nodes()
        z, y, x = local.grid.local_coordinates
        nearest_v = [np.clip(axis, box.lower_v[v], box.upper_v[v]) - axis for v, axis in enumerate((x, y, z))]
        squares = nearest_v[2] ** 2 + nearest_v[1] ** 2 + nearest_v[0] ** 2
        radius = -1.0 if self.function is None else self.function.radius
        self.points = np.flatnonzero(np.broadcast_to(squares, local.grid.local_shape).ravel() < radius * abs(radius))
        index = np.unravel_index(self.points, local.grid.local_shape)
        self.positions = np.array([axis.ravel()[i] for axis, i in zip((x, y, z), index[::-1], strict=True)])

    def values(self) -> Iterator[np.ndarray]:
        """Yield the short-ranged part at those points for every node, Ha."""
        for node in self.nodes:
            if self.function is None:
                yield np.zeros(0)
                continue
            yield self.function.reduced(np.sqrt(((self.positions - node[:, None]) ** 2).sum(axis=0)))


def _outer(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return ``x_i y_j z_k``."""
    return x[:, None, None] * y[:, None] * z
