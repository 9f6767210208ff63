"""The solved training geometries in one HDF5 file that survives a kill at any moment.

All storage is laid out when the geometries are chosen; solving one later touches raw data only, and its
``finished`` mark is set last, after everything else has reached the disk.  A job that is killed and started
again finds the finished geometries and redoes at most the one that was being written.  The last one is followed by a
checksum of the whole file.  Any number of ranks reads what any other wrote.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from mpiqmd import datafiles
from mpiqmd.datafiles import (
    Contents,
    keep_room,
    open_hdf5,
    opened,
    replacing,
    require_room,
    scalar,
    seal,
    to_disk,
    unseal,
    writing,
)
from mpiqmd.datasets import SNAPSHOT_DATASETS, annotate, place_on_grid
from mpiqmd.errors import DataFileError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.hdf5 import create_block, open_shared, read_orbitals, write_orbitals
from mpiqmd.grid.svd import orthonormalised
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.rom.kinds import SNAPSHOTS
from mpiqmd.rom.signature import differences, listed, plain

if TYPE_CHECKING:
    from mpi4py import MPI

ORTHONORMAL = 1e-10
"""Largest overlap error of stored orbitals, which are orthonormal to round-off when they are written."""
ROOM_FOR_NUMBERS = 2**14
"""Bytes of a geometry without its orbitals."""
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
        """Number of orbitals of each geometry; 0 of an empty store, and of one that keeps none."""
        return self.eigenvalues_sn.shape[1]

    @property
    def pending(self) -> list[int]:
        """Indices of the geometries still to be solved."""
        return [int(index) for index in np.flatnonzero(~self.finished_s)]

    def has(self, positions_av: np.ndarray) -> bool:
        """Return whether a geometry (N, 3), bohr, is finished here.  Not collective."""
        finished_sav = self.positions_sav[self.finished_s]
        return any(np.abs(other_av - positions_av).max() < SAME_GEOMETRY for other_av in finished_sav)

    def prepare(self, grid: Grid, positions_sav: np.ndarray, labels: Sequence[Mapping[str, float]], n_orbitals: int) -> None:
        """Lay out storage for these geometries; those the file has already are kept.  Collective.

        Raises
        ------
        DataFileError
            If the file holds other geometries in these places, or other numbers of orbitals.
        """
        on_rank_zero(self.comm, self._lay_out, grid.shape, np.asarray(positions_sav, float), list(labels), n_orbitals)
        self._load()

    def add(self, index: int, orbitals: Orbitals, energy: float, forces_av: np.ndarray, eigenvalues_n: np.ndarray) -> None:
        """Store the ground state of geometry ``index`` and mark it finished.  Collective.

        Orbitals that are not orthonormal to round-off are made so (Löwdin), which leaves their span.  A store without room
        for orbitals keeps the numbers.
        """
        on_rank_zero(self.comm, unseal, self.path)
        if self.n_orbitals:
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
        """Return the orbitals of one finished geometry.  Collective.  Raises DataFileError if they are not orthonormal."""
        orbitals = read_orbitals(grid, self.path, f"{_name(index)}/orbitals")
        with np.errstate(over="ignore", invalid="ignore"):
            overlap_nn = orbitals.gram()
            defect = decide(self.comm, float(np.abs(overlap_nn - np.eye(len(overlap_nn))).max(initial=0.0)))
        if not defect <= ORTHONORMAL:
            raise DataFileError(
                f"{self.path}: the orbitals of geometry {index} miss orthonormality by {defect:.1e}, where at most "
                f"{ORTHONORMAL:.0e} is expected: they are damaged. Use --overwrite to solve the geometries again."
            )
        return orbitals

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
        nothing: tuple = (np.empty((0, 0, 3)), np.empty(0), np.empty((0, 0, 3)), np.empty((0, 0)), [], np.empty(0, bool))
        if not self.path.exists():
            return nothing
        remedy = "One written by `mpiqmd train` is needed. Remove it, or use --overwrite, to solve the geometries again."
        with opened(self.path, "snapshot file", remedy) as contents:
            self._check(contents)
            count = scalar(contents.file.attrs["count"], int)
            geometries = [self._read_geometry(contents, _name(index)) for index in range(count)]
        if not geometries:
            return nothing
        *numbers, labels, finished = zip(*geometries, strict=True)
        return (*map(np.array, numbers), list(labels), np.array(finished, bool))

    def _read_geometry(self, contents: Contents, name: str) -> tuple:
        """Return positions, energy, forces, eigenvalues, label and whether it is finished; numbers only matter then."""
        finished = bool(contents.array(f"{name}/finished", "") == 1.0)
        axes = {"positions": "a 3", "energy": "", "forces": "a 3", "eigenvalues": "n"}
        numbers = [
            contents.array(f"{name}/{key}", letters, finite=finished or key == "positions") for key, letters in axes.items()
        ]
        contents.shapes.check(f"{name}/orbitals", contents.dataset(f"{name}/orbitals").shape, "n z y x")
        return *numbers, contents.mapping(contents.file[name].attrs, "label"), finished

    def _check(self, contents: Contents) -> None:
        attributes = contents.file.attrs
        if attributes.get("kind") != SNAPSHOTS:
            kind = datafiles.plain(attributes.get("kind"))
            raise DataFileError(f"{self.path}: kind {kind!r}, {SNAPSHOTS!r} is needed. Choose another file or --output folder.")
        differing = differences(contents.mapping(attributes, "signature"), self.signature)
        if differing:
            raise DataFileError(
                f"{self.path}: its snapshots belong to other physics ({listed(differing)}). Use the input "
                "they were made with, another --output folder, or --overwrite."
            )

    def _lay_out(self, shape: tuple[int, ...], positions_sav: np.ndarray, labels: list, n_orbitals: int) -> None:
        added = len(positions_sav) - len(self)
        if added > 0:
            with writing(self.path):
                require_room(self.path, added * (8 * n_orbitals * math.prod(shape) + ROOM_FOR_NUMBERS))
        if self.path.exists():
            self._check_same(positions_sav, n_orbitals, shape)
            if added > 0:
                with writing(self.path):
                    unseal(self.path)
                    with open_hdf5(self.path, "r+") as file:
                        _add_geometries(file, len(self), shape, positions_sav, labels, n_orbitals)
                    keep_room(self.path)
            return
        # A new file appears under its name only when it is whole.
        with replacing(self.path) as beside:
            with open_hdf5(beside, "w") as file:
                file.attrs["kind"] = SNAPSHOTS
                file.attrs["signature"] = json.dumps(self.signature)
                _add_geometries(file, 0, shape, positions_sav, labels, n_orbitals)
            keep_room(beside)

    def _check_same(self, positions_sav: np.ndarray, n_orbitals: int, shape: tuple[int, ...]) -> None:
        common = min(len(self), len(positions_sav))
        if common:
            with open_hdf5(self.path, "r") as file:
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

    def _write_numbers(self, index: int, energy: float, forces_av: np.ndarray, eigenvalues_n: np.ndarray) -> None:
        with writing(self.path), open_hdf5(self.path, "r+") as file:
            group = file[_name(index)]
            group["energy"][...] = energy
            group["forces"][...] = forces_av
            group["eigenvalues"][...] = np.asarray(eigenvalues_n)[: len(group["eigenvalues"])]
        to_disk(self.path)

    def _mark(self, index: int) -> None:
        with writing(self.path):
            with open_hdf5(self.path, "r+") as file:
                file[_name(index)]["finished"][...] = 1.0
            if set(self.pending) <= {index}:
                seal(self.path)
            else:
                to_disk(self.path)


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
        _describe(group, json.loads(file.attrs["signature"]))
    file.attrs["count"] = max(first, len(positions_sav))


def _describe(group: h5py.Group, physics: dict) -> None:
    """Say what the datasets of a geometry are, and where its orbitals have their points."""
    annotate(group, SNAPSHOT_DATASETS)
    if {"cell", "points", "boundary"} <= physics.keys():
        place_on_grid(group["orbitals"], physics["cell"], physics["points"], physics["boundary"])
