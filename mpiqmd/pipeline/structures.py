"""Geometries in and out of files, through ASE: the door between angstrom, eV and atomic units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.datafiles import Shapes, Unfit, reading
from mpiqmd.md.replica_files import open_runs
from mpiqmd.molecule.elements import SYMBOLS
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Return symbols and positions (frames, N, 3) in bohr of any file ASE reads, a trajectory.h5 or a
    replicas.h5.  Not collective.

    Raises
    ------
    DataFileError
        The file cannot be read, is empty, holds other than finite positions of known elements, or its frames hold
        different atoms.
    """
    if path.suffix == ".h5":
        runs = open_runs(path)
        return runs[0].symbols, np.concatenate([run.positions_tav for run in runs])
    with reading(path, "structure file", "Any format ASE knows is allowed, such as .xyz or .extxyz."):
        return _checked(_frames(path))


def _frames(path: Path) -> list[Atoms]:
    """Return the frames that ASE finds in a file."""
    from ase.io import read
    from ase.io.formats import filetype, open_with_compression

    kind = filetype(str(path))
    if kind in ("xyz", "extxyz"):
        with open_with_compression(str(path), "rb") as stream:
            _check_counts(stream.read().decode("utf-8", errors="replace").splitlines())
    # By default ASE makes reading and writing collective over the world, but one rank alone is here; and it takes what
    # follows an @ in the name for a choice of frames.
    return read(path, index=":", format=kind, parallel=False, do_not_split_by_at_sign=True)


def _check_counts(lines: list[str]) -> None:
    """Raise Unfit unless every frame of an XYZ file has the lines and columns it announces: ASE would try to make them."""
    at = 0
    while at < len(lines) and lines[at].strip():
        try:
            count = int(lines[at])
        except ValueError:
            raise Unfit(f"line {at + 1} reads {lines[at].strip()[:30]!r}, a number of atoms is expected") from None
        if not 0 < count <= len(lines) - at - 2:
            raise Unfit(f"line {at + 1} announces {str(count)[:20]} atoms, {max(0, len(lines) - at - 2)} lines follow")
        announced, found = _announced_columns(lines[at + 1]), len(lines[at + 2].split())
        if announced > found:
            raise Unfit(f"line {at + 2} announces {announced} columns, {found} follow")
        at += 2 + count
        while at < len(lines) and lines[at].startswith("VEC"):
            at += 1


def _announced_columns(comment: str) -> int:
    """Return the number of columns in the Properties of extended XYZ, 0 if there are none."""
    found = re.search(r"Properties\s*=\s*[\"'{]?([^\s\"'}]*)", comment, re.IGNORECASE)
    return sum(int(field) for field in found[1].split(":")[2::3] if field.strip().isdecimal()) if found else 0


def _checked(frames: list[Atoms]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return symbols and positions in bohr of frames of the same atoms; raises Unfit for anything else."""
    if not frames or not len(frames[0]):
        raise Unfit("it holds no geometry")
    symbols = tuple(frames[0].get_chemical_symbols())
    for index, frame in enumerate(frames):
        if tuple(frame.get_chemical_symbols()) != symbols:
            raise Unfit(f"frame {index} holds {frame.get_chemical_symbols()}, frame 0 {list(symbols)}: all must be the same")
    unknown = sorted(set(symbols) - set(SYMBOLS))
    if unknown:
        raise Unfit(f"{', '.join(unknown)} are not elements from H to Rn")
    positions_sav = np.array([frame.get_positions() for frame in frames]) / BOHR_IN_ANGSTROM
    return symbols, Shapes().numbers("positions", positions_sav, "frames atoms 3")


def write_geometries(path: Path, symbols: tuple[str, ...], positions_sav: np.ndarray) -> None:
    """Write geometries as extended XYZ, angstrom.  Not collective."""
    from ase import Atoms
    from ase.io import write

    frames = [Atoms(symbols, positions=positions_av * BOHR_IN_ANGSTROM) for positions_av in positions_sav]
    write(path, frames, format="extxyz", parallel=False)


def write_structures(
    path: Path,
    symbols: tuple[str, ...],
    positions_sav: np.ndarray,
    energies_s: np.ndarray,
    forces_sav: np.ndarray,
) -> None:
    """Write geometries with energies (eV) and forces (eV/angstrom) as extended XYZ.  Not collective."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = []
    for positions_av, energy, forces_av in zip(positions_sav, energies_s, forces_sav, strict=True):
        atoms = Atoms(symbols, positions=positions_av * BOHR_IN_ANGSTROM)
        force_unit = HARTREE_IN_EV / BOHR_IN_ANGSTROM
        results = {"energy": energy * HARTREE_IN_EV, "forces": forces_av * force_unit}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    write(path, frames, format="extxyz", parallel=False)
