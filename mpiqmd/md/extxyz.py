"""Trajectories as extended XYZ, in the columns and units of ASE."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpiqmd.datafiles import replacing
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.judgement import judgement_for_ase, per_atom_for_ase
from mpiqmd.units import BOHR_IN_ANGSTROM, DALTON_IN_ELECTRON_MASS, HARTREE_IN_EV

MOMENTUM = np.sqrt(DALTON_IN_ELECTRON_MASS / HARTREE_IN_EV)
"""ASE's unit of momentum, (dalton eV)^1/2, in atomic units."""
COLUMNS = "species:S:1:pos:R:3:masses:R:1:momenta:R:3:forces:R:3"


def write_extxyz(trajectory: Trajectory, path: Path | str) -> None:
    """Write all frames: positions (angstrom), masses (dalton), momenta ((dalton eV)^1/2), forces (eV/angstrom).

    The comment line has energy (eV), time (fs), step and, of a periodic cell, the lattice.  ASE keeps velocities as momenta
    and divides them by the masses beside them, which are those of the run whatever isotopes it has.  On a reduced surface it
    has what that says of its own errors (eV, eV/angstrom), and every atom the estimated size of its force's.

    Raises DataFileError where there is no room, or no permission.
    """
    with replacing(Path(path)) as beside, open(beside, "w", encoding="utf-8") as file:
        for index in range(len(trajectory)):
            file.write(f"{len(trajectory.symbols)}\n{_comment(trajectory, index)}\n")
            for symbol, row_x in zip(trajectory.symbols, _rows(trajectory, index), strict=True):
                file.write(f"{symbol:2s} " + " ".join(f"{number:18.12f}" for number in row_x) + "\n")


def _comment(trajectory: Trajectory, index: int) -> str:
    """Return the line that describes a frame."""
    cell, periodic = "", "F"
    if trajectory.box_v is not None:
        edges = np.diag(trajectory.box_v * BOHR_IN_ANGSTROM).ravel()
        cell, periodic = f'Lattice="{" ".join(f"{edge:.10g}" for edge in edges)}" ', "T"
    energy = trajectory.observables["potential_energy"][index] * HARTREE_IN_EV
    columns = COLUMNS + "".join(f":{name}:R:1" for name in _force_errors(trajectory, index))
    known = judgement_for_ase({name: values_t[index] for name, values_t in trajectory.observables.items()})
    judgement = "".join(f" {name}={value:.6g}" for name, value in known.items())
    return (
        f"{cell}Properties={columns} energy={energy:.12f} time={trajectory.times_fs_t[index]:.8g} "
        f'step={trajectory.steps_t[index]}{judgement} pbc="{periodic} {periodic} {periodic}"'
    )


def _rows(trajectory: Trajectory, index: int) -> np.ndarray:
    """Return the numbers of a frame, one row for each atom."""
    masses_ax = trajectory.masses_a[:, None]
    return np.hstack(
        [
            trajectory.positions_tav[index] * BOHR_IN_ANGSTROM,
            masses_ax / DALTON_IN_ELECTRON_MASS,
            masses_ax * trajectory.velocities_tav[index] / MOMENTUM,
            trajectory.forces_tav[index] * (HARTREE_IN_EV / BOHR_IN_ANGSTROM),
            *(errors_a[:, None] for errors_a in _force_errors(trajectory, index).values()),
        ]
    )


def _force_errors(trajectory: Trajectory, index: int) -> dict[str, np.ndarray]:
    """Return the estimated size of the error of each force (eV/angstrom) by its name, nothing where it is not known."""
    return per_atom_for_ase({name: values_ta[index] for name, values_ta in trajectory.per_atom.items()})
