"""Densities as Gaussian cube files, which every viewer of molecules reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.datafiles import replacing
from mpiqmd.grid import Field, Grid
from mpiqmd.molecule.elements import ATOMIC_NUMBERS
from mpiqmd.molecule.molecule import Molecule
from mpiqmd.molecule.rigid import Alignment
from mpiqmd.parallel.comm import on_rank_zero


def write_cube(
    path: Path, molecule: Molecule, valences_a: np.ndarray, field: Field, alignment: Alignment | None = None
) -> None:
    """Write a field in atomic units, x slowest as the format wants; the molecule is in the laboratory.  Collective.

    A field of the body frame (``alignment``) is turned back by the axes of the cube, which may point anywhere.  Raises
    DataFileError where the file cannot be written.
    """
    whole = field.gather()
    rotation_vv, centre_v = (np.eye(3), np.zeros(3)) if alignment is None else (alignment.rotation_vv, alignment.origin_v)
    on_rank_zero(field.grid.comm, _write, path, molecule, valences_a, field.grid, whole, rotation_vv, centre_v)


def _write(
    path: Path,
    molecule: Molecule,
    valences_a: np.ndarray,
    grid: Grid,
    whole_zyx: np.ndarray,
    rotation_vv: np.ndarray,
    centre_v: np.ndarray,
) -> None:
    """Write the file; grid coordinates x are at ``x @ rotation + centre``."""
    origin = np.array([grid.coordinates(axis)[0] for axis in (2, 1, 0)]) @ rotation_vv + centre_v
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        stream.write("electron density of mpiqmd\nbohr^-3, lengths in bohr\n")
        stream.write(f"{len(molecule.symbols):5d}" + "".join(f"{value:14.8f}" for value in origin) + "\n")
        for direction in range(3):
            step = grid.spacing_v[direction] * rotation_vv[direction]
            stream.write(f"{grid.shape[2 - direction]:5d}" + "".join(f"{value:14.8f}" for value in step) + "\n")
        for symbol, valence, position_v in zip(molecule.symbols, valences_a, molecule.positions_av, strict=True):
            row = "".join(f"{value:14.8f}" for value in (valence, *position_v))
            stream.write(f"{ATOMIC_NUMBERS[symbol]:5d}{row}\n")
        for line in whole_zyx.transpose(2, 1, 0).reshape(-1, grid.shape[0]):
            for start in range(0, len(line), 6):
                stream.write("".join(f"{value:14.6e}" for value in line[start : start + 6]) + "\n")
