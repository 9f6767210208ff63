"""The solved training geometries in one HDF5 file that survives a kill at any moment.

All storage is laid out when the geometries are chosen; solving one later touches raw data only, and its
``finished`` mark is set last, after everything else has reached the disk.  A job that is killed and started
again finds the finished geometries and redoes at most the one that was being written.  Any number of ranks
reads what any other wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd.errors import DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.hdf5 import create_block, open_shared, read_orbitals, write_orbitals
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.signature import differences, plain

if TYPE_CHECKING:
    from mpi4py import MPI

KIND = "snapshots"
SAME_GEOMETRY = 1e-9
"""Largest difference of positions (bohr) within one geometry of two samplings."""


class SnapshotStore:
    """Ground states of the training geometries.  Construction is collective.

    Parameters
    ----------
    path
        The file; it need not exist.
    signature
        The physics, :meth:`KohnShamModel.signature`.
    comm
        Ranks that share the file.

    Attributes
    ----------
    positions_sav, energies_s, forces_sav, eigenvalues_sn, labels, finished_s
        Replicated contents: body-frame positions (bohr), free energies (Ha), forces (Ha/bohr), occupied
        levels (Ha), sampling parameters, and which geometries are done; the numbers of the others are
        meaningless.

    Raises
    ------
    DataFileError
        If the file is no snapshot file, is damaged, or belongs to other physics.
    """

    def __init__(self, path: str | Path, signature: Mapping[str, object], comm: MPI.Comm) -> None:
        self.path, self.comm = Path(path), comm
        self.signature = plain(signature)
        self._load()

    def __len__(self) -> int:
        return len(self.positions_sav)

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals of each geometry; 0 of an empty store."""
        return self.eigenvalues_sn.shape[1]

    @property
    def pending(self) -> list[int]:
        """Indices of the geometries still to be solved."""
        return [int(index) for index in np.flatnonzero(~self.finished_s)]

    def has(self, positions_av: np.ndarray) -> bool:
        """Return whether a geometry (N, 3), bohr, is finished here.  Not collective."""
        finished_sav = self.positions_sav[self.finished_s]
        return any(np.abs(other_av - positions_av).max() < SAME_GEOMETRY for other_av in finished_sav)

    def prepare(
        self, grid: Grid, positions_sav: np.ndarray, labels: Sequence[Mapping[str, float]], n_orbitals: int
    ) -> None:
        """Lay out storage for these geometries; those the file has already are kept.  Collective.

        Raises
        ------
        DataFileError
            If the file holds other geometries in these places, or other numbers of orbitals.
        """
        on_rank_zero(
            self.comm, self._lay_out, grid.shape, np.asarray(positions_sav, float), list(labels), n_orbitals
        )
        self._load()

    def add(
        self, index: int, orbitals: Orbitals, energy: float, forces_av: np.ndarray, eigenvalues_n: np.ndarray
    ) -> None:
        """Store the ground state of geometry ``index`` and mark it finished.  Collective.

        Orbitals that are not orthonormal to round-off are made so (Löwdin), which leaves their span.
        """
        with open_shared(self.path, "r+", self.comm) as file:
            group = None if file is None else file[_name(index)]
            write_orbitals(group, "orbitals", orthonormalised(orbitals))
        on_rank_zero(self.comm, self._write_numbers, index, energy, forces_av, eigenvalues_n)
        on_rank_zero(self.comm, self._mark, index)
        self._load()

    def take(self, index: int, other: SnapshotStore, place: int, grid: Grid) -> None:
        """Store the finished geometry ``place`` of another store as ``index``.  Collective."""
        numbers = other.energies_s[place], other.forces_sav[place], other.eigenvalues_sn[place]
        self.add(index, other.read(grid, place), *numbers)

    def read(self, grid: Grid, index: int) -> Orbitals:
        """Return the orbitals of one finished geometry.  Collective."""
        return read_orbitals(grid, self.path, f"{_name(index)}/orbitals")

    def read_all(self, grid: Grid) -> Orbitals:
        """Return the orbitals of all finished geometries as one block.  Collective."""
        done = [int(index) for index in np.flatnonzero(self.finished_s)]
        if not done:
            raise DataFileError(
                f"{self.path}: none of its {len(self)} geometries is finished. Run `mpiqmd train` first."
            )
        return Orbitals(grid, np.concatenate([self.read(grid, index).local for index in done]))

    def _load(self) -> None:
        contents = on_rank_zero(self.comm, self._read_numbers)
        (
            self.positions_sav,
            self.energies_s,
            self.forces_sav,
            self.eigenvalues_sn,
            self.labels,
            self.finished_s,
        ) = contents

    def _read_numbers(self) -> tuple:
        if not self.path.exists():
            return (
                np.empty((0, 0, 3)),
                np.empty(0),
                np.empty((0, 0, 3)),
                np.empty((0, 0)),
                [],
                np.empty(0, bool),
            )
        try:
            with h5py.File(self.path, "r") as file:
                self._check(file)
                groups = [file[_name(index)] for index in range(int(file.attrs["count"]))]
                arrays = [np.array([group[name][()] for group in groups]) for name in _NUMBERS]
                labels = [json.loads(group.attrs["label"]) for group in groups]
                finished = np.array([bool(group["finished"][()]) for group in groups])
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise DataFileError(
                f"{self.path}: not a complete snapshot file ({error}); one written by `mpiqmd train` is "
                "needed. Remove it, or use --overwrite, to solve the geometries again."
            ) from error
        return (*arrays, labels, finished)

    def _check(self, file: h5py.File) -> None:
        if file.attrs.get("kind") != KIND:
            raise DataFileError(
                f"{self.path}: kind {file.attrs.get('kind')!r}, {KIND!r} is needed. Choose another file or "
                "--output folder."
            )
        differing = differences(json.loads(file.attrs["signature"]), self.signature)
        if differing:
            raise DataFileError(
                f"{self.path}: its snapshots belong to other physics ({'; '.join(differing)}). Use the input "
                "they were made with, another --output folder, or --overwrite."
            )

    def _lay_out(
        self, shape: tuple[int, ...], positions_sav: np.ndarray, labels: list, n_orbitals: int
    ) -> None:
        if self.path.exists():
            self._check_same(positions_sav, n_orbitals, shape)
            with h5py.File(self.path, "r+") as file:
                _add_geometries(file, len(self), shape, positions_sav, labels, n_orbitals)
            return
        # A new file appears under its name only when it is whole.
        beside = self.path.with_name(self.path.name + ".part")
        with h5py.File(beside, "w") as file:
            file.attrs["kind"] = KIND
            file.attrs["signature"] = json.dumps(self.signature)
            _add_geometries(file, 0, shape, positions_sav, labels, n_orbitals)
        _to_disk(beside)
        os.replace(beside, self.path)

    def _check_same(self, positions_sav: np.ndarray, n_orbitals: int, shape: tuple[int, ...]) -> None:
        common = min(len(self), len(positions_sav))
        if common:
            with h5py.File(self.path, "r") as file:
                stored = file[_name(0)]["orbitals"].shape
        if common and (
            self.positions_sav.shape[1:] != positions_sav.shape[1:]
            or np.abs(self.positions_sav[:common] - positions_sav[:common]).max() > SAME_GEOMETRY
            or stored != (n_orbitals, *shape)
        ):
            raise DataFileError(
                f"{self.path}: its {len(self)} geometries are not the {len(positions_sav)} of this training "
                "(or have other numbers of orbitals); the first ones must agree. Use another --output "
                "folder, or --overwrite."
            )

    def _write_numbers(
        self, index: int, energy: float, forces_av: np.ndarray, eigenvalues_n: np.ndarray
    ) -> None:
        with h5py.File(self.path, "r+") as file:
            group = file[_name(index)]
            group["energy"][...] = energy
            group["forces"][...] = forces_av
            group["eigenvalues"][...] = np.asarray(eigenvalues_n)[: len(group["eigenvalues"])]
        _to_disk(self.path)

    def _mark(self, index: int) -> None:
        with h5py.File(self.path, "r+") as file:
            file[_name(index)]["finished"][...] = 1.0
        _to_disk(self.path)


_NUMBERS = ("positions", "energy", "forces", "eigenvalues")


def _name(index: int) -> str:
    return f"geometry_{index:05d}"


def _add_geometries(
    file: h5py.File,
    first: int,
    shape: tuple[int, ...],
    positions_sav: np.ndarray,
    labels: list,
    n_orbitals: int,
) -> None:
    n_atoms = positions_sav.shape[1]
    for index in range(first, len(positions_sav)):
        group = file.create_group(_name(index))
        group.attrs["label"] = json.dumps({name: float(value) for name, value in labels[index].items()})
        group["positions"] = positions_sav[index]
        create_block(group, "orbitals", (n_orbitals, *shape))
        create_block(group, "energy", ())[...] = 0.0
        create_block(group, "forces", (n_atoms, 3))[...] = 0.0
        create_block(group, "eigenvalues", (n_orbitals,))[...] = 0.0
        create_block(group, "finished", ())[...] = 0.0
    file.attrs["count"] = max(first, len(positions_sav))


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
