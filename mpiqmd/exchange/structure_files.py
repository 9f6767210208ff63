"""Geometries in and out of files, through ASE: the door between angstrom, eV and atomic units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.datafiles import Shapes, Unfit, reading, replacing
from mpiqmd.errors import ConfigError
from mpiqmd.exchange.structure import Structure, not_finite, same_masses
from mpiqmd.exchange.xyz_text import normalised
from mpiqmd.md.replicas import open_runs
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.elements import SYMBOLS, standard_masses
from mpiqmd.units import BOHR_IN_ANGSTROM, DALTON_IN_ELECTRON_MASS, HARTREE_IN_EV

if TYPE_CHECKING:
    from ase import Atoms

LARGEST_FILE = 256_000_000
"""Bytes of a structure file, unpacked; a trajectory.h5 may have more."""
LIGHTEST = 0.05
"""Dalton; less is a mass in another unit."""
_CHARGES = ("charge", "total_charge", "net_charge")
_MULTIPLICITIES = ("multiplicity", "spin_multiplicity")
NEARLY = 0.01
"""What partial charges may lack to a whole number, and moments may have without being spin."""

ADVICE = (
    "Any format ASE knows is allowed, such as .xyz or .extxyz, and trajectory.h5. Correct the file, or take out of it what "
    "cannot be used."
)
"""What to do about a file without usable structures."""


def read_structures(path: Path, *, finite: bool = True) -> tuple[Structure, ...]:
    """Return what any file ASE reads, a trajectory.h5 or a replicas.h5 says about its geometries, at least one.

    Not collective.  Cell, periodicity, masses and isotopes, charge and pinned atoms are in the structures.  Velocities,
    energies and other results of another calculation are not read.  Unless all have to be ``finite``, positions that are not
    stay as they are.

    Raises
    ------
    DataFileError
        The file cannot be read, is empty, holds other than finite positions of known elements, its frames hold different
        atoms, or it says what cannot be used: unpaired electrons, constraints other than atoms held fixed.
    """
    with reading(path, "structure file", ADVICE):
        structures = _of_runs(open_runs(path)) if path.suffix == ".h5" else tuple(_frames(path))
        _require_same_atoms(structures)
        bad = not_finite(np.array([structure.positions_av for structure in structures]), structures[0].symbols)
        for frame, words in bad.items() if finite else ():
            raise Unfit(f"frame {frame} of {len(structures)}, counted from 0: {words}")
        return structures


def _of_runs(runs: list[Trajectory]) -> tuple[Structure, ...]:
    return tuple(structure for run in runs for structure in _of_trajectory(run))


def _of_trajectory(trajectory: Trajectory) -> list[Structure]:
    cell_vv = None if trajectory.box_v is None else np.diag(trajectory.box_v)
    periodic = (cell_vv is not None,) * 3
    first = Structure(trajectory.symbols, np.empty(0), trajectory.masses_a, cell_vv, periodic)
    return [first.at(positions_av) for positions_av in trajectory.positions_tav]


def _frames(path: Path) -> list[Structure]:
    """Return the frames that ASE finds in a file."""
    from ase.io import read
    from ase.io.formats import filetype

    kind, content = filetype(str(path)), _unpacked(path)
    # By default ASE makes reading and writing collective over the world, but one rank alone is here; and it takes what
    # follows an @ in the name for a choice of frames.
    options: dict[str, Any] = {"index": ":", "parallel": False, "do_not_split_by_at_sign": True}
    if kind in ("xyz", "extxyz"):
        plain = normalised(content.decode("utf-8-sig", errors="replace"))
        frames = read(StringIO(plain.text), format="extxyz", **options)
        return [_structure(atoms, isotopes) for atoms, isotopes in zip(frames, plain.isotopes, strict=True)]
    try:
        return [_structure(atoms, {}) for atoms in read(path, format=kind, **options)]
    except KeyError as problem:
        raise Unfit(f"ASE does not know what {problem} in it is") from problem


def _unpacked(path: Path) -> bytes:
    """Return a file as it is before compression; raises Unfit for one that is too large."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "rb") as stream:
        content = stream.read(LARGEST_FILE + 1) if path.stat().st_size <= LARGEST_FILE else b""
    size = max(path.stat().st_size, len(content))
    if size > LARGEST_FILE:
        raise Unfit(f"it has {size} bytes, at most {LARGEST_FILE} are read")
    return content


