"""Compiling a reduced basis: every term of the energy becomes small replicated arrays.  Distributed over the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpiqmd.grid.arrays import Field, Orbitals
from mpiqmd.kohnsham.model import KohnShamModel
from mpiqmd.kohnsham.terms.hartree import Hartree
from mpiqmd.kohnsham.terms.local_potential import LocalPotential
from mpiqmd.kohnsham.terms.nonlocal_potential import NonlocalPotential
from mpiqmd.kohnsham.terms.xc import ExchangeCorrelation
from mpiqmd.parallel.countdown import Countdown
from mpiqmd.parallel.log import Log, silent
from mpiqmd.rom.compiled.data import CompiledArrays, MirrorImage, MovingAtom
from mpiqmd.rom.compiled.elements import ON_PLANE, PairIntegrals, density_of_pairs
from mpiqmd.rom.compiled.interaction import PairInteraction
from mpiqmd.rom.compiled.pairs import PairProducts
from mpiqmd.rom.learned.chebyshev import ChebyshevBox

BLOCK = 8
"""Potentials that are computed together."""


class Compiler:
    """Turns modes into :class:`CompiledArrays`.

    Parameters
    ----------
    model
        The physics.
    modes, dense_modes
        Orthonormal modes, on their own and on the density's grid.
    pairs
        Their pair products.
    reference_p
        Coefficients d of the reference density about which xc is expanded, shape (pairs,).
    boxes
        One per atom; a box without moving directions pins the atom to its corner.
    log
        Reports progress.
    mirrors
        (signs, permutation) of the mirrors that ``pairs.characters_mg`` belongs to.
    """

    def __init__(
        self,
        model: KohnShamModel,
        modes: Orbitals,
        dense_modes: Orbitals,
        pairs: PairProducts,
        reference_p: np.ndarray,
        boxes: list[ChebyshevBox],
        log: Log | None = None,
        mirrors: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        self.model, self.modes, self.pairs, self.boxes = model, modes, pairs, boxes
        self.dense_modes = dense_modes
        self.log = log or silent(model.grid.comm)
        self.reference_p, self.mirrors = reference_p, mirrors
        self.integrals = PairIntegrals(dense_modes, pairs, np.array([signs for signs, _ in mirrors]))
        self.reference = density_of_pairs(dense_modes, pairs, reference_p)

    def compile(self) -> CompiledArrays:
        """Return the arrays without interaction and xc quadrature.  Collective."""
        constant, xc_p = self._expansion()
        kinetic = self._kinetic()
        pinned_p, overlaps, coupling = self._pinned_atoms()
        return CompiledArrays(
            pairs=self.pairs,
            constant=constant,
            linear_p=self.pairs.packed(kinetic) + xc_p + pinned_p,
            interaction=PairInteraction([], []),
            fixed_overlaps_mp=overlaps,
            fixed_coupling_pp=coupling,
            atoms=self._moving_atoms(),
            boxes=self.boxes,
            dipole_vp=self._dipole(),
        )

    def _kinetic(self) -> np.ndarray:
        return self.model.space(self.modes).kinetic_matrix(self.model.laplacian)

    def _expansion(self) -> tuple[float, np.ndarray]:
        """Return the constant and the linear part of E_xc expanded to second order about the reference density."""
        xc = self.model.term(ExchangeCorrelation)
        energy, potential = xc.evaluate(self.reference)
        self.kernel = xc.kernel(self.reference)
        response = self.kernel.apply(self.reference)
        constant = energy - self.reference.inner(potential) + 0.5 * self.reference.inner(response)
        potential.local -= response.local
        return constant, self.integrals.elements([potential], self.integrals.kept_axes)[0]

    def potentials(self, coefficients_sp: np.ndarray) -> np.ndarray:
        """Return the Hartree potential plus xc kernel of densities on the pairs, shape (samples, pairs), Ha.  Collective."""
        grid, rows, count = self.model.density_grid, [], len(coefficients_sp)
        countdown = Countdown(self.log, count, "potential of a density")
        for start in range(0, count, BLOCK):
            densities = [density_of_pairs(self.dense_modes, self.pairs, d) for d in coefficients_sp[start : start + BLOCK]]
            block = Orbitals(grid, np.stack([density.local for density in densities]))
            fields = [Field(grid, potential) for potential in self.model.term(Hartree).direct_potentials(block).local]
            for field, density in zip(fields, densities, strict=True):
                field.local += self.kernel.apply(density).local
            rows.append(self.integrals.elements(fields, self.integrals.kept_axes))
            countdown.advance(count=len(fields))
        return np.concatenate(rows) if rows else np.zeros((0, len(self.pairs)))

    def _pinned_atoms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return local elements, projector overlaps and coupling of the atoms that do not move."""
        symbols = self.model.molecule.symbols
        pinned = [a for a, box in enumerate(self.boxes) if not box.axes]
        if not pinned:
            return np.zeros(len(self.pairs)), np.zeros((len(self.modes), 0)), np.zeros((0, 0))
        positions = np.array([self.boxes[a].lower_v for a in pinned])
        chosen = tuple(symbols[a] for a in pinned)
        potential = self._local(chosen).evaluate(positions)
        projectors = self.model.term(NonlocalPotential).projectors(chosen, positions)
        packed = self.integrals.elements([potential], self._kept_by(*(self.boxes[a] for a in pinned)))[0]
        return packed, projectors.overlaps(self.dense_modes), projectors.coupling_pp

    def _moving_atoms(self) -> list[MovingAtom]:
        """Return the tables of the moving atoms; mirror images share one."""
        images = self._images()
        sizes = {index: self.boxes[index].n_nodes ** len(self.boxes[index].axes) for index in images}
        total = sum(size for index, size in sizes.items() if images[index] is None)
        countdown, atoms = Countdown(self.log, total, "point of the tables"), []
        for index, image in images.items():
            box = self.boxes[index]
            overlaps, coupling = self._overlap_table(index, box)
            nothing = np.zeros((*(box.n_nodes,) * len(box.axes), 0))
            local = self._local_table(index, box, countdown) if image is None else nothing
            atoms.append(MovingAtom(index, box, local, overlaps, coupling, image))
        return atoms

    def _images(self) -> dict[int, MirrorImage | None]:
        """Return, for each atom that moves, the mirror image that it is of an atom with a table of its own, if it is one."""
        images: dict[int, MirrorImage | None] = {}
        for index, box in enumerate(self.boxes):
            if box.axes:
                images[index] = self._image(index, box, {i: self.boxes[i] for i in images if images[i] is None})
        return images

    def _image(self, index: int, box: ChebyshevBox, own: dict[int, ChebyshevBox]) -> MirrorImage | None:
        """Return the atom among ``own`` that a mirror takes to this one, if there is one."""
        first = [part.start for part in self.pairs.classes]
        for g, (signs, permutation) in enumerate(self.mirrors):
            source = int(np.flatnonzero(np.asarray(permutation) == index)[0])
            if source in own and _is_image(box, own[source], np.asarray(signs)):
                characters = self.pairs.characters_mg[:, g]
                signs_c = characters[self.pairs.rows[first]] * characters[self.pairs.columns[first]]
                return MirrorImage(source, np.asarray(signs, float), signs_c.astype(float))
        return None

    def _local_table(self, index: int, box: ChebyshevBox, countdown: Countdown) -> np.ndarray:
        symbol = self.model.molecule.symbols[index]
        local, nodes, elements = self._local((symbol,)), box.nodes(), []
        axes = self._kept_by(box)
        for start in range(0, len(nodes), BLOCK):
            potentials = [local.evaluate(node[None]) for node in nodes[start : start + BLOCK]]
            elements.append(self.integrals.elements(potentials, axes))
            countdown.advance(count=len(potentials))
        return box.coefficients(np.concatenate(elements))

    def _overlap_table(self, index: int, box: ChebyshevBox) -> tuple[np.ndarray, np.ndarray]:
        symbol = (self.model.molecule.symbols[index],)
        overlaps = []
        for node in box.nodes():
            projectors = self.model.term(NonlocalPotential).projectors(symbol, node[None])
            overlaps.append(projectors.overlaps(self.dense_modes))
        return box.coefficients(np.array(overlaps)), projectors.coupling_pp

    def _kept_by(self, *boxes: ChebyshevBox) -> tuple[int, ...]:
        """Return the axes whose mirror leaves the pair products and atoms anywhere in these boxes as they are."""
        still = [v for v in range(3) if all(np.abs([box.lower_v[v], box.upper_v[v]]).max() < ON_PLANE for box in boxes)]
        return tuple(v for v in self.integrals.kept_axes if v in still)

    def _local(self, symbols: tuple[str, ...]) -> LocalPotential:
        return self.model.term(LocalPotential).restricted(symbols)

    def _dipole(self) -> np.ndarray:
        grid = self.model.density_grid
        z, y, x = grid.local_coordinates
        shape = grid.local_shape
        fields = [Field(grid, np.broadcast_to(axis, shape).copy()) for axis in (x, y, z)]
        return self.integrals.elements(fields)


def _is_image(box: ChebyshevBox, source: ChebyshevBox, signs_v: np.ndarray) -> bool:
    """Return whether a mirror takes one box to the other."""
    corners = np.sort([source.lower_v * signs_v, source.upper_v * signs_v], axis=0)
    same = np.abs(corners - [box.lower_v, box.upper_v]).max() < ON_PLANE
    return bool(same) and source.n_nodes == box.n_nodes and source.axes == box.axes
