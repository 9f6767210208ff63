"""Learned-grid models as named plain arrays, the form in which a model file keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mpiqmd.datafiles import Unfit
from mpiqmd.errors import DataFileError
from mpiqmd.rom.learned.assembly import Assembly, box_arrays
from mpiqmd.rom.learned.chebyshev import ChebyshevBox
from mpiqmd.rom.learned.data import DipoleArrays, LearnedArrays, LearnedPoints, MovingCore, MovingIon, StartArrays, XcPoints
from mpiqmd.rom.learned.first_order import FirstOrderArrays
from mpiqmd.rom.learned.latent import LatentSubspaces
from mpiqmd.rom.learned.one_electron import OneElectronArrays
from mpiqmd.rom.learned.species import MOST

PREFIX = "learned/"
_SUBSPACES = {"active_mk": "m k", "origin_nk": "n k", "directions_dnk": "d n k"}
"""Names and axes: m modes, k active ones, n orbitals, d latent directions."""
_START = {"axes_yx": "y x", "offset_y": "y", "signs_tg": "t g", "coefficients_td": "t d", "inverse_hessian_dd": "d d"}
_PRODUCTS = {"parents_p": "w", "factors_p": "w", "members_tg": "t g"}
"""The same, with y coordinates of flattened positions x, w products of them beside 1, and t terms of g products."""
_POINTS = {"modes_qk": "q k", "mean_q": "q", "reading_fq": "f q", "interaction_f": "f"}
"""The same, with q points and f density functions."""
_SPECIES = {"points": {"labels_k": "k", "labels_f": "f"}, "xc": {"labels_f": "f"}, "first_order": {"labels_l": "r"}}
"""Whole numbers, by group."""
_XC = {"weights_q": "p", "functions_fq": "f p", "slopes_vfq": "3 f s", "mean_q": "p", "mean_slope_vq": "3 s"}
"""The same, with p points of xc and s of them or, for an LDA, none."""
_ONE_ELECTRON = {"constant_kk": "k k", "first_order_lkk": "l k k", "axes_lx": "l x", "offset_l": "l"}
"""The same, with l directions of motion."""
_FIRST_ORDER = {"axes_lx": "r x", "offset_l": "r", "mean_l": "r", "latent_ld": "r d", "at_points_lq": "r q"}
"""The same, with r directions of motion along which it is read off the points instead."""
_DIPOLE = {"mean_v": "3", "functions_vf": "3 f", "slopes_vd": "3 d"}
_GROUPS = {
    "subspaces": _SUBSPACES,
    "start": _START,
    "one_electron": _ONE_ELECTRON,
    "first_order": _FIRST_ORDER,
    "points": _POINTS,
    "xc": _XC,
    "dipole": _DIPOLE,
}


def to_arrays(learned: LearnedArrays, prefix: str = PREFIX) -> dict[str, np.ndarray]:
    """Return the arrays by path, their shapes as in the tables of this module, in atomic units.  Not collective."""
    named = {"constant": np.array(learned.constant)}
    for group, names in _GROUPS.items():
        named |= {f"{group}/{name}": getattr(getattr(learned, group), name) for name in names}
    for group, names in _SPECIES.items():
        named |= {f"{group}/{name}": getattr(getattr(learned, group), name) for name in names}
    named |= {f"start/{name}": getattr(learned.start, name) for name in _PRODUCTS}
    named |= box_arrays(learned.boxes)
    for ion in learned.ions:
        named |= {f"ions/{ion.index}/{name}": getattr(ion, name) for name in _ION}
    for core in learned.cores:
        named[f"cores/{core.index}/inverse_step"] = np.array(core.inverse_step)
        named[f"cores/{core.index}/coefficients_ic"] = core.coefficients_ic
    if learned.cores:
        named[_POSITIONS] = learned.xc.positions_vq
    return {prefix + name: array for name, array in named.items()}


_POSITIONS = "cores/positions_vq"
"""Where the points of xc are: only model cores that move have to know."""
_ION = {
    "degrees_kv": "i 3",
    "left_kj": "i h",
    "right_jf": "h g",
    "overlaps_kx": "i z",
    "coupling_pp": "b b",
}
"""Of one ion: i products, h the rank of its table, g functions and the mean, b projectors, z elements of their overlaps."""


def from_arrays(arrays: Mapping[str, np.ndarray], prefix: str = PREFIX, source: str = "the model file") -> LearnedArrays:
    """Return what :func:`to_arrays` took apart; ``source`` names the file in messages.  Not collective.

    Raises
    ------
    DataFileError
        If the arrays hold no learned-grid model, or do not fit each other.
    """
    named = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        return _Assembly(named).whole()
    except (KeyError, ValueError) as problem:
        raise DataFileError(
            f"{source} holds no learned-grid model of this version ({problem}), which rom.online = 'learned' needs. "
            "Remove it and train again (its snapshots are kept), or use rom.online = 'grid'."
        ) from problem


class _Assembly(Assembly):
    """Puts the parts together."""

    def group(self, group: str, names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Return the arrays of one group by name."""
        return {name: self.take(f"{group}/{name}", axes) for name, axes in names.items()}

    def start(self, group: dict[str, np.ndarray]) -> StartArrays:
        """Return the start, with products that the kernels can make one after the other."""
        products = {name: self.take(f"start/{name}", axes, integer=True) for name, axes in _PRODUCTS.items()}
        start = StartArrays(**group, **products)
        before_p, count = np.arange(len(start.parents_p)), self.shapes.lengths["y"]
        made = (start.parents_p >= 0) & (start.parents_p <= before_p) & (start.factors_p >= 0) & (start.factors_p < count)
        first = (start.parents_p[:count] == 0) & (start.factors_p[:count] == before_p[:count])
        members_tg = start.members_tg
        if not (made.all() and first.all() and len(first) == count) or ((members_tg < 0) | (members_tg > len(before_p))).any():
            raise Unfit("the polynomial of the start has terms that cannot be made")
        return start

    def first_order(self) -> FirstOrderArrays:
        """Return what is read off the points; files from before there was such a thing have matrices only."""
        if "first_order/mean_l" in self.named:
            return FirstOrderArrays(**self.group("first_order", _FIRST_ORDER), **self.labels("first_order"))
        lengths = self.shapes.lengths
        return FirstOrderArrays.none(lengths["x"] // 3, lengths["d"], lengths["q"])

    def whole(self) -> LearnedArrays:
        """Return the model."""
        groups = {name: self.group(name, names) for name, names in _GROUPS.items() if name != "first_order"}
        subspaces, one_electron = LatentSubspaces(**groups["subspaces"]), OneElectronArrays(**groups["one_electron"])
        start = self.start(groups["start"])
        points, dipole = LearnedPoints(**groups["points"], **self.labels("points")), DipoleArrays(**groups["dipole"])
        positions_vq = self.take(_POSITIONS, "3 p") if _POSITIONS in self.named else np.zeros((3, 0))
        xc = XcPoints(**groups["xc"], **self.labels("xc"), positions_vq=positions_vq)
        lengths, boxes = self.shapes.lengths, self.boxes()
        if not lengths["q"] or not lengths["p"] or (xc.weights_q < 0.0).any():
            raise Unfit("there are no points, or weights of xc are negative")
        if xc.labels_f.any() and (positions_vq.size or not np.array_equal(xc.labels_f, points.labels_f)):
            raise Unfit("the points of xc stand for images of other functions than those of the learned grid")
        if lengths["x"] != 3 * len(boxes) or lengths["s"] not in (0, lengths["p"]):
            raise Unfit("the start, or the slopes at the points of xc, are those of another model")
        ions = [self.ion(a, box) for a, box in enumerate(boxes) if box.axes]
        cores = [self.core(a, box) for a, box in enumerate(boxes) if f"cores/{a}/inverse_step" in self.named]
        if cores and not positions_vq.shape[1]:
            raise Unfit("there are moving cores, but no positions of the points of xc")
        constant = float(self.take("constant", ""))
        first_order = self.first_order()
        if (first_order.labels_l >= points.n_species).any():
            raise Unfit("what is read off the points of the learned grid is of a species that they do not have")
        return LearnedArrays(subspaces, start, constant, one_electron, first_order, ions, boxes, points, xc, dipole, cores)

    def labels(self, group: str) -> dict[str, np.ndarray]:
        """Return the symmetry species of one group by name."""
        labels = {name: self.take(f"{group}/{name}", axes, integer=True) for name, axes in _SPECIES[group].items()}
        if any((each < 0).any() or (each >= MOST).any() for each in labels.values()):
            raise Unfit(f"symmetry species are numbers from 0 to {MOST - 1}")
        return labels

    def core(self, a: int, box: ChebyshevBox) -> MovingCore:
        """Return the model core of an atom that moves."""
        self.shapes.lengths.pop("c", None)
        inverse_step, coefficients_ic = self.take(f"cores/{a}/inverse_step", ""), self.take(f"cores/{a}/coefficients_ic", "c 4")
        if not box.axes or not len(coefficients_ic) or inverse_step <= 0.0:
            raise Unfit(f"the model core of atom {a} does not move or has no size")
        return MovingCore(a, box, float(inverse_step), coefficients_ic)

    def ion(self, a: int, box: ChebyshevBox) -> MovingIon:
        """Return the tables of an atom that moves."""
        for axis in "ihgzb":
            self.shapes.lengths.pop(axis, None)
        arrays = {name: self.take(f"ions/{a}/{name}", axes, integer=name == "degrees_kv") for name, axes in _ION.items()}
        lengths, degrees_kv = self.shapes.lengths, arrays["degrees_kv"]
        if lengths["g"] != lengths["f"] + 1:
            raise Unfit(f"the tables of atom {a} are of different sizes")
        if lengths["z"] != lengths["k"] * lengths["b"]:
            raise Unfit(f"the projectors of atom {a} do not fit their coupling")
        if (degrees_kv < 0).any() or (degrees_kv >= np.maximum(2, box.nodes_v)).any():
            raise Unfit(f"the tables of atom {a} have degrees beyond their box")
        return MovingIon(index=a, box=box, **arrays)