def _structure(atoms: Atoms, isotopes: dict[int, float]) -> Structure:
    """Return what one frame says; raises Unfit for what is impossible or cannot be used."""
    if not len(atoms):
        raise Unfit("a frame holds no atoms")
    symbols = tuple(atoms.get_chemical_symbols())
    unknown = sorted(set(symbols) - set(SYMBOLS))
    if unknown:
        raise Unfit(f"{', '.join(unknown)} are not elements from H to Rn")
    _require_closed_shell(atoms)
    positions_av = atoms.get_positions()
    is_known_av = np.isfinite(positions_av)
    known_av = Shapes().numbers("positions", np.where(is_known_av, positions_av, 0.0), "atoms 3") / BOHR_IN_ANGSTROM
    positions_av = np.where(is_known_av, known_av, positions_av)
    cell_vv, periodic = _cell(atoms)
    masses_a = _masses(atoms, symbols, isotopes)
    return Structure(symbols, positions_av, masses_a, cell_vv, periodic, _charge(atoms), _pinned(atoms))


def _cell(atoms: Atoms) -> tuple[np.ndarray | None, tuple[bool, bool, bool]]:
    """Return cell vectors, bohr, and periodicity."""
    vectors = Shapes().numbers("cell", atoms.cell.array, "3 3")
    # PDB files of molecules have a cell of one angstrom that stands for none
    if not vectors.any() or np.array_equal(vectors, np.eye(3)):
        return None, (False, False, False)
    x, y, z = (bool(flag) for flag in atoms.pbc)
    return vectors / BOHR_IN_ANGSTROM, (x, y, z)


def _masses(atoms: Atoms, symbols: tuple[str, ...], isotopes: dict[int, float]) -> np.ndarray | None:
    """Return masses, electron masses, if the file has any; raises Unfit if they contradict its isotopes."""
    written = next((atoms.arrays[name] for name in ("masses", "mass") if name in atoms.arrays), None)
    if written is None and not isotopes:
        return None
    named_a = standard_masses(symbols)
    for atom, mass in isotopes.items():
        named_a[atom] = mass * DALTON_IN_ELECTRON_MASS
    if written is None:
        return named_a
    masses = Shapes(atoms=len(symbols)).numbers("masses", written, "atoms")
    if masses.min() < LIGHTEST:
        raise Unfit(f"a mass is {masses.min():g}; dalton, at least {LIGHTEST}, are expected")
    masses_a = masses * DALTON_IN_ELECTRON_MASS
    which = list(isotopes)
    if not same_masses(masses_a[which], named_a[which]):
        raise Unfit(f"atoms {which} are called D or T, but their masses are {masses[which].tolist()} Da")
    return masses_a


def _charge(atoms: Atoms) -> int | None:
    """Return the net charge if the file says one: by name, or as the sum of initial charges."""
    found = {name: atoms.info[name] for name in _CHARGES if name in atoms.info}
    charges_a = atoms.arrays.get("initial_charges", np.zeros(0))
    if charges_a.any():
        found["initial_charges"] = float(charges_a.sum())
    whole = {name: _whole(name, value) for name, value in found.items()}
    if len(set(whole.values())) > 1:
        raise Unfit(f"it says different charges, {whole}")
    return next(iter(whole.values()), None)


