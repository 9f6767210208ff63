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
import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from scipy.integrate import trapezoid

from mpiqmd.datafiles import reading
from mpiqmd.errors import DataFileError
from mpiqmd.molecule.elements import ATOMIC_NUMBERS
from mpiqmd.molecule.pseudopotential import HIGHEST_ANGULAR_MOMENTUM, Channel, Pseudopotential, read_file
from mpiqmd.molecule.resample import Resampler

_LONGEST_MESH = 100_000
_MOST_PROJECTORS = 40
_LOCAL_FUNCTIONALS = frozenset({"LDA", "PZ", "PW", "VWN", "WIG", "HL", "OBZ", "OBW", "GL"})
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
        ultrasoft, PAW, Coulomb, or with spin-orbit coupling.
    """
    path = Path(path)
    content = read_file(path, "UPF")
    with reading(path, "UPF file", "Get the file again, or use another one."):
        return _assemble(_Document(path, content), hashlib.sha256(content).hexdigest())


def _assemble(document: _Document, sha256: str) -> Pseudopotential:
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


class _Document:
    """The XML tree of a file and access to it by name, so that every complaint can say where."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        text = content.decode("utf-8", errors="replace")
        if not re.search(r"<UPF\s+version\s*=", text):
            old = "it looks like UPF version 1" if "<PP_HEADER>" in text else "it has no element <UPF version=...>"
            raise self.error(f"{old}; UPF version 2 is expected. Convert it (Quantum ESPRESSO's upfconv does).", "")
        # without a document type there are no entities to expand
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise self.error("it declares a document type or entities; none are allowed.")
        try:
            self.root = ElementTree.fromstring(_without_info(text))
        except (ElementTree.ParseError, ValueError, LookupError) as problem:
            raise self.error(f"it is not well-formed XML ({problem}); a complete UPF file is expected.") from None
        version = self.root.get("version", "")
        if self.root.tag != "UPF" or not version.strip().startswith("2."):
            raise self.error(f"it is <{self.root.tag[:30]}> version {version[:20]!r}; UPF version 2 is expected.")

    def error(self, message: str, remedy: str = "Get the file again, or use another one.") -> DataFileError:
        return DataFileError(f"pseudopotential file {self.path}: {message} {remedy}".rstrip())

    def find(self, name: str) -> ElementTree.Element:
        element = self.root.find(name)
        if element is None:
            raise self.error(f"there is no {name}; one is expected.")
        return element

    def attribute(self, element: ElementTree.Element, name: str) -> str:
        value = element.get(name)
        if value is None:
            raise self.error(f"{element.tag} has no attribute {name}; one is expected.")
        return value.strip()

    def number(self, element: ElementTree.Element, name: str) -> float:
        """Return an attribute as a finite number."""
        text = self.attribute(element, name)
        try:
            value = _real(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{element.tag} {name} is {text[:30]!r}; a finite number is expected.")
        return value

    def integer(self, element: ElementTree.Element, name: str, lowest: int, highest: int) -> int:
        value = self.number(element, name)
        if value != int(value) or not lowest <= value <= highest:
            raise self.error(
                f"{element.tag} {name} is {value:g}; a whole number from {lowest} to {highest} is expected."
            )
        return int(value)

    def flag(self, element: ElementTree.Element, name: str) -> bool:
        """A logical attribute in any spelling, false if absent."""
        return element.get(name, "F").strip().strip(".").upper()[:1] == "T"

    def table(self, name: str, length: int) -> np.ndarray:
        """The numbers of an element, exactly ``length`` of them."""
        fields = (self.find(name).text or "").split()
        if len(fields) != length:
            raise self.error(f"{name} holds {len(fields)} numbers; {length} are expected.")
        try:
            values = np.array([_real(field) for field in fields], dtype=float)
        except ValueError as problem:
            raise self.error(f"{name}: {str(problem)[:80]}; numbers are expected.") from None
        if not np.isfinite(values).all():
            raise self.error(f"{name} holds NaN or infinity; finite numbers are expected.")
        return values


def _real(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))


def _without_info(text: str) -> str:
    """The file without its comment section, which is often not well-formed XML."""
    start, end = text.find("<PP_INFO"), text.rfind("</PP_INFO>")
    return text[:start] + text[end + len("</PP_INFO>") :] if 0 <= start < end else text


def _read_header(document: _Document) -> _Header:
    header = document.find("PP_HEADER")
    symbol = document.attribute(header, "element")
    if symbol not in ATOMIC_NUMBERS:
        raise document.error(f"PP_HEADER element is {symbol[:20]!r}; a chemical symbol is expected.")
    _refuse_other_kinds(document, header)
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
        n_projectors=document.integer(header, "number_of_proj", 0, _MOST_PROJECTORS),
    )


def _refuse_other_kinds(document: _Document, header: ElementTree.Element) -> None:
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


def _read_mesh(document: _Document) -> np.ndarray:
    n_mesh = len((document.find("PP_MESH/PP_R").text or "").split())
    if not 20 <= n_mesh <= _LONGEST_MESH:
        raise document.error(f"PP_R holds {n_mesh} radii; 20 to {_LONGEST_MESH} are allowed.")
    radii_r = document.table("PP_MESH/PP_R", n_mesh)
    if radii_r[0] < 0 or radii_r[0] > 0.1 or not (np.diff(radii_r) > 0).all() or not 2.0 < radii_r[-1] < 1e3:
        raise document.error(
            f"PP_R runs from {radii_r[0]:g} to {radii_r[-1]:g} bohr{'' if (np.diff(radii_r) > 0).all() else ' unevenly'}; "
            "radii that grow from less than 0.1 to between 2 and 1000 are expected."
        )
    return radii_r


def _read_tables(document: _Document, header: _Header, radii_r: np.ndarray) -> _Tables:
    n_mesh, n = len(radii_r), header.n_projectors
    momenta_p, betas_pr, coupling_pp = [], np.zeros((n, n_mesh)), np.zeros((n, n))
    for index in range(n):
        name = f"PP_NONLOCAL/PP_BETA.{index + 1}"
        element = document.find(name)
        momenta_p.append(document.integer(element, "angular_momentum", 0, HIGHEST_ANGULAR_MOMENTUM))
        betas_pr[index] = document.table(name, n_mesh)
    if n:
        coupling_pp = 0.5 * document.table("PP_NONLOCAL/PP_DIJ", n * n).reshape(n, n)
    shells_r = document.table("PP_RHOATOM", n_mesh) if document.root.find("PP_RHOATOM") is not None else None
    return _Tables(
        local_r=0.5 * document.table("PP_LOCAL", n_mesh),
        momenta_p=momenta_p,
        betas_pr=betas_pr,
        coupling_pp=coupling_pp,
        core_r=document.table("PP_NLCC", n_mesh) if header.has_core else None,
        shells_r=shells_r if shells_r is not None and shells_r.any() else None,
    )


def _check_tables(document: _Document, header: _Header, radii_r: np.ndarray, tables: _Tables) -> None:
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
