"""Reading trajectories.

:class:`Trajectory` holds all frames of an H5MD file written by :mod:`mpiqmd.md.trajectory_writer` as NumPy
arrays in atomic units.  Not collective; needs no MPI, so figures can be drawn anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import Contents, Shapes, Unfit, opened, plain, scalar
from mpiqmd.md.h5md_layout import per_atom_series
from mpiqmd.md.h5md_units import one_atomic_unit
from mpiqmd.md.quantities import STANDARD, observable, per_atom
from mpiqmd.molecule.elements import require_element
from mpiqmd.units import ATOMIC_TIME_IN_FS

MOLECULE = "particles/molecule"


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
        Name to array (frames,), as :mod:`mpiqmd.md.quantities` describes them; the temperature is k_B T in Ha, and what the
        surface reports is NaN where a frame has none.
    attributes
        Provenance: ``solver``, ``timestep``, ``seed``, ``ranks``, ``input``, ``seconds_per_step``, ...
    box_v
        Edge lengths of a periodic cell, bohr; None for an isolated molecule.
    per_atom
        What the surface reports of each atom, by name, each (frames, N), NaN where a frame has none; empty where the
        coordinates are left out.
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
    per_atom: dict[str, np.ndarray] = field(default_factory=dict)

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
        masses = f"{MOLECULE}/mass"

        def coordinates(name: str, quantity: str) -> np.ndarray:
            series = f"{MOLECULE}/{name}/value"
            contents.shapes.check(series, contents.dataset(series).shape, "room a 3")
            return frames.series(series, quantity, "a 3") if with_coordinates else np.empty((0, len(symbols), 3))

        return cls(
            path,
            symbols,
            masses_a=contents.positive(masses, "a") / one_atomic_unit(contents.dataset(masses), "mass"),
            steps_t=frames.steps_t,
            times_t=frames.series(f"{MOLECULE}/position/time", "time"),
            positions_tav=coordinates("position", "length"),
            velocities_tav=coordinates("velocity", "velocity"),
            forces_tav=coordinates("force", "force"),
            observables=frames.observables(),
            attributes=_attributes(contents),
            box_v=_box(contents),
            per_atom=frames.per_atom() if with_coordinates else {},
        )

    def __len__(self) -> int:
        return len(self.steps_t)

    @property
    def timestep(self) -> float:
        """Integration timestep, atomic units."""
        return float(self.attributes["timestep"])

    @property
    def times_fs_t(self) -> np.ndarray:
        """Times of the frames, shape (frames,), in femtoseconds, for figures."""
        return self.times_t * ATOMIC_TIME_IN_FS

    def at_steps(self, steps: np.ndarray) -> Trajectory:
        """Return the frames of the given integration steps, all of which must be present."""
        chosen = np.searchsorted(self.steps_t, steps)
        arrays = ("steps_t", "times_t", "positions_tav", "velocities_tav", "forces_tav")
        observables = {name: values_t[chosen] for name, values_t in self.observables.items()}
        atomic = {name: values_ta[chosen] for name, values_ta in self.per_atom.items()}
        chosen_arrays = {name: getattr(self, name)[chosen] for name in arrays}
        return replace(self, observables=observables, per_atom=atomic, **chosen_arrays)


class _Frames:
    """The complete frames of an open file; room after them has step -1."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        steps_t = contents.array(f"{MOLECULE}/position/step", "room", integer=True)
        self.count = int((steps_t >= 0).sum())
        self.steps_t = steps_t[: self.count]
        if (self.steps_t < 0).any() or (np.diff(self.steps_t) <= 0).any():
            raise Unfit("the steps of its frames do not grow")

    def series(self, name: str, quantity: str, axes: str = "", finite: bool = True) -> np.ndarray:
        """Return a dataset with one entry per frame, in atomic units."""
        values = self.contents.array(name, f"room {axes}", finite=False)[: self.count]
        if finite and not np.isfinite(values).all():
            raise Unfit(f"{name} holds NaN or infinity in a complete frame")
        return values / one_atomic_unit(self.contents.dataset(name), quantity)

    def observables(self) -> dict[str, np.ndarray]:
        """Return all observables; only what a surface reports may be missing in a frame."""
        names = [*STANDARD, *(name for name in self.contents.file["observables"] if name not in STANDARD)]
        return {
            name: self.series(f"observables/{name}/value", observable(name).quantity, finite=name in STANDARD) for name in names
        }

    def per_atom(self) -> dict[str, np.ndarray]:
        """Return what a surface reports of each atom."""
        return {
            name: self.series(f"{MOLECULE}/{name}/value", per_atom(name).quantity, "a", finite=False)
            for name in per_atom_series(self.contents.file)
        }


def _symbols(contents: Contents) -> tuple[str, ...]:
    dataset = contents.dataset(f"{MOLECULE}/species")
    names = {number: symbol for symbol, number in (h5py.check_enum_dtype(dataset.dtype) or {}).items()}
    numbers_a = contents.array(f"{MOLECULE}/species", "a", integer=True)
    return tuple(require_element(names[int(number)]) for number in numbers_a)


def _box(contents: Contents) -> np.ndarray | None:
    """Return the edges of a periodic cell, bohr; None if the molecule is isolated or there is no frame yet."""
    edges = f"{MOLECULE}/box/edges/value"
    if "edges" not in contents.file[f"{MOLECULE}/box"]:
        return None
    edges_tv = contents.array(edges, "room 3", finite=False)
    if not len(edges_tv):
        return None
    return Shapes().numbers(edges, edges_tv[0], "3") / one_atomic_unit(contents.dataset(edges), "length")


def _attributes(contents: Contents) -> dict[str, str | int | float]:
    """Return the provenance; what is too long for an attribute is a dataset of ``parameters``."""
    attributes = {key: plain(value) for key, value in contents.file.attrs.items()}
    for key in contents.file.get("parameters", {}):
        attributes[key] = contents.dataset(f"parameters/{key}").asstr()[()]
    attributes["timestep"] = scalar(attributes["timestep"], float)
    return attributes
