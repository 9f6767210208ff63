"""Densities as Gaussian cube files, which every viewer of molecules reads."""

from __future__ import annotations

from dataclasses import dataclass
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
    lattice, whole_zyx = _lattice(field.grid, alignment), field.gather()
    on_rank_zero(field.grid.comm, _write, path, molecule, valences_a, lattice, whole_zyx)


@dataclass(frozen=True)
class _Lattice:
    """Where the values of a cube file are: at ``origin + i step_x + j step_y + k step_z`` in the laboratory, bohr.

    Attributes
    ----------
    origin_v
        The first point, shape (3,).
    steps_vv
        From point to point along x, y and z, a row each, shape (3, 3).
    points_v
        Number of points along each, shape (3,).
    """

    origin_v: np.ndarray
    steps_vv: np.ndarray
    points_v: np.ndarray


def _lattice(grid: Grid, alignment: Alignment | None) -> _Lattice:
    """Return where the points of a grid are, whose coordinates x are at ``x Q + origin`` of the alignment.  Not collective."""
    rotation_vv, centre_v = (np.eye(3), np.zeros(3)) if alignment is None else (alignment.rotation_vv, alignment.origin_v)
    first_v = np.array([grid.coordinates(axis)[0] for axis in (2, 1, 0)])
    return _Lattice(first_v @ rotation_vv + centre_v, grid.spacing_v[:, None] * rotation_vv, np.array(grid.shape[::-1]))


def _write(path: Path, molecule: Molecule, valences_a: np.ndarray, lattice: _Lattice, whole_zyx: np.ndarray) -> None:
    """Write the file.  Rank 0."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as stream:
        stream.write("electron density of mpiqmd\nbohr^-3, lengths in bohr\n")
        stream.write(f"{len(molecule.symbols):5d}" + "".join(f"{value:14.8f}" for value in lattice.origin_v) + "\n")
        for points, step_v in zip(lattice.points_v, lattice.steps_vv, strict=True):
            stream.write(f"{points:5d}" + "".join(f"{value:14.8f}" for value in step_v) + "\n")
        for symbol, valence, position_v in zip(molecule.symbols, valences_a, molecule.positions_av, strict=True):
            row = "".join(f"{value:14.8f}" for value in (valence, *position_v))
            stream.write(f"{ATOMIC_NUMBERS[symbol]:5d}{row}\n")
        for line in whole_zyx.transpose(2, 1, 0).reshape(-1, len(whole_zyx)):
            for start in range(0, len(line), 6):
                stream.write("".join(f"{value:14.6e}" for value in line[start : start + 6]) + "\n")
