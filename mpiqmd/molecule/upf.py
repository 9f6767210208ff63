r"""Reader of norm-conserving UPF files, version 2 (the XML dialect of Quantum ESPRESSO and ONCVPSP).

What is read, and its convention in the file (Rydberg units, on one radial mesh of any spacing):

- ``PP_HEADER``: element, kind of potential, functional, charge of the ion;
- ``PP_MESH/PP_R``: the mesh, bohr;
- ``PP_LOCAL``: V_loc(r), Ry, tending to -2 Z / r;
- ``PP_NONLOCAL``: ``PP_BETA.i`` holds r chi_i(r) with its angular momentum, ``PP_DIJ`` the coupling, Ry;
- ``PP_NLCC``: the model core density n(r);  ``PP_RHOATOM``: the valence density as 4 pi r^2 n(r).

P. Giannozzi et al., J. Phys.: Condens. Matter 21, 395502 (2009).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from scipy.integrate import trapezoid

from mpiqmd.datafiles import reading
from mpiqmd.molecule.elements import ATOMIC_NUMBERS
from mpiqmd.molecule.pseudopotential import (
    HIGHEST_ANGULAR_MOMENTUM,
    LONGEST_MESH,
    Channel,
    Pseudopotential,
    read_file,
)
from mpiqmd.molecule.resample import Resampler
from mpiqmd.molecule.upf_document import UpfDocument

_MOST_PROJECTORS = 40
_BEYOND_CUTOFF = 1e-3
"""Share of the squared projectors that may lie beyond where the file says that they end."""
_LOCAL_FUNCTIONALS = frozenset({"LDA", "PZ", "PW", "PWLDA", "PW92", "CA", "VWN", "WIG", "HL", "OBZ", "OBW", "GL"})
_FUNCTIONALS = {
    frozenset({"PBE"}): "PBE",
    frozenset({"SLA", "PW", "PBX", "PBC"}): "PBE",
    frozenset({"SLA", "PW", "PBE"}): "PBE",
    frozenset({"REVPBE"}): "revPBE",
    frozenset({"SLA", "PW", "REVX", "PBC"}): "revPBE",
    frozenset({"RPBE"}): "RPBE",
    frozenset({"SLA", "PW", "HHNX", "PBC"}): "RPBE",
    frozenset({"PBESOL"}): "PBEsol",
    frozenset({"SLA", "PW", "PSX", "PSC"}): "PBEsol",
    frozenset({"BLYP"}): "BLYP",
    frozenset({"SLA", "LYP", "B88", "BLYP"}): "BLYP",
}


def read_upf(path: str | Path) -> Pseudopotential:
    """Read a norm-conserving UPF v2 file. Not collective; every rank that calls it reads the file.

    Parameters
    ----------
    path
        The file; ``source`` of the result is its name, ``sha256`` the hash of its bytes.

    Returns
    -------
    Pseudopotential in Hartree units on a uniform mesh, with the densities the file has.

    Raises
    ------
    DataFileError
        The file cannot be read, is damaged or too large, or holds another kind of potential: UPF version 1,
        ultrasoft, PAW, semilocal, Coulomb, or with spin-orbit coupling; or its header contradicts what it holds.
    """
    path = Path(path)
    content = read_file(path, "UPF")
    with reading(path, "UPF file", "Get the file again, or use another one."):
        return _assemble(UpfDocument(path, content), hashlib.sha256(content).hexdigest())


def _assemble(document: UpfDocument, sha256: str) -> Pseudopotential:
    header = _read_header(document)
    radii_r = _read_mesh(document)
    tables = _read_tables(document, header, radii_r)
    _check_tables(document, header, radii_r, tables)
    tails = [radii_r * tables.local_r + header.valence, *tables.betas_pr]
    sampled = Resampler(radii_r, tails + ([] if tables.core_r is None else [tables.core_r]))
    return Pseudopotential(
        symbol=header.symbol,
        valence=header.valence,
        functional=header.functional,
        source=document.path.name,
        sha256=sha256,
        mesh_r=sampled.mesh_r,
        local_r=sampled.local(tables.local_r, header.valence),
        channels=_channels(tables, sampled),
        core_density_r=None if tables.core_r is None else sampled.even(tables.core_r),
        valence_density_r=None if tables.shells_r is None else sampled.shell_density(tables.shells_r),
    )


def functional_name(text: str) -> str:
    """Return the family of a functional as UPF files name it. Not collective.

    Short names (``PBE``) and the four-part names of Quantum ESPRESSO (``SLA PW PBX PBC``, also joined by ``+``
    or ``-``) are known; every local functional is ``"LDA"``.  Others are returned as written.
    """
    parts = frozenset(re.split(r"[\s+\-]+", text.strip().upper())) - {"NOGX", "NOGC", ""}
    if parts and parts <= _LOCAL_FUNCTIONALS | {"SLA"}:
        return "LDA"
    return _FUNCTIONALS.get(parts, text.strip())


@dataclass(frozen=True)
class _Header:
    symbol: str
    valence: float
    functional: str
    has_core: bool
    n_projectors: int


@dataclass(frozen=True)
class _Tables:
    """The functions of a file on its own mesh, with the conventions of the file but in Hartree units."""

    local_r: np.ndarray
    momenta_p: list[int]
    betas_pr: np.ndarray
    coupling_pp: np.ndarray
    core_r: np.ndarray | None
    shells_r: np.ndarray | None


def _read_header(document: UpfDocument) -> _Header:
    header = document.find("PP_HEADER")
    symbol = document.attribute(header, "element")
    if symbol not in ATOMIC_NUMBERS:
        raise document.error(f"PP_HEADER element is {symbol[:20]!r}; a chemical symbol is expected.")
    n_projectors = document.integer(header, "number_of_proj", 0, _MOST_PROJECTORS)
    _refuse_other_kinds(document, header)
    _require_projectors(document, n_projectors)
    valence = document.number(header, "z_valence")
    if not 0 < valence <= ATOMIC_NUMBERS[symbol]:
        raise document.error(
            f"z_valence is {valence:g}; more than 0 and at most {ATOMIC_NUMBERS[symbol]} is allowed for {symbol}."
        )
    return _Header(
        symbol=symbol,
        valence=valence,
        functional=functional_name(document.attribute(header, "functional")),
        has_core=document.flag(header, "core_correction"),
        n_projectors=n_projectors,
    )


def _refuse_other_kinds(document: UpfDocument, header: ElementTree.Element) -> None:
    """Raise DataFileError unless the potential is norm-conserving and scalar-relativistic."""
    kind = document.attribute(header, "pseudo_type").upper()
    found = [name for name in ("is_ultrasoft", "is_paw", "is_coulomb") if document.flag(header, name)]
    if kind not in ("NC", "SL") or found:
        raise document.error(
            f"pseudo_type is {kind[:20]!r}{' with ' + ', '.join(found) if found else ''}; only norm-conserving "
            "potentials, 'NC', can be used.",
            "Use a norm-conserving file, such as one of SG15 or PseudoDojo, or the GTH tables.",
        )
    if document.flag(header, "has_so"):
        raise document.error(
            "has_so is true: it holds spin-orbit coupling; only scalar-relativistic potentials can be used.",
            "Use the scalar-relativistic file of the same set.",
        )
    _refuse_contradictions(document)


def _require_projectors(document: UpfDocument, n_projectors: int) -> None:
    """Raise DataFileError unless the file holds as many projectors as its header says, and all of the potential in them."""
    found = [element.tag for element in document.root.iter() if re.fullmatch(r"PP_BETA\b.*", element.tag)]
    if len(found) != n_projectors:
        raise document.error(f"number_of_proj is {n_projectors}, but it holds {len(found)} PP_BETA; both must agree.")
    if n_projectors == 0 and document.has("PP_NONLOCAL/PP_DIJ"):
        raise document.error("number_of_proj is 0, but it holds couplings, PP_DIJ; both must agree.")
    semilocal = document.has("PP_SEMILOCAL") or document.find("PP_HEADER").get("pseudo_type", "").strip().upper() == "SL"
    if n_projectors == 0 and semilocal:
        raise document.error(
            "it is semilocal, 'SL' or with PP_SEMILOCAL, and has no projectors; only separable potentials can be used.",
            "Use a separable file, such as one of SG15 or PseudoDojo, or the GTH tables.",
        )


_TRACES = {
    "PP_NONLOCAL/PP_AUGMENTATION": "is_ultrasoft",
    "PP_PAW": "is_paw",
    "PP_SPIN_ORB": "has_so",
}
"""What only files of these kinds hold."""


def _refuse_contradictions(document: UpfDocument) -> None:
    """Raise DataFileError if the file holds what its header denies."""
    for name, flag in _TRACES.items():
        if document.has(name):
            raise document.error(f"it holds {name} although {flag} is false; both must agree.")


def _read_mesh(document: UpfDocument) -> np.ndarray:
    n_mesh = len((document.find("PP_MESH/PP_R").text or "").split())
    if not 20 <= n_mesh <= LONGEST_MESH:
        raise document.error(f"PP_R holds {n_mesh} radii; 20 to {LONGEST_MESH} are allowed.")
    radii_r = document.table("PP_MESH/PP_R", n_mesh)
    if radii_r[0] < 0 or radii_r[0] > 0.1 or not (np.diff(radii_r) > 0).all() or not 2.0 < radii_r[-1] < 1e3:
        raise document.error(
            f"PP_R runs from {radii_r[0]:g} to {radii_r[-1]:g} bohr{'' if (np.diff(radii_r) > 0).all() else ' unevenly'}; "
            "radii that grow from less than 0.1 to between 2 and 1000 are expected."
        )
    for name, attribute in (("PP_HEADER", "mesh_size"), ("PP_MESH", "mesh"), ("PP_MESH/PP_R", "size")):
        element = document.find(name)
        if element.get(attribute) is not None and document.number(element, attribute) != n_mesh:
            found = f"{name} {attribute} is {element.get(attribute)!r}"
            raise document.error(f"{found}, PP_R holds {n_mesh} radii; both must agree.")
    return radii_r


def _read_tables(document: UpfDocument, header: _Header, radii_r: np.ndarray) -> _Tables:
    n_mesh, n = len(radii_r), header.n_projectors
    momenta_p, betas_pr = _read_projectors(document, n, n_mesh)
    coupling_pp = 0.5 * document.table("PP_NONLOCAL/PP_DIJ", n * n).reshape(n, n) if n else np.zeros((0, 0))
    shells_r = document.table("PP_RHOATOM", n_mesh) if document.root.find("PP_RHOATOM") is not None else None
    return _Tables(
        local_r=0.5 * document.table("PP_LOCAL", n_mesh),
        momenta_p=momenta_p,
        betas_pr=betas_pr,
        coupling_pp=coupling_pp,
        core_r=document.table("PP_NLCC", n_mesh) if header.has_core else None,
        shells_r=shells_r if shells_r is not None and shells_r.any() else None,
    )


def _read_projectors(document: UpfDocument, n: int, n_mesh: int) -> tuple[list[int], np.ndarray]:
    """Return angular momenta and r chi(r), shape (n, n_mesh), of the projectors."""
    header, momenta_p, betas_pr, last = document.find("PP_HEADER"), [], np.zeros((n, n_mesh)), 0
    for index in range(n):
        name = f"PP_NONLOCAL/PP_BETA.{index + 1}"
        element = document.find(name)
        momenta_p.append(document.integer(element, "angular_momentum", 0, HIGHEST_ANGULAR_MOMENTUM))
        betas_pr[index] = document.table(name, n_mesh)
        if element.get("cutoff_radius_index") is not None:
            last = max(last, document.integer(element, "cutoff_radius_index", 0, n_mesh))
    highest = document.integer(header, "l_max", -1, 10) if header.get("l_max") is not None else None
    if n and highest is not None and max(momenta_p) > highest:
        raise document.error(f"l_max is {highest}, but there is a projector of l = {max(momenta_p)}; both must agree.")
    share = (betas_pr[:, last:] ** 2).sum() / max((betas_pr**2).sum(), 1e-300) if last else 0.0
    if share > _BEYOND_CUTOFF:
        raise document.error(
            f"projectors go on beyond the largest cutoff_radius_index, {last} of {n_mesh}, with {share:.2g} of their squares; "
            f"at most {_BEYOND_CUTOFF:g} is expected."
        )
    return momenta_p, betas_pr


def _check_tables(document: UpfDocument, header: _Header, radii_r: np.ndarray, tables: _Tables) -> None:
    """Raise DataFileError unless charges and couplings agree with the header."""
    charge = -float(tables.local_r[-1] * radii_r[-1])
    if abs(charge - header.valence) > 1e-3 * header.valence:
        raise document.error(
            f"PP_LOCAL ends at {radii_r[-1]:g} bohr like the potential of a charge {charge:.6g}; z_valence = "
            f"{header.valence:g} is expected."
        )
    coupling_pp, momenta_p = tables.coupling_pp, np.array(tables.momenta_p)
    largest = np.abs(coupling_pp).max(initial=0.0)
    mixed = np.abs(coupling_pp[momenta_p[:, None] != momenta_p[None, :]]).max(initial=0.0)
    if mixed > 1e-10 * largest or np.abs(coupling_pp - coupling_pp.T).max(initial=0.0) > 1e-8 * largest:
        raise document.error("PP_DIJ is not symmetric or couples different angular momenta; neither is allowed.")
    if tables.core_r is None and document.has("PP_NLCC"):
        core_r = document.table("PP_NLCC", len(radii_r))
        if core_r.any():
            raise document.error("core_correction is false, but PP_NLCC holds a core density; both must agree.")
    if tables.core_r is not None and tables.core_r.min() < -1e-6 * np.abs(tables.core_r).max():
        raise document.error(f"PP_NLCC falls to {tables.core_r.min():.3g}; a density is never negative.")
    if tables.shells_r is not None:
        electrons = float(trapezoid(tables.shells_r, radii_r))
        if not 0.5 * header.valence < electrons < 1.01 * header.valence:
            raise document.error(
                f"PP_RHOATOM holds {electrons:.6g} electrons; at most z_valence = {header.valence:g} and at least "
                "half of it are expected."
            )


def _channels(tables: _Tables, sampled: Resampler) -> tuple[Channel, ...]:
    """The projectors ordered by angular momentum, with their coupling."""
    channels = []
    for l in sorted(set(tables.momenta_p)):  # noqa: E741
        own = [index for index, momentum in enumerate(tables.momenta_p) if momentum == l]
        projectors_pr = np.array([sampled.projector(tables.betas_pr[index], l) for index in own])
        coupling_pp = tables.coupling_pp[np.ix_(own, own)]
        channels.append(Channel(l, projectors_pr, 0.5 * (coupling_pp + coupling_pp.T)))
    return tuple(channels)
