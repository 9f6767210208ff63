"""What a file says about atoms, in one type, and whether it is what the input says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.molecule.elements import standard_masses
from mpiqmd.molecule.images import is_same_cell
from mpiqmd.molecule.labels import labels
from mpiqmd.units import BOHR_IN_ANGSTROM, DALTON_IN_ELECTRON_MASS

SAME_MASS = 3e-4
"""Relative difference below which two masses are the same: tables of standard weights differ by as much."""


@dataclass(frozen=True, eq=False)
class Structure:
    """One geometry and all that a file can say beside it.  Not collective; in Hartree atomic units.

    Parameters
    ----------
    symbols
        Element symbols of the N atoms; isotopes are masses.
    positions_av
        Shape (N, 3), bohr.
    masses_a
        Shape (N,), electron masses, or None if the file says none.
    cell_vv
        Cell vectors as rows, bohr, or None.
    periodic
        Along which of them the cell repeats.
    charge
        Net charge, or None if the file says none.
    pinned
        Atoms that do not move.
    """

    symbols: tuple[str, ...]
    positions_av: np.ndarray
    masses_a: np.ndarray | None = None
    cell_vv: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = (False, False, False)
    charge: int | None = None
    pinned: tuple[int, ...] = ()

    @property
    def has_standard_masses(self) -> bool:
        """Whether no mass differs from its element's standard atomic weight."""
        return self.masses_a is None or same_masses(self.masses_a, standard_masses(self.symbols))

    def at(self, positions_av: np.ndarray) -> Structure:
        """Return the same with the atoms elsewhere."""
        return replace(self, positions_av=positions_av)


def same_masses(one_a: np.ndarray, two_a: np.ndarray) -> bool:
    """Return whether two lists of masses are the same but for the revision of the table they come from."""
    return len(one_a) == len(two_a) and bool((np.abs(one_a - two_a) <= SAME_MASS * np.abs(two_a)).all())


def not_finite(positions_sav: np.ndarray, symbols: Sequence[str]) -> dict[int, str]:
    """Return, by number from 0, what is wrong with frames (S, N, 3), bohr, of which an atom is nowhere.  Not collective."""
    found = {}
    for frame in np.flatnonzero(~np.isfinite(positions_sav).all(axis=(1, 2))).tolist():
        atom = int(np.argmin(np.isfinite(positions_sav[frame]).all(axis=1)))
        at = ", ".join(f"{x:.4g}" for x in positions_sav[frame, atom] * BOHR_IN_ANGSTROM)
        found[frame] = f"atom {labels(symbols)[atom]} is at ({at}) angstrom, finite numbers are expected"
    return found


def require_fitting(structures: Sequence[Structure], expected: Structure, source: Path) -> None:
    """Raise DataFileError unless all that a file says is what the input says, and name both.  Not collective."""
    for index, structure in enumerate(structures):
        for differs in (_symbols_differ, _cell_differs, _masses_differ, _charge_differs, _pinned_differ):
            words = differs(structure, expected)
            if words:
                where = f"{source}, frame {index}" if len(structures) > 1 else str(source)
                raise DataFileError(f"{where}: {words}")


def _symbols_differ(structure: Structure, expected: Structure) -> str | None:
    if structure.symbols == expected.symbols:
        return None
    return (
        f"atoms {list(structure.symbols)} differ from the input's {list(expected.symbols)}. The same atoms in the same "
        "order are needed; reorder the file or the input."
    )


def _cell_differs(structure: Structure, expected: Structure) -> str | None:
    found = f"the cell is {_shown(structure.cell_vv)} with pbc {_letters(structure.periodic)}"
    if expected.cell_vv is None:
        if not any(structure.periodic):
            return None
        return (
            f'{found}, the input has grid.boundary = "isolated". Write pbc="F F F" in an extended XYZ file for a free '
            'molecule, or grid.boundary = "periodic" and that cell in the input.'
        )
    whole = all(structure.periodic) or not any(structure.periodic)
    if structure.cell_vv is None and whole:
        return None
    same = structure.cell_vv is not None and is_same_cell(structure.cell_vv, np.diag(expected.cell_vv))
    if same and whole:
        return None
    return (
        f"{found}, the input's is {_shown(expected.cell_vv)} with pbc T T T. Use the input's cell in the file, or the file's "
        "as grid.cell (rectangular cells are what there is)."
    )


def _masses_differ(structure: Structure, expected: Structure) -> str | None:
    if structure.masses_a is None or same_masses(structure.masses_a, expected.masses_a):
        return None
    return (
        f"masses are {_daltons(structure.masses_a)} Da, the input's {_daltons(expected.masses_a)} Da. They must agree: write "
        "them as system.masses, or leave them out of the file."
    )


def _charge_differs(structure: Structure, expected: Structure) -> str | None:
    if structure.charge is None or structure.charge == expected.charge:
        return None
    return (
        f"the charge is {structure.charge:+d}, the input's {expected.charge:+d}. They must agree: write system.charge = "
        f"{structure.charge}, or correct the file."
    )


def _pinned_differ(structure: Structure, expected: Structure) -> str | None:
    if not structure.pinned or set(structure.pinned) == set(expected.pinned):
        return None
    return (
        f"atoms {list(structure.pinned)} are held fixed, the input's md.pinned is {list(expected.pinned)}. They must agree: "
        "write md.pinned, or take the constraint out of the file."
    )


def _shown(cell_vv: np.ndarray | None) -> str:
    """Return cell vectors as edges in bohr and angstrom where they are rectangular, else as they are."""
    if cell_vv is None:
        return "not there"
    if not np.abs(cell_vv - np.diag(np.diag(cell_vv))).any():
        edges = np.diag(cell_vv)
        return f"{_list(edges)} bohr ({_list(edges * BOHR_IN_ANGSTROM)} angstrom)"
    return f"{[[round(float(x), 4) for x in row] for row in cell_vv * BOHR_IN_ANGSTROM]} angstrom"


def _list(values: np.ndarray) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _letters(flags: tuple[bool, ...]) -> str:
    return " ".join("T" if flag else "F" for flag in flags)


def _daltons(masses_a: np.ndarray) -> list[float]:
    return [round(float(mass), 4) for mass in masses_a / DALTON_IN_ELECTRON_MASS]