def _whole(name: str, value: Any) -> int:
    """Return a number of elementary charges or electrons."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not abs(number) < 1000 or abs(number - round(number)) > NEARLY:
        raise Unfit(f"{name} is {str(value)[:20]}, a whole number is expected")
    return round(number)


def _require_closed_shell(atoms: Atoms) -> None:
    """Raise Unfit for magnetic moments or a multiplicity: all electrons are paired here."""
    results = {} if atoms.calc is None else atoms.calc.results
    moments = [atoms.arrays.get("initial_magmoms", 0.0), results.get("magmoms", 0.0), results.get("magmom", 0.0)]
    largest = max(float(np.abs(moment).max(initial=0.0)) for moment in moments)
    if not largest <= NEARLY:
        raise Unfit(f"it has magnetic moments, up to {largest:g}; electrons in pairs are what there is")
    for name in _MULTIPLICITIES:
        if _whole(name, atoms.info.get(name, 1)) != 1:
            raise Unfit(f"{name} is {atoms.info[name]}; electrons in pairs, 1, are what there is")
    # some write the number of unpaired electrons, others the multiplicity
    if _whole("spin", atoms.info.get("spin", 0)) not in (0, 1):
        raise Unfit(f"spin is {atoms.info['spin']}; electrons in pairs are what there is")


def _pinned(atoms: Atoms) -> tuple[int, ...]:
    """Return the atoms that the file holds fixed; raises Unfit for other constraints."""
    fixed: set[int] = set()
    for constraint in atoms.constraints:
        kind, mask = type(constraint).__name__, np.asarray(getattr(constraint, "mask", True))
        if kind not in ("FixAtoms", "FixCartesian") or not (mask.all() or not mask.any()):
            raise Unfit(f"it has a constraint, {kind}; only atoms held fixed can be used")
        fixed |= {int(atom) for atom in np.atleast_1d(constraint.get_indices()) if mask.all()}
    return tuple(sorted(fixed))


def require_same_electrons(atoms: Atoms, charge: int) -> None:
    """Raise ConfigError if Atoms say another net charge than this one, or that electrons are unpaired.  Not collective."""
    try:
        _require_closed_shell(atoms)
        found = _charge(atoms)
    except Unfit as problem:
        raise ConfigError(f"the Atoms do not fit the input: {problem}. Take that out of the Atoms.") from None
    if found not in (None, charge):
        raise ConfigError(
            f"the charge of the Atoms is {found:+d}, the input's {charge:+d}. They must agree: write system.charge = {found}, "
            "or take the charges out of the Atoms."
        )


def _require_same_atoms(structures: tuple[Structure, ...]) -> None:
    """Raise Unfit unless there are frames, all of the same atoms."""
    if not structures:
        raise Unfit("it holds no geometry")
    expected = structures[0].symbols
    for index, structure in enumerate(structures):
        if structure.symbols != expected:
            raise Unfit(f"frame {index} holds {list(structure.symbols)}, frame 0 {list(expected)}: all must be the same")


def as_atoms(structure: Structure) -> Atoms:
    """Return a structure for ASE: with cell and periodicity, charge unless it is zero, masses unless they are standard.

    Not collective.
    """
    from ase import Atoms

    masses = None
    if structure.masses_a is not None and not structure.has_standard_masses:
        masses = structure.masses_a / DALTON_IN_ELECTRON_MASS
    cell = None if structure.cell_vv is None else structure.cell_vv * BOHR_IN_ANGSTROM
    positions = structure.positions_av * BOHR_IN_ANGSTROM
    atoms = Atoms(structure.symbols, positions=positions, masses=masses, cell=cell, pbc=structure.periodic)
    if structure.charge:
        atoms.info["charge"] = structure.charge
    return atoms


def write_geometries(path: Path, structure: Structure, positions_sav: np.ndarray) -> None:
    """Write a structure with its atoms at each of the positions as extended XYZ, angstrom.  Not collective."""
    from ase.io import write

    frames = [as_atoms(structure.at(positions_av)) for positions_av in positions_sav]
    with replacing(path) as beside:
        write(beside, frames, format="extxyz", parallel=False)


def write_structures(
    path: Path,
    structure: Structure,
    positions_sav: np.ndarray,
    energies_s: np.ndarray,
    forces_sav: np.ndarray,
    *,
    notes: Sequence[Mapping[str, float]] | None = None,
    columns: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Write a structure at each of the positions with energies (eV) and forces (eV/angstrom) as extended XYZ.

    Not collective.

    Parameters
    ----------
    path, structure
        The file, and the atoms with their cell.
    positions_sav, energies_s, forces_sav
        The frames: positions (frames, N, 3), bohr, energies (frames,), Ha, and forces, Ha/bohr.
    notes, columns
        Further numbers of every frame, and of every atom of it (N,), by name; written as they are.
    """
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        for index, (positions_av, energy, forces_av) in enumerate(zip(positions_sav, energies_s, forces_sav, strict=True)):
            atoms = as_atoms(structure.at(positions_av))
            force_unit = HARTREE_IN_EV / BOHR_IN_ANGSTROM
            results = {"energy": energy * HARTREE_IN_EV, "forces": forces_av * force_unit}
            atoms.calc = SinglePointCalculator(atoms, **results)
            atoms.info |= {} if notes is None else notes[index]
            for name, values_a in ({} if columns is None else columns[index]).items():
                atoms.set_array(name, values_a)
            write(stream, atoms, format="extxyz", parallel=False)
