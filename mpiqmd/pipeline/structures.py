"""Geometries in and out of files, through ASE: the door between angstrom, eV and atomic units."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV


def read_structures(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Return symbols and positions (frames, N, 3) in bohr of any file ASE reads, or a trajectory.h5.  Not collective.

    Raises
    ------
    DataFileError
        The file cannot be read, is empty, or its frames hold different atoms.
    """
    from ase.io import read

    if path.suffix == ".h5":
        trajectory = Trajectory.open(path)
        return trajectory.symbols, trajectory.positions_tav
    try:
        # by default ASE makes reading and writing collective over the world, but one rank alone is here
        frames = read(path, index=":", parallel=False)
    except Exception as problem:
        raise DataFileError(
            f"{path}: cannot be read as a structure file ({type(problem).__name__}: {problem}). "
            "Any format ASE knows is allowed, such as .xyz or .extxyz."
        ) from None
    if not frames:
        raise DataFileError(f"{path}: holds no geometry; at least one is needed.")
    symbols = tuple(frames[0].get_chemical_symbols())
    for index, frame in enumerate(frames):
        if tuple(frame.get_chemical_symbols()) != symbols:
            raise DataFileError(
                f"{path}: frame {index} holds {frame.get_chemical_symbols()}, frame 0 {list(symbols)}. "
                "All frames must hold the same atoms in the same order."
            )
    return symbols, np.array([frame.get_positions() for frame in frames]) / BOHR_IN_ANGSTROM


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
