"""The head of a psp8 file, and its lines with a cursor (:mod:`mpiqmd.molecule.psp8` has the format)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.molecule.elements import SYMBOLS
from mpiqmd.molecule.pseudopotential import HIGHEST_ANGULAR_MOMENTUM, LONGEST_MESH

_FUNCTIONALS_BY_LIBXC = {
    frozenset({101, 130}): "PBE",
    frozenset({102, 130}): "revPBE",
    frozenset({117, 130}): "RPBE",
    frozenset({116, 133}): "PBEsol",
    frozenset({106, 131}): "BLYP",
}
_FUNCTIONALS_BY_ABINIT = {11: "PBE", 14: "revPBE", 15: "RPBE"}


def functional_name(pspxc: int) -> str:
    """Return the family of an ABINIT functional number. Not collective.

    1 to 10 are local functionals, 11 is PBE, 14 revPBE, 15 RPBE; a negative number holds one or two libxc
    numbers of three digits each (-1012 is 1 and 12, exchange and PW92 correlation).  Others give ``"ixc
    NUMBER"``.
    """
    if pspxc < 0:
        parts = {part for part in divmod(-pspxc, 1000) if part}
        if parts and max(parts) < 100:
            return "LDA"
        return _FUNCTIONALS_BY_LIBXC.get(frozenset(parts), f"ixc {pspxc}")
    if 1 <= pspxc <= 10:
        return "LDA"
    return _FUNCTIONALS_BY_ABINIT.get(pspxc, f"ixc {pspxc}")


class Lines:
    """The lines of a file with a cursor, so that every complaint can name the line.

    Parameters
    ----------
    path
        The file, for messages.
    lines
        Its text.
    """

    def __init__(self, path: Path, lines: list[str]) -> None:
        self.path = path
        self.lines = lines
        self.position = 0

    def error(self, message: str, line: int | None = None) -> DataFileError:
        """Return the error that names the file and a line, by default the one read last."""
        number = self.position if line is None else line
        return DataFileError(f"{self.path}, line {number}: {message} Get the file again, or use another one.")

    def numbers(self, n_least: int, name: str) -> list[float]:
        """Return the leading numbers of the next line, at least ``n_least``; raises DataFileError."""
        if self.position >= len(self.lines):
            self.position += 1
            raise self.error(f"the file ends where {name} should be; {n_least} number(s) are expected.")
        text = self.lines[self.position]
        self.position += 1
        values: list[float] = []
        for field in text.replace("D", "E").replace("d", "e").split():
            try:
                values.append(float(field))
            except ValueError:
                break
        if len(values) < n_least or not np.isfinite(values).all():
            raise self.error(f"{name} reads {text.strip()[:60]!r}; {n_least} finite number(s) are expected.")
        return values

    def integers(self, n_least: int, name: str) -> list[int]:
        """Return the leading integers of the next line, at least ``n_least``; raises DataFileError."""
        values = self.numbers(n_least, name)
        whole = [int(value) for value in values if value == int(value)]
        if len(whole) != len(values):
            raise self.error(f"{name} reads {values}; whole numbers are expected.")
        return whole

    def block(self, n_rows: int, n_columns: int, name: str, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return radii (n_rows,), bohr, and functions (n_rows, n_columns), in the unit of the file, of rows ``i r f ...``.

        With ``whole`` a row must hold no more functions than that.  Raises DataFileError.
        """
        rows = np.empty((n_rows, 1 + n_columns))
        for row in range(n_rows):
            values = self.numbers(2 + n_columns, f"row {row + 1} of {n_rows} of the {name}")
            if values[0] != row + 1:
                raise self.error(f"the {name} has row number {values[0]:g}; {row + 1} is expected.")
            if whole and len(values) != 2 + n_columns:
                raise self.error(f"the {name} has {len(values) - 2} functions; {n_columns} are expected.")
            rows[row] = values[1 : 2 + n_columns]
        return rows[:, 0], rows[:, 1:]

    def peek(self) -> list[float]:
        """Return the leading numbers of the next line without moving on; none at the end."""
        if self.position >= len(self.lines):
            return []
        position = self.position
        values = self.numbers(0, "")
        self.position = position
        return values


