"""Tables of the moving ions' pseudopotentials, made on the grid.

The local potential of an ion is tabulated on tensor Chebyshev nodes of its box, by its integrals with the density functions
(``node_sums``).  What a model core does to the xc potential is added (``core_tables``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.core_tables import CoreTable
from mpiqmd.rom.learned.data import MovingIon
from mpiqmd.rom.learned.node_sums import Seen, potential_sums, tensor_rows


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
    model: KohnShamModel, modes: Orbitals, seen: Seen, index: int, box: ChebyshevBox, smeared_nf: np.ndarray | None
) -> Tabulated:
    """Return the tables and the matrices of one moving ion, but for its projectors.  Collective.

    ``smeared_nf`` are its :func:`~mpiqmd.rom.learned.node_sums.smeared_sums`, if there are any.
    """
    symbol = (model.molecule.symbols[index],)
    local = model.term(LocalPotential).restricted(symbol)
    degrees_kv = np.array(list(np.ndindex(box.shape)))
    first = [int(np.flatnonzero((degrees_kv == np.eye(3, dtype=int)[v]).all(axis=1))[0]) for v in box.axes]
    values_nf, fields = potential_sums(local, box, seen, degrees_kv[[0, *first]], smeared_nf)
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
            energies_n, core_nf, potentials = table.tabulate(tensor_rows(core.box, degrees_kv), seen_fx)
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
