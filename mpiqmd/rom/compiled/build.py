"""Compiling a reduced basis: every term of the energy becomes small replicated arrays.  Distributed over the grid."""

from __future__ import annotations

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.local import LocalPotential
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.projectors import Projectors
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox
from mpiqmd.rom.compiled.data import CompiledArrays, MovingAtom
from mpiqmd.rom.compiled.elements import density_of_pairs, packed_elements
from mpiqmd.rom.compiled.pairs import PairProducts

PAIR_BLOCK = 8
"""Pair products whose potentials are computed together."""


class Compiler:
    """Turns modes into :class:`CompiledArrays`.

    Parameters
    ----------
    model
        The physics.
    modes
        Orthonormal modes.
    pairs
        Their pair products.
    reference_p
        Coefficients d of the reference density about which xc is expanded, shape (pairs,).
    boxes
        One per atom; a box without moving directions pins the atom to its corner.
    log
        Reports progress.
    """

    def __init__(
        self,
        model: KohnShamModel,
        modes: Orbitals,
        pairs: PairProducts,
        reference_p: np.ndarray,
        boxes: list[ChebyshevBox],
        log: Log | None = None,
    ) -> None:
        self.model, self.modes, self.pairs, self.boxes = model, modes, pairs, boxes
        self.log = log or silent(model.grid.comm)
        self.reference_p = reference_p
        self.reference = density_of_pairs(modes, pairs, reference_p)

    def compile(self) -> CompiledArrays:
        """Return the arrays without xc quadrature.  Collective."""
        constant, xc_p = self._expansion()
        kinetic = self._kinetic()
        pinned_p, overlaps, coupling = self._pinned_atoms()
        atoms = [self._moving_atom(a, box) for a, box in enumerate(self.boxes) if box.axes]
        return CompiledArrays(
            pairs=self.pairs,
            constant=constant,
            linear_p=self.pairs.packed(kinetic) + xc_p + pinned_p,
            interaction=self._interaction(),
            fixed_overlaps_mp=overlaps,
            fixed_coupling_pp=coupling,
            atoms=atoms,
            boxes=self.boxes,
            dipole_vp=self._dipole(),
        )

    def _kinetic(self) -> np.ndarray:
        applied = Orbitals(self.model.grid, self.model.laplacian.apply(self.modes, scale=-0.5))
        matrix = self.modes.gram(applied)
        return 0.5 * (matrix + matrix.T)

    def _expansion(self) -> tuple[float, np.ndarray]:
        """Return the constant and the linear part of E_xc expanded to second order about the reference density."""
        energy, potential = self.model.xc.evaluate(self.reference)
        self.kernel = self.model.xc.kernel(self.reference)
        response = self.kernel.apply(self.reference)
        constant = energy - self.reference.inner(potential) + 0.5 * self.reference.inner(response)
        potential.local -= response.local
        return constant, packed_elements(self.modes, self.pairs, [potential])[0]

    def _interaction(self) -> list[np.ndarray]:
        """Return Hartree plus xc kernel between pair products, class by class."""
        flat, grid = self.modes.local, self.model.grid
        matrices = []
        for part in self.pairs.classes:
            rows = []
            for start in range(part.start, part.stop, PAIR_BLOCK):
                stop = min(start + PAIR_BLOCK, part.stop)
                products = flat[self.pairs.rows[start:stop]] * flat[self.pairs.columns[start:stop]]
                potentials = self.model.poisson.operator.apply(products)
                for potential, product in zip(potentials, products, strict=True):
                    potential += self.kernel.apply(Field(grid, product)).local
                fields = [Field(grid, potential) for potential in potentials]
                rows.append(packed_elements(self.modes, self.pairs, fields)[:, part])
                self.log.progress(f"pair products {stop}/{len(self.pairs)}", last=stop == len(self.pairs))
            matrix = np.concatenate(rows)
            matrices.append(0.5 * (matrix + matrix.T))
        return matrices

    def _pinned_atoms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return local elements, projector overlaps and coupling of the atoms that do not move."""
        symbols = self.model.molecule.symbols
        pinned = [a for a, box in enumerate(self.boxes) if not box.axes]
        if not pinned:
            return np.zeros(len(self.pairs)), np.zeros((len(self.modes), 0)), np.zeros((0, 0))
        positions = np.array([self.boxes[a].lower_v for a in pinned])
        chosen = tuple(symbols[a] for a in pinned)
        potential = self._local(chosen).evaluate(positions)
        projectors = Projectors(self.model.grid, self.model.species, chosen, positions)
        packed = packed_elements(self.modes, self.pairs, [potential])[0]
        return packed, projectors.overlaps(self.modes), projectors.coupling_pp

    def _moving_atom(self, index: int, box: ChebyshevBox) -> MovingAtom:
        symbol = (self.model.molecule.symbols[index],)
        local = self._local(symbol)
        nodes = box.nodes()
        elements, overlaps = [], []
        for k, node in enumerate(nodes):
            elements.append(packed_elements(self.modes, self.pairs, [local.evaluate(node[None])])[0])
            projectors = Projectors(self.model.grid, self.model.species, symbol, node[None])
            overlaps.append(projectors.overlaps(self.modes))
            self.log.progress(f"table of atom {index} ({symbol[0]}): {k + 1}/{len(nodes)}", last=k + 1 == len(nodes))
        coefficients = box.coefficients(np.array(elements)), box.coefficients(np.array(overlaps))
        return MovingAtom(index, box, *coefficients, projectors.coupling_pp)

    def _local(self, symbols: tuple[str, ...]) -> LocalPotential:
        return self.model.local.restricted(symbols)

    def _dipole(self) -> np.ndarray:
        z, y, x = self.model.grid.local_coordinates
        shape = self.model.grid.local_shape
        fields = [Field(self.model.grid, np.broadcast_to(axis, shape).copy()) for axis in (x, y, z)]
        elements = packed_elements(self.modes, self.pairs, fields)
        return elements
