"""The reduced model as one portable HDF5 file: all that the online stage needs and where it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mpiqmd import __version__, datafiles
from mpiqmd.datafiles import (
    UNFINISHED,
    Contents,
    Unfit,
    open_hdf5,
    opened,
    require_room,
    scalar,
    seal,
    unseal,
    writing,
)
from mpiqmd.datasets import MODEL_DATASETS, annotate, place_on_grid
from mpiqmd.errors import ConfigError
from mpiqmd.grid.arrays import Orbitals
from mpiqmd.grid.grid import Grid
from mpiqmd.grid.hdf5 import open_shared, read_orbitals, write_orbitals
from mpiqmd.molecule.symmetry import Symmetry
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.rom.basis import ReducedBasis
from mpiqmd.rom.kinds import MODEL
from mpiqmd.rom.sampled_box import SampledBox
from mpiqmd.rom.signature import differences, listed, plain

if TYPE_CHECKING:
    from mpi4py import MPI

FORMAT = 4
"""Version of the layout: 1 had no checksum."""
ROOM_FOR_THE_REST = 2**20
"""Bytes for what is small."""


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
    symmetries
        Operations that the snapshots were closed under, a group without its identity.
    arrays
        Further replicated arrays by path, such as a grid-free model's.
    notes
        Whatever else is worth keeping with the file, plain data.
    code_version
        Version of mpiqmd that made it.
    source
        The file it was loaded from, for messages.
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
    symmetries: Sequence[Symmetry] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = __version__
    source: str = "the reduced model"

    @property
    def rank(self) -> int:
        """Number of modes."""
        return self.basis.rank

    def check(self, signature: Mapping[str, object]) -> None:
        """Raise ConfigError, naming what differs, unless the model belongs to this physics."""
        differing = differences(self.signature, signature)
        if differing:
            raise ConfigError(
                f"{self.source} was made for other physics: {listed(differing)}. These must agree: use the "
                "model's own settings (`mpiqmd info` shows them), or train a model with this input."
            )

    def is_made_of(self, recipe: Mapping[str, object], positions_sav: np.ndarray, energies_s: np.ndarray) -> bool:
        """Return whether the notes have this recipe and the training these geometries (bohr) and energies (Ha)."""
        same = self.notes.get("recipe") == plain(recipe)
        same = same and np.array_equal(self.training_positions_sav, positions_sav)
        return bool(same and np.array_equal(self.training_energies_s, energies_s))

    def save(self, path: str | Path) -> None:
        """Write the model to one file, which appears under its name only when it is complete.  Collective."""
        path, comm = Path(path), self.basis.modes.grid.comm
        beside = path.with_name(path.name + UNFINISHED)
        try:
            on_rank_zero(comm, self._write_replicated, beside)
            with open_shared(beside, "r+", comm) as file:
                write_orbitals(file, "modes", self.basis.modes)
            on_rank_zero(comm, _finish, beside, path)
        except BaseException:
            # On a full disk what is unfinished would keep it full.
            if comm.rank == 0:
                beside.unlink(missing_ok=True)
            raise

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
            If it belongs to other physics; the first differing fields are named with both values.
        """
        parts = on_rank_zero(comm, _read_replicated, Path(path))
        parts["box"] = SampledBox(**parts["box"])
        description = parts.pop("basis")
        stored = parts["signature"]
        if grid is None:
            grid = Grid(comm, stored["cell"], stored["points"], stored["order"], stored["boundary"])
        expected = {**stored, **grid.signature()} if signature is None else dict(signature)
        stub = cls(basis=ReducedBasis(modes=Orbitals.zeros(grid, 0), **description), **parts)
        stub.check(expected)
        modes = read_orbitals(grid, path, "modes")
        return cls(basis=ReducedBasis(modes=modes, **description), **parts)

    def _write_replicated(self, path: Path) -> None:
        basis = self.basis
        arrays = [*self.arrays.values(), self.training_orbitals_smn, self.training_forces_sav]
        modes = 8 * basis.rank * basis.modes.grid.size
        # a link or a pipe in its place would lead elsewhere
        with writing(path):
            path.unlink(missing_ok=True)
            require_room(path, modes + sum(array.nbytes for array in arrays) + ROOM_FOR_THE_REST)
        with writing(path), open_hdf5(path, "w") as file:
            file.attrs.update({"kind": MODEL, "format": FORMAT, "code_version": self.code_version, "rank": basis.rank})
            file.attrs.update({"frame": self.frame, "signature": json.dumps(plain(self.signature))})
            file.attrs["notes"] = json.dumps(plain(self.notes))
            values = file.create_dataset("singular_values", data=basis.singular_values_k)
            values.attrs.update({name: getattr(basis, name) for name in _BASIS_NUMBERS})
            file["symmetries/axes"] = np.array([each.axes for each in self.symmetries], int).reshape(-1, 3)
            file["symmetries/signs"] = np.array([each.signs_v for each in self.symmetries], int).reshape(-1, 3)
            permutations_ga = np.array([each.permutation_a for each in self.symmetries], int)
            file["symmetries/permutations"] = permutations_ga.reshape(-1, len(self.reference_av))
            reference = file.create_group("reference")
            reference["positions"], reference["masses"] = self.reference_av, self.masses_a
            training = file.create_group("training")
            training["positions"], training["energies"] = self.training_positions_sav, self.training_energies_s
            training["forces"], training["orbitals"] = self.training_forces_sav, self.training_orbitals_smn
            box = file.create_group("box")
            box.attrs.update({"names": json.dumps(self.box.names), "vertex": json.dumps(self.box.vertex)})
            box["lower"], box["upper"] = self.box.lower_k, self.box.upper_k
            for name, array in self.arrays.items():
                file[f"arrays/{name}"] = array