@dataclass(frozen=True)
class Header:
    """What the lines before the tables say.

    Attributes
    ----------
    symbol, valence, functional
        Element, charge of the ion, and family of the functional it was made for.
    highest, local
        Highest angular momentum with projectors, and the one whose place the local potential takes.
    n_mesh
        Rows of every table.
    core_charge
        Above 0 where there is a model core density.
    n_projectors, n_spin_orbit
        For l = 0, 1, ..., and for l = 1, 2, ... where there is spin-orbit coupling.
    extension
        0 to 3: odd with a valence density, 2 and 3 with spin-orbit coupling.
    """

    symbol: str
    valence: float
    functional: str
    highest: int
    local: int
    n_mesh: int
    core_charge: float
    n_projectors: tuple[int, ...]
    extension: int
    n_spin_orbit: tuple[int, ...]


def read_header(lines: Lines) -> Header:
    """Return what the lines before the tables say, all of it allowed; raises DataFileError.  Not collective."""
    lines.position = 1
    atomic_number, valence = _charges(lines)
    functional, highest, local, n_mesh = _sizes(lines)
    core_charge = lines.numbers(2, "rchrg and fchrg")[1]
    if core_charge < 0:
        raise lines.error(f"fchrg is {core_charge:g}; 0 or more is expected.")
    n_projectors = _projector_numbers(lines, highest + 1, "nproj")
    if local <= highest and n_projectors[local]:
        raise lines.error(f"nproj of l = {local} is {n_projectors[local]}, but that l is local, lloc; 0 is expected.")
    extension = lines.integers(1, "extension_switch")[0]
    if extension not in (0, 1, 2, 3):
        raise lines.error(f"extension_switch is {extension}; 0 to 3 is allowed.")
    return Header(
        symbol=SYMBOLS[atomic_number - 1],
        valence=valence,
        functional=functional_name(functional),
        highest=highest,
        local=local,
        n_mesh=n_mesh,
        core_charge=core_charge,
        n_projectors=n_projectors,
        extension=extension,
        # spin-orbit coupling starts at l = 1
        n_spin_orbit=_projector_numbers(lines, highest, "nprojso") if extension in (2, 3) else (),
    )


def _charges(lines: Lines) -> tuple[int, float]:
    """Return atomic number and charge of the ion."""
    atomic_number, valence = lines.numbers(2, "zatom and zion")[:2]
    if atomic_number not in range(1, len(SYMBOLS) + 1):
        raise lines.error(f"zatom is {atomic_number:g}; an atomic number from 1 to {len(SYMBOLS)} is expected.")
    if not 0 < valence <= atomic_number:
        raise lines.error(f"zion is {valence:g}; more than 0 and at most zatom = {atomic_number:g} is allowed.")
    return int(atomic_number), valence


def _sizes(lines: Lines) -> tuple[int, int, int, int]:
    """Return the number of the functional, the highest angular momentum, the local one, and the rows of a table."""
    code, functional, highest, local, n_mesh = lines.integers(5, "pspcod, pspxc, lmax, lloc and mmax")[:5]
    if code != 8:
        raise lines.error(f"pspcod is {code}; only psp8 files, 8, can be read.")
    if not 0 <= highest <= HIGHEST_ANGULAR_MOMENTUM:
        raise lines.error(f"lmax is {highest}; 0 to {HIGHEST_ANGULAR_MOMENTUM} is supported.")
    if not 0 <= local <= 4 or not 4 <= n_mesh <= LONGEST_MESH:
        raise lines.error(f"lloc is {local} and mmax {n_mesh}; 0 to 4 and 4 to {LONGEST_MESH} are allowed.")
    return functional, highest, local, n_mesh


def _projector_numbers(lines: Lines, n_channels: int, name: str) -> tuple[int, ...]:
    """Return the numbers of projectors of so many channels."""
    written = lines.integers(n_channels, name)
    numbers, beyond = written[:n_channels], written[n_channels:]
    if any(beyond):
        raise lines.error(f"{name} reads {written}, more projectors than lmax lets in; zeros are expected after {n_channels}.")
    if any(not 0 <= number <= 10 for number in numbers):
        raise lines.error(f"{name} reads {numbers}; 0 to 10 projectors per channel are allowed.")
    return tuple(numbers)
