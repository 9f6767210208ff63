"""Compiled models as named plain arrays, the form in which a model file keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import comb

import numpy as np

from mpiqmd.datafiles import Shapes, Unfit
from mpiqmd.errors import DataFileError
from mpiqmd.rom.compiled.chart import GrassmannChart
from mpiqmd.rom.compiled.data import CompiledArrays, MirrorImage, MovingAtom, SolverArrays, XcQuadrature
from mpiqmd.rom.compiled.interaction import FittedBlock, PairInteraction
from mpiqmd.rom.compiled.pairs import PairProducts
from mpiqmd.rom.learned.assembly import Assembly, box_arrays
from mpiqmd.rom.learned.chebyshev import ChebyshevBox

_QUADRATURE = {"weights_q": "q", "modes_qm": "q m", "slopes_qvm": "q 3 y", "rho0_q": "q", "slope0_vq": "3 q"}
"""Names and axes: q points, m modes, y modes or, for an LDA, none."""
_SOLVER = {
    "occupied_mn": "m o",
    "empty_mn": "m v",
    "inverse_hessian": "h",
    "axes_dx": "d x",
    "offset_d": "d",
    "minimum_mk": "t k",
    "curvature_mk": "u c",
}
"""The same for the online solver: o and v orbitals, d coordinates of positions x, t and u terms, k κ, h and c triangles."""
_PLAIN = {
    "linear": "linear_p",
    "dipole": "dipole_vp",
    "fixed_overlaps": "fixed_overlaps_mp",
    "fixed_coupling": "fixed_coupling_pp",
}


def to_arrays(compiled: CompiledArrays, prefix: str = "compiled/") -> dict[str, np.ndarray]:
    """Return the arrays by path.  Not collective."""
    named = {
        "sectors": compiled.pairs.sectors_m,
        "characters": compiled.pairs.characters_mg,
        "constant": np.array(compiled.constant),
    }
    named |= {name: getattr(compiled, attribute) for name, attribute in _PLAIN.items()}
    for c, block in enumerate(compiled.interaction.blocks):
        named |= {f"interaction/{c}/vectors": block.vectors_qp, f"interaction/{c}/signs": block.signs_q}
    named |= box_arrays(compiled.boxes)
    for atom in compiled.atoms:
        named[f"atoms/{atom.index}/local"] = atom.local
        named[f"atoms/{atom.index}/overlaps"] = atom.overlaps
        named[f"atoms/{atom.index}/coupling"] = atom.coupling_pp
        if atom.image is not None:
            named[f"atoms/{atom.index}/image"] = np.concatenate([[atom.image.source], atom.image.flips_v, atom.image.signs_c])
    if compiled.quadrature is not None:
        named |= {f"quadrature/{name}": getattr(compiled.quadrature, name) for name in _QUADRATURE}
    if compiled.solver is not None:
        named |= {f"solver/{field.name}": np.asarray(getattr(compiled.solver, field.name)) for field in fields(SolverArrays)}
    return {prefix + name: array for name, array in named.items()}


def from_arrays(arrays: Mapping[str, np.ndarray], prefix: str = "compiled/", source: str = "the model file") -> CompiledArrays:
    """Return what :func:`to_arrays` took apart; ``source`` names the file in messages.  Not collective.

    Raises
    ------
    DataFileError
        If the arrays hold no compiled model, or do not fit each other.
    """
    named = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        return _Assembly(named).whole()
    except (KeyError, ValueError) as problem:
        raise DataFileError(
            f"{source} holds no compiled model of this version ({problem}), which rom.online = 'compiled' needs. "
            "Remove it and train again (its snapshots are kept), or use rom.online = 'grid'."
        ) from problem


class _Assembly(Assembly):
    """Puts the parts of a compiled model together.

    Axes: m modes, g mirrors, p pairs, f and b projectors of the fixed atoms and of one that moves.
    """

    def __init__(self, named: Mapping[str, np.ndarray]) -> None:
        super().__init__(named)
        self.pairs = PairProducts(self.take("sectors", "m", True), self.take("characters", "m g", True))
        self.shapes.lengths["p"] = len(self.pairs)

    def whole(self) -> CompiledArrays:
        """Return the compiled model."""
        boxes = self.boxes()
        moving = [a for a in range(len(boxes)) if f"atoms/{a}/local" in self.named]
        return CompiledArrays(
            pairs=self.pairs,
            constant=float(self.take("constant", "")),
            linear_p=self.take("linear", "p"),
            interaction=PairInteraction(self.pairs.classes, [self.block(c) for c in range(len(self.pairs.classes))]),
            fixed_overlaps_mp=self.take("fixed_overlaps", "m f"),
            fixed_coupling_pp=self.take("fixed_coupling", "f f"),
            atoms=[self.atom(a, boxes[a]) for a in moving],
            boxes=boxes,
            dipole_vp=self.take("dipole", "3 p"),
            quadrature=self.quadrature(),
            solver=self.solver() if "solver/minimum_mk" in self.named else None,
        )

    def block(self, c: int) -> FittedBlock:
        """Return the fitted interaction of a class of pairs."""
        part = self.pairs.classes[c]
        shapes = Shapes(pairs=part.stop - part.start)
        vectors_qp, signs_q = (self.named[f"interaction/{c}/{name}"] for name in ("vectors", "signs"))
        vectors_qp = np.ascontiguousarray(shapes.numbers("vectors", vectors_qp, "samples pairs"))
        return FittedBlock(vectors_qp, shapes.numbers("signs", signs_q, "samples"))

    def atom(self, a: int, box: ChebyshevBox) -> MovingAtom:
        """Return the tables of an atom that moves in the body frame."""
        nodes, name = f"{box.n_nodes} " * len(box.axes), f"atoms/{a}"
        self.shapes.lengths.pop("b", None)
        image = self.image(a) if f"{name}/image" in self.named else None
        return MovingAtom(
            a,
            box,
            self.take(f"{name}/local", nodes + ("p" if image is None else "0")),
            self.take(f"{name}/overlaps", nodes + "m b"),
            self.take(f"{name}/coupling", "b b"),
            image,
        )

    def image(self, a: int) -> MirrorImage:
        """Return of which atom, that has a table, this one is the mirror image."""
        self.shapes.lengths["image"] = 4 + len(self.pairs.classes)
        packed = self.take(f"atoms/{a}/image", "image")
        source = int(packed[0])
        if source >= a or f"atoms/{source}/local" not in self.named or f"atoms/{source}/image" in self.named:
            raise Unfit(f"atom {a} is the image of atom {source}, which has no table")
        return MirrorImage(source, packed[1:4], packed[4:])

    def quadrature(self) -> XcQuadrature | None:
        """Return the points of the xc remainder; None without any."""
        if "quadrature/weights_q" not in self.named:
            return None
        arrays = {name: self.take(f"quadrature/{name}", axes) for name, axes in _QUADRATURE.items()}
        if self.shapes.lengths["y"] not in (0, self.shapes.lengths["m"]):
            raise Unfit("the slopes of the modes are of other modes")
        return XcQuadrature(**arrays)

    def solver(self) -> SolverArrays:
        """Return the start of the online solver; files written before it was kept have none."""
        arrays = {name: self.take(f"solver/{name}", axes) for name, axes in _SOLVER.items()}
        sectors_n, degree = self.take("solver/sectors_n", "m", True), int(self.take("solver/degree", "", True))
        lengths = self.shapes.lengths
        if lengths["o"] + lengths["v"] != lengths["m"] or degree < 0:
            raise Unfit("the reference orbitals of the online solver are not as many as the modes")
        n_kappa = len(GrassmannChart.between(arrays["occupied_mn"], arrays["empty_mn"], sectors_n))
        packed, terms = n_kappa * (n_kappa + 1) // 2, comb(lengths["d"] + degree, degree)
        fitted = [terms, n_kappa, packed] if lengths["t"] else [0, n_kappa, n_kappa]
        if [lengths[axis] for axis in "tkc"] != fitted or lengths["h"] != packed or lengths["u"] > lengths["t"]:
            raise Unfit("the polynomials of the online solver do not fit its orbitals")
        single = {name: arrays[name].astype(np.float32) for name in ("inverse_hessian", "curvature_mk")}
        remaining = float(self.take("solver/remaining", ""))
        return SolverArrays(**arrays | single, sectors_n=sectors_n, degree=degree, remaining=remaining)