_BASIS_NUMBERS = {"rank_sigma": int, "rank_sigma2": int, "criterion": str, "energy_fraction": float, "n_snapshots": int}


def read_notes(path: Path) -> dict[str, Any]:
    """Return the notes of a model file.  Not collective.  Raises DataFileError if it is no model or is damaged."""
    with _opened(path) as contents:
        return contents.mapping(contents.file.attrs, "notes")


def read_reference(path: Path) -> tuple[np.ndarray, str]:
    """Return the reference geometry of a model file, shape (N, 3), bohr, and the name of its body frame.  Not collective.

    Raises DataFileError if it is no model or is damaged.
    """
    with _opened(path) as contents:
        return contents.array("reference/positions", "a 3"), scalar(contents.file.attrs["frame"], str)


def complete_model(draft: Path, path: Path, notes: Mapping[str, Any]) -> None:
    """Write the last notes into a model file, seal it anew and give it its final name.  Not collective: rank 0 calls it.

    Modes and arrays stay where they are on the disk.  A kill before the end leaves the draft, damaged at worst, and no file
    under the final name.  Raises DataFileError.
    """
    with writing(draft):
        unseal(draft)
        with open_hdf5(draft, "r+") as file:
            file.attrs["notes"] = json.dumps(plain(notes))
        seal(draft)
        os.replace(draft, path)


def _finish(beside: Path, path: Path) -> None:
    """Describe and seal what is written, which waits for the disk, and give it its name."""
    with writing(path):
        with h5py.File(beside, "r+") as file:
            annotate(file, MODEL_DATASETS)
            physics = json.loads(file.attrs["signature"])
            place_on_grid(file["modes"], *(physics[name] for name in ("cell", "points", "boundary")))
        seal(beside)
        os.replace(beside, path)


def _read_replicated(path: Path) -> dict:
    with _opened(path) as contents:
        return _parts(contents)


@contextmanager
def _opened(path: Path) -> Iterator[Contents]:
    """Open a file that is a model of this format."""
    remedy = (
        "A model.h5 written by `mpiqmd train` of this version is needed. Train it again: snapshots that are solved are kept."
    )
    with opened(path, MODEL, remedy, must_be_sealed=True) as contents:
        attributes = contents.file.attrs
        if attributes.get("kind") != MODEL or attributes.get("format") != FORMAT:
            kind, version = (datafiles.plain(attributes.get(name)) for name in ("kind", "format"))
            raise Unfit(f"kind {kind!r}, format {version!r}, where {MODEL!r}, {FORMAT} are expected")
        yield contents


def _parts(contents: Contents) -> dict:
    attributes, array = contents.file.attrs, contents.array
    names = tuple(scalar(name, str) for name in json.loads(contents.file["box"].attrs["names"]))
    parts = {
        "basis": _basis(contents),
        "signature": contents.mapping(attributes, "signature"),
        "frame": scalar(attributes["frame"], str),
        "reference_av": array("reference/positions", "a 3"),
        "masses_a": contents.positive("reference/masses", "a"),
        "training_positions_sav": array("training/positions", "s a 3"),
        "training_energies_s": array("training/energies", "s"),
        "training_forces_sav": array("training/forces", "s a 3"),
        "training_orbitals_smn": array("training/orbitals", "s m n"),
        "box": {
            "names": names,
            "lower_k": array("box/lower", "k"),
            "upper_k": array("box/upper", "k"),
            "vertex": json.loads(contents.file["box"].attrs["vertex"]),
        },
        "symmetries": _symmetries(contents),
        "arrays": contents.arrays("arrays"),
        "notes": contents.mapping(attributes, "notes"),
        "code_version": scalar(attributes["code_version"], str),
        "source": contents.file.filename,
    }
    contents.shapes.check("modes", contents.dataset("modes").shape, "m z y x")
    if len(names) != contents.shapes.lengths["k"] or parts["box"]["vertex"] not in (None, 0, 1, 2):
        raise Unfit("names and bounds of the sampled box do not belong together")
    _check_values(parts)
    return parts


def _symmetries(contents: Contents) -> list[Symmetry]:
    axes, signs = (contents.array(f"symmetries/{name}", "g 3", integer=True) for name in ("axes", "signs"))
    permutations = contents.array("symmetries/permutations", "g a", integer=True)
    orders_are_whole = (np.sort(axes) == np.arange(3)).all() and (
        np.sort(permutations) == np.arange(permutations.shape[1])
    ).all()
    if not orders_are_whole or (np.abs(signs) != 1).any():
        raise Unfit("symmetry operations are no signed permutations of axes and permutations of atoms")
    rows = zip(axes.tolist(), signs.astype(float), permutations, strict=True)
    return [Symmetry((x, y, z), signs_v, permutation_a) for (x, y, z), signs_v, permutation_a in rows]


def _check_values(parts: dict) -> None:
    """Raise Unfit where numbers cannot be what they stand for."""
    if (parts["box"]["lower_k"] > parts["box"]["upper_k"]).any():
        raise Unfit("a lower bound of the sampled box is above its upper bound")
    if (parts["basis"]["singular_values_k"] < 0.0).any():
        raise Unfit("a singular value is negative")


def _basis(contents: Contents) -> dict:
    attributes = contents.file["singular_values"].attrs
    contents.shapes.lengths["m"] = scalar(contents.file.attrs["rank"], int)
    return {
        "singular_values_k": contents.array("singular_values", "values"),
        **{name: scalar(attributes[name], kind) for name, kind in _BASIS_NUMBERS.items()},
    }
