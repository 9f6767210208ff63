"""The reduced model as one portable HDF5 file: all that the online stage needs and where it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd import __version__
from mpiqmd.errors import ConfigError, DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.hdf5 import open_shared, read_orbitals, write_orbitals
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.basis import ReducedBasis
from mpiqmd.rom.domain import SampledBox
from mpiqmd.rom.signature import differences, plain

if TYPE_CHECKING:
    from mpi4py import MPI

KIND = "reduced model"
FORMAT = 1


@dataclass(frozen=True)
class ReducedModel:
    """Modes, training data and provenance.  All but the modes is replicated.

    Attributes
    ----------
    basis
        The reduced basis.
    signature
        The physics it belongs to, :meth:`KohnShamModel.signature`.
    frame
        Name of the body frame, from which ``make_frame`` builds it again about ``reference_av``.
    reference_av, masses_a
        Reference geometry (bohr) and masses (electron masses).
    training_positions_sav, training_energies_s, training_forces_sav
        Body-frame geometries (bohr), free energies (Ha) and forces (Ha/bohr) of the full solver.
    training_orbitals_smn
        Projections ``<ψ_m|φ_n>`` of the training orbitals on the modes: start density matrices.
    box
        The region the training geometries span.
    arrays
        Further replicated arrays by path, such as a compiled model's.
    notes
        Whatever else is worth keeping with the file, plain data.
    code_version
        Version of mpiqmd that made it.
    """

    basis: ReducedBasis
    signature: dict[str, object]
    frame: str
    reference_av: np.ndarray
    masses_a: np.ndarray
    training_positions_sav: np.ndarray
    training_energies_s: np.ndarray
    training_forces_sav: np.ndarray
    training_orbitals_smn: np.ndarray
    box: SampledBox
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    code_version: str = __version__

    @property
    def rank(self) -> int:
        """Number of modes."""
        return self.basis.rank

    def check(self, signature: Mapping[str, object], source: str = "the reduced model") -> None:
        """Raise ConfigError, naming every field that differs, unless the model belongs to this physics."""
        differing = differences(self.signature, signature)
        if differing:
            raise ConfigError(
                f"{source} was made for other physics: {'; '.join(differing)}. These must agree: use the "
                "model's own settings (`mpiqmd info` shows them), or train a model with this input."
            )

    def save(self, path: str | Path) -> None:
        """Write the model to one file, which appears under its name only when it is complete.  Collective."""
        path, comm = Path(path), self.basis.modes.grid.comm
        beside = path.with_name(path.name + ".part")
        on_rank_zero(comm, self._write_replicated, beside)
        with open_shared(beside, "r+", comm) as file:
            write_orbitals(file, "modes", self.basis.modes)
        on_rank_zero(comm, _move_to_disk, beside, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        comm: MPI.Comm,
        grid: Grid | None = None,
        signature: Mapping[str, object] | None = None,
    ) -> ReducedModel:
        """Read a model on any number of ranks.  Collective.

        Parameters
        ----------
        path
            The file.
        comm
            Ranks to spread the modes over.
        grid
            The grid to put them on; made from the file if not given.
        signature
            The physics in use; the grid's part of it is always checked if ``grid`` is given.

        Raises
        ------
        DataFileError
            If the file is no model or is damaged.
        ConfigError
            If it belongs to other physics; every differing field is named with both values.
        """
        parts = on_rank_zero(comm, _read_replicated, Path(path))
        parts["box"] = SampledBox(**parts["box"])
        description = parts.pop("basis")
        stored = parts["signature"]
        if grid is None:
            grid = Grid(comm, stored["cell"], stored["points"], stored["order"], stored["boundary"])
        expected = {**stored, **grid.signature()} if signature is None else dict(signature)
        stub = cls(basis=ReducedBasis(modes=Orbitals.zeros(grid, 0), **description), **parts)
        stub.check(expected, source=str(path))
        modes = read_orbitals(grid, path, "modes")
        return cls(basis=ReducedBasis(modes=modes, **description), **parts)

    def _write_replicated(self, path: Path) -> None:
        basis = self.basis
        with h5py.File(path, "w") as file:
            file.attrs.update(
                {"kind": KIND, "format": FORMAT, "code_version": self.code_version, "rank": basis.rank}
            )
            file.attrs.update({"frame": self.frame, "signature": json.dumps(plain(self.signature))})
            file.attrs["notes"] = json.dumps(plain(self.notes))
            values = file.create_dataset("singular_values", data=basis.singular_values_k)
            values.attrs.update({name: getattr(basis, name) for name in _BASIS_NUMBERS})
            file["mirrors"], file["parities"] = basis.mirrors_gv, basis.parities_mg
            reference = file.create_group("reference")
            _put(reference, "positions", self.reference_av, "bohr")
            _put(reference, "masses", self.masses_a, "electron masses")
            training = file.create_group("training")
            _put(training, "positions", self.training_positions_sav, "bohr")
            _put(training, "energies", self.training_energies_s, "Ha")
            _put(training, "forces", self.training_forces_sav, "Ha/bohr")
            _put(training, "orbitals", self.training_orbitals_smn, "")
            box = file.create_group("box")
            box.attrs.update({"names": json.dumps(self.box.names), "vertex": json.dumps(self.box.vertex)})
            box["lower"], box["upper"] = self.box.lower_k, self.box.upper_k
            for name, array in self.arrays.items():
                file[f"arrays/{name}"] = array


_BASIS_NUMBERS = ("rank_sigma", "rank_sigma2", "criterion", "energy_fraction", "n_snapshots")


def _put(group: h5py.Group, name: str, values: np.ndarray, unit: str) -> None:
    group[name] = values
    if unit:
        group[name].attrs["unit"] = unit


def _move_to_disk(beside: Path, path: Path) -> None:
    descriptor = os.open(beside, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(beside, path)


def _read_replicated(path: Path) -> dict:
    try:
        with h5py.File(path, "r") as file:
            kind, version = file.attrs.get("kind"), file.attrs.get("format")
            if kind != KIND or version != FORMAT:
                raise DataFileError(
                    f"{path}: kind {kind!r}, format {version!r}; {KIND!r} of format {FORMAT} is needed. Use "
                    "a model.h5 written by `mpiqmd train` of this version."
                )
            return _parts(file)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataFileError(
            f"{path}: not a complete reduced model ({error}); a model.h5 written by `mpiqmd train` is "
            "needed. Train it again."
        ) from error


def _parts(file: h5py.File) -> dict:
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    if "arrays" in file:
        file["arrays"].visititems(collect)
    values, training, box = file["singular_values"], file["training"], file["box"]
    numbers = {name: values.attrs[name] for name in _BASIS_NUMBERS}
    return {
        "basis": {
            "singular_values_k": values[()],
            "mirrors_gv": file["mirrors"][()],
            "parities_mg": file["parities"][()],
            **{
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in numbers.items()
            },
        },
        "signature": json.loads(file.attrs["signature"]),
        "frame": str(file.attrs["frame"]),
        "reference_av": file["reference/positions"][()],
        "masses_a": file["reference/masses"][()],
        "training_positions_sav": training["positions"][()],
        "training_energies_s": training["energies"][()],
        "training_forces_sav": training["forces"][()],
        "training_orbitals_smn": training["orbitals"][()],
        "box": {
            "names": tuple(json.loads(box.attrs["names"])),
            "lower_k": box["lower"][()],
            "upper_k": box["upper"][()],
            "vertex": json.loads(box.attrs["vertex"]),
        },
        "arrays": arrays,
        "notes": json.loads(file.attrs["notes"]),
        "code_version": str(file.attrs["code_version"]),
    }
