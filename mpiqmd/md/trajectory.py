"""Reading trajectories, and writing them as extended XYZ.

:class:`Trajectory` holds all frames of an H5MD file written by :mod:`mpiqmd.md.trajectory_writer` as NumPy
arrays in atomic units.  Not collective; needs no MPI, so figures can be drawn anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import Contents, Shapes, Unfit, opened, plain, replacing, scalar
from mpiqmd.md.h5md_units import unit_of
from mpiqmd.molecule.elements import require_element
from mpiqmd.units import ATOMIC_TIME_IN_FS, BOHR_IN_ANGSTROM, HARTREE_IN_EV

MOLECULE = "particles/molecule"
OBSERVABLES = ("potential_energy", "kinetic_energy", "total_energy", "conserved_energy", "temperature")
"""Observables of every frame, all in hartree; a provider's extras come on top, without a unit."""


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
        remedy = "Allowed are H5MD files written by `mpiqmd md`. Check the path, or restore the file from a copy."
        with opened(path, "trajectory", remedy) as contents:
            return cls._read(path, contents, with_coordinates)

    @classmethod
    def _read(cls, path: Path, contents: Contents, with_coordinates: bool) -> Trajectory:
        """Copy everything out of an open file."""
        symbols, frames = _symbols(contents), _Frames(contents)
        box_v, boundary = _box(contents)
        coordinates = []
        for name in ("position", "velocity", "force"):
            series = f"{MOLECULE}/{name}/value"
            contents.shapes.check(series, contents.dataset(series).shape, "room a 3")
            coordinates.append(
                frames.in_atomic_units(series, "a 3") if with_coordinates else np.empty((0, len(symbols), 3))
            )
        return cls(
            path,
            symbols,
            contents.positive(f"{MOLECULE}/mass", "a"),
            frames.steps_t,
            frames.in_atomic_units(f"{MOLECULE}/position/time"),
            *coordinates,
            observables=frames.observables(),
            attributes=_attributes(contents),
            box_v=box_v,
            boundary=boundary,
        )

    def __len__(self) -> int:
        return len(self.steps_t)

    @property
    def timestep(self) -> float:
        """Integration timestep, atomic units."""
        return self.attributes["timestep"]

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


class _Frames:
    """The complete frames of an open file; room after them has step -1."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        steps_t = contents.array(f"{MOLECULE}/position/step", "room", integer=True)
        self.count = int((steps_t >= 0).sum())
        self.steps_t = steps_t[: self.count]
        if (self.steps_t < 0).any() or (np.diff(self.steps_t) <= 0).any():
            raise Unfit("the steps of its frames do not grow")

    def series(self, name: str, axes: str = "", finite: bool = True) -> np.ndarray:
        """Return a dataset with one entry per frame."""
        values = self.contents.array(name, f"room {axes}", finite=False)[: self.count]
        if finite and not np.isfinite(values).all():
            raise Unfit(f"{name} holds NaN or infinity in a complete frame")
        return values

    def in_atomic_units(self, name: str, axes: str = "") -> np.ndarray:
        """Return a series that has a unit, which may be any of the file formats."""
        return self.series(name, axes) / unit_of(self.contents.dataset(name))

    def observables(self) -> dict[str, np.ndarray]:
        """Return all observables; only a provider's extras may be missing in a frame."""
        names = [*OBSERVABLES, *(name for name in self.contents.file["observables"] if name not in OBSERVABLES)]
        return {name: self.series(f"observables/{name}/value", finite=name in OBSERVABLES) for name in names}


def _symbols(contents: Contents) -> tuple[str, ...]:
    dataset = contents.dataset(f"{MOLECULE}/species")
    names = {number: symbol for symbol, number in (h5py.check_enum_dtype(dataset.dtype) or {}).items()}
    numbers_a = contents.array(f"{MOLECULE}/species", "a", integer=True)
    return tuple(require_element(names[int(number)]) for number in numbers_a)


def _box(contents: Contents) -> tuple[np.ndarray | None, str]:
    """Return the edge lengths, if there are any frames with a box, and the boundary."""
    box = contents.file[f"{MOLECULE}/box"]
    boundary = bytes(box.attrs["boundary"][0]).decode()
    if "edges" not in box:
        return None, boundary
    edges_tv = contents.array(f"{MOLECULE}/box/edges/value", "room 3", finite=False)
    if not len(edges_tv):
        return None, boundary
    edges_v = Shapes().numbers("box/edges", edges_tv[0], "3") / unit_of(box["edges/value"])
    return edges_v, boundary


def _attributes(contents: Contents) -> dict[str, str | int | float]:
    """Return the provenance; what is too long for an attribute is a dataset of ``parameters``."""
    attributes = {key: plain(value) for key, value in contents.file.attrs.items()}
    for key in contents.file.get("parameters", {}):
        attributes[key] = contents.dataset(f"parameters/{key}").asstr()[()]
    attributes["timestep"] = scalar(attributes["timestep"], float)
    return attributes


def write_extxyz(trajectory: Trajectory, path: Path | str) -> None:
    """Write all frames as extended XYZ: angstrom, eV, eV/angstrom and fs.  Raises DataFileError where there is no room."""
    force_unit = HARTREE_IN_EV / BOHR_IN_ANGSTROM
    periodic = "T" if trajectory.boundary == "periodic" else "F"
    cell = ""
    if trajectory.box_v is not None:
        edges = np.diag(trajectory.box_v * BOHR_IN_ANGSTROM).ravel()
        cell = f'Lattice="{" ".join(f"{edge:.10g}" for edge in edges)}" '
    with replacing(Path(path)) as beside, open(beside, "w", encoding="utf-8") as file:
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
