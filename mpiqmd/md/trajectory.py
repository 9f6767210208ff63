"""Reading trajectories, and writing them as extended XYZ.

:class:`Trajectory` holds all frames of an H5MD file written by :mod:`mpiqmd.md.trajectory_writer` as NumPy
arrays in atomic units.  Not collective; needs no MPI, so figures can be drawn anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.md.h5md_units import unit_of
from mpiqmd.units import ATOMIC_TIME_IN_FS, BOHR_IN_ANGSTROM, HARTREE_IN_EV


@dataclass(frozen=True)
class Trajectory:
    """All frames of one trajectory, atomic units.

    Parameters
    ----------
    path
        The file.
    symbols, masses_a
        Chemical symbols and masses of the N atoms.
    steps_t, times_t
        Integration step and time of each frame.
    positions_tav, velocities_tav, forces_tav
        Shape (frames, N, 3).
    observables
        Name to array (frames,): ``potential_energy``, ``kinetic_energy``, ``total_energy``,
        ``conserved_energy``, ``temperature`` (k_B T in Ha) and the provider's extras (NaN where a frame has
        none).
    attributes
        Provenance: ``solver``, ``timestep``, ``seed``, ``ranks``, ``input``, ``seconds_per_step``, ...
    box_v
        Edge lengths of the cell, bohr, or None.
    boundary
        ``"none"`` or ``"periodic"``.
    """

    path: Path
    symbols: tuple[str, ...]
    masses_a: np.ndarray
    steps_t: np.ndarray
    times_t: np.ndarray
    positions_tav: np.ndarray
    velocities_tav: np.ndarray
    forces_tav: np.ndarray
    observables: dict[str, np.ndarray]
    attributes: dict[str, str | int | float]
    box_v: np.ndarray | None
    boundary: str

    @classmethod
    def open(cls, path: Path | str, with_coordinates: bool = True) -> Trajectory:
        """Read a file, leaving out frames that an interrupted run has not completed.

        Parameters
        ----------
        path
            The file.
        with_coordinates
            False leaves positions, velocities and forces out (shape (0, N, 3)): most of a long file.

        Raises
        ------
        DataFileError
            The file cannot be opened or is not a trajectory of mpiqmd.
        """
        path = Path(path)
        try:
            with h5py.File(path, "r") as file:
                return cls._read(path, file, with_coordinates)
        except (OSError, KeyError) as error:
            raise DataFileError(
                f"{path} cannot be read as a trajectory ({error}); allowed: H5MD files written by `mpiqmd "
                "md`. Check the path."
            ) from error

    @classmethod
    def _read(cls, path: Path, file: h5py.File, with_coordinates: bool) -> Trajectory:
        """Copy everything out of an open file."""
        molecule = file["particles/molecule"]
        steps_t = molecule["position/step"][:]
        valid = steps_t >= 0
        species = molecule["species"]
        names = {number: symbol for symbol, number in h5py.check_enum_dtype(species.dtype).items()}
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        for key, value in file.get("parameters", {}).items():
            attributes[key] = value.asstr()[()]
        box = molecule["box"]
        edges = box["edges/value"] if "edges" in box else None
        symbols = tuple(names[int(number)] for number in species[:])

        def coordinates(name: str) -> np.ndarray:
            values = molecule[f"{name}/value"]
            return values[:][valid] / unit_of(values) if with_coordinates else np.empty((0, len(symbols), 3))

        return cls(
            path=path,
            symbols=symbols,
            masses_a=molecule["mass"][:],
            steps_t=steps_t[valid],
            times_t=molecule["position/time"][:][valid] / unit_of(molecule["position/time"]),
            positions_tav=coordinates("position"),
            velocities_tav=coordinates("velocity"),
            forces_tav=coordinates("force"),
            observables={name: group["value"][:][valid] for name, group in file["observables"].items()},
            attributes=attributes,
            box_v=edges[0] / unit_of(edges) if edges is not None and len(edges) else None,
            boundary=bytes(box.attrs["boundary"][0]).decode(),
        )

    def __len__(self) -> int:
        return len(self.steps_t)

    @property
    def timestep(self) -> float:
        """Integration timestep, atomic units."""
        return float(self.attributes["timestep"])

    @property
    def times_fs_t(self) -> np.ndarray:
        """Times of the frames in femtoseconds, for figures."""
        return self.times_t * ATOMIC_TIME_IN_FS

    def at_steps(self, steps: np.ndarray) -> Trajectory:
        """Return the frames of the given integration steps, all of which must be present."""
        chosen = np.searchsorted(self.steps_t, steps)
        arrays = ("steps_t", "times_t", "positions_tav", "velocities_tav", "forces_tav")
        observables = {name: values_t[chosen] for name, values_t in self.observables.items()}
        return replace(
            self, observables=observables, **{name: getattr(self, name)[chosen] for name in arrays}
        )


def _plain(value: object) -> str | int | float:
    """Turn an HDF5 attribute into a Python scalar or string."""
    return value.item() if isinstance(value, np.generic) else value


def write_extxyz(trajectory: Trajectory, path: Path | str) -> None:
    """Write all frames as extended XYZ: angstrom, eV, eV/angstrom and fs."""
    force_unit = HARTREE_IN_EV / BOHR_IN_ANGSTROM
    periodic = "T" if trajectory.boundary == "periodic" else "F"
    cell = ""
    if trajectory.box_v is not None:
        edges = np.diag(trajectory.box_v * BOHR_IN_ANGSTROM).ravel()
        cell = f'Lattice="{" ".join(f"{edge:.10g}" for edge in edges)}" '
    with open(path, "w", encoding="utf-8") as file:
        for index in range(len(trajectory)):
            energy = trajectory.observables["potential_energy"][index] * HARTREE_IN_EV
            file.write(
                f"{len(trajectory.symbols)}\n{cell}Properties=species:S:1:pos:R:3:forces:R:3 "
                f"energy={energy:.12f} time={trajectory.times_fs_t[index]:.8g} "
                f'step={trajectory.steps_t[index]} pbc="{periodic} {periodic} {periodic}"\n'
            )
            rows = np.hstack(
                [
                    trajectory.positions_tav[index] * BOHR_IN_ANGSTROM,
                    trajectory.forces_tav[index] * force_unit,
                ]
            )
            for symbol, row in zip(trajectory.symbols, rows, strict=True):
                file.write(f"{symbol:2s} " + " ".join(f"{number:18.12f}" for number in row) + "\n")
