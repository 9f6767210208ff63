"""Compiled models as named plain arrays, the form in which a model file keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.rom.compiled.chebyshev import ChebyshevBox
from mpiqmd.rom.compiled.data import CompiledArrays, MirrorImage, MovingAtom, SolverArrays, XcQuadrature
from mpiqmd.rom.compiled.interaction import FittedBlock, PairInteraction
from mpiqmd.rom.compiled.pairs import PairProducts

_QUADRATURE = ("weights_q", "modes_qm", "slopes_qvm", "rho0_q", "slope0_vq")
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
    for a, box in enumerate(compiled.boxes):
        named[f"boxes/{a}"] = np.array([box.lower_v, box.upper_v, np.full(3, float(box.n_nodes))])
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


def from_arrays(arrays: Mapping[str, np.ndarray], prefix: str = "compiled/") -> CompiledArrays:
    """Return what :func:`to_arrays` took apart.  Not collective.

    Raises
    ------
    DataFileError
        If the arrays hold no compiled model.
    """
    named = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    if "linear" not in named or "interaction/0/vectors" not in named:
        raise DataFileError(
            "the model file holds no compiled model of this version, which rom.online = 'compiled' needs. Remove it "
            "and train again (its snapshots are kept), or use rom.online = 'grid'."
        )
    pairs = PairProducts(named["sectors"], named["characters"])
    n_atoms = sum(name.startswith("boxes/") for name in named)
    corners = [named[f"boxes/{a}"] for a in range(n_atoms)]
    boxes = [ChebyshevBox(lower, upper, int(nodes[0])) for lower, upper, nodes in corners]
    atoms = [
        MovingAtom(
            a, boxes[a], *(named[f"atoms/{a}/{name}"] for name in ("local", "overlaps", "coupling")), _image(named, a)
        )
        for a in range(n_atoms)
        if f"atoms/{a}/local" in named
    ]
    blocks = [
        FittedBlock(named[f"interaction/{c}/vectors"], named[f"interaction/{c}/signs"]) for c in range(len(pairs.classes))
    ]
    quadrature = None
    if "quadrature/weights_q" in named:
        quadrature = XcQuadrature(*(named[f"quadrature/{name}"] for name in _QUADRATURE))
    return CompiledArrays(
        pairs=pairs,
        constant=float(named["constant"]),
        interaction=PairInteraction(pairs.classes, blocks),
        atoms=atoms,
        boxes=boxes,
        quadrature=quadrature,
        solver=_solver(named),
        **{attribute: named[name] for name, attribute in _PLAIN.items()},
    )


def _solver(named: Mapping[str, np.ndarray]) -> SolverArrays | None:
    """Return the start of the online solver; None from a file that was written before they had one."""
    if "solver/minimum_mk" not in named:
        return None
    arrays = {field.name: named[f"solver/{field.name}"] for field in fields(SolverArrays)}
    plain = {"degree": int(arrays["degree"]), "remaining": float(arrays["remaining"])}
    return SolverArrays(**arrays | plain)


def _image(named: Mapping[str, np.ndarray], atom: int) -> MirrorImage | None:
    packed = named.get(f"atoms/{atom}/image")
    return None if packed is None else MirrorImage(int(packed[0]), packed[1:4], packed[4:])
