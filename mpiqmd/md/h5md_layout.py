"""The layout of an H5MD trajectory: header, provenance, and datasets that grow with the frames.

Layout (H5MD 1.1, www.nongnu.org/h5md): ``particles/molecule/{position,velocity,force}/{step,time,value}``
with ``species``, ``mass`` and ``box`` beside, and one group per observable.  All ``step`` and ``time`` are
hard links to one dataset each.  Every dataset has a ``description``, and a ``unit`` of :mod:`mpiqmd.md.h5md_units`
unless it is a plain number.  ``box`` has edges where it is periodic; an isolated molecule has none.

Room for frames is allocated ahead; room not used yet has step -1 and NaN values.  Nothing here is collective; rank 0 only.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import NamedTuple

import h5py
import numpy as np

import mpiqmd
from mpiqmd.md.h5md_units import FILE_UNITS, SYSTEM, describe
from mpiqmd.md.quantities import STANDARD, observable, per_atom
from mpiqmd.molecule.elements import ATOMIC_NUMBERS

VERSION = (1, 1)


class Element(NamedTuple):
    """An H5MD element of the particles: where a frame has it, its quantity and what it is."""

    field: str
    quantity: str
    description: str


ELEMENTS = {
    "position": Element("positions_av", "length", "positions of the nuclei"),
    "velocity": Element("velocities_av", "velocity", "velocities of the nuclei"),
    "force": Element("forces_av", "force", "forces on the nuclei: minus the gradient of the potential energy"),
}

FIRST = "particles/molecule/position"
"""The element whose steps and times all others share."""
EDGES = "particles/molecule/box/edges"
CHUNK_FRAMES = 256
LONGEST_ATTRIBUTE = 30_000
"""Longer strings do not fit an HDF5 attribute (64 kB); they go into a dataset of ``parameters``."""


def write_particles(file: h5py.File, symbols: tuple[str, ...], masses_a: np.ndarray, is_periodic: bool) -> None:
    """Write the header of a new file and what of the atoms does not change."""
    _write_header(file)
    molecule = file.create_group("particles/molecule")
    numbers = {symbol: ATOMIC_NUMBERS[symbol] for symbol in sorted(set(symbols))}
    species_a = [numbers[symbol] for symbol in symbols]
    species = molecule.create_dataset("species", data=species_a, dtype=h5py.enum_dtype(numbers, basetype="i4"))
    describe(species, "number", "atomic numbers, named by the symbols")
    masses = molecule.create_dataset("mass", data=masses_a * FILE_UNITS["mass"].one_atomic_unit)
    describe(masses, "mass", "masses of the nuclei")
    box = molecule.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = np.array(["periodic" if is_periodic else "none"] * 3, dtype="S8")


def create_series(file: h5py.File, n_atoms: int, box_v: np.ndarray | None) -> None:
    """Create the datasets that grow with the frames, with room for the first of them."""
    first = file.create_group(FIRST)
    describe(_create_growing(first, "step", (), "i8", -1), "number", "integration steps; -1 is room not used yet")
    describe(_create_growing(first, "time", (), "f8", np.nan), "time", "times of the frames")
    for name, element in ELEMENTS.items():
        values = _create_element(file, f"particles/molecule/{name}", (n_atoms, 3))
        describe(values, element.quantity, element.description)
    if box_v is not None:
        # A fixed box could be stored once, but readers in use expect its time-dependent form.
        edges = _create_element(file, EDGES, (3,))
        edges[:] = np.asarray(box_v, dtype=float) * FILE_UNITS["length"].one_atomic_unit
        describe(edges, "length", "edges of the cell")
    for name in STANDARD:
        create_observable(file, name)


def create_observable(file: h5py.File, name: str) -> None:
    """Create an observable, NaN in the frames there are already."""
    known = observable(name)
    describe(_create_element(file, f"observables/{name}", ()), known.quantity, known.description)


def create_per_atom(file: h5py.File, name: str) -> None:
    """Create the series of a number of each atom, with room for the frames that there are."""
    n_atoms = len(file["particles/molecule/species"])
    known = per_atom(name)
    describe(_create_element(file, f"particles/molecule/{name}", (n_atoms,)), known.quantity, known.description)


def per_atom_series(file: h5py.Group) -> list[str]:
    """Return the names of the numbers of each atom in a file."""
    molecule = file["particles/molecule"]
    groups = [name for name in molecule if isinstance(molecule[name], h5py.Group) and name not in ELEMENTS]
    return [name for name in groups if "value" in molecule[name]]


def all_series(file: h5py.File) -> list[h5py.Dataset]:
    """Return every dataset with one entry per frame, the steps first."""
    groups = [*file["particles/molecule"].values(), *file["observables"].values(), file.get(EDGES, {})]
    values = [group["value"] for group in groups if "value" in group]
    return [file[f"{FIRST}/step"], file[f"{FIRST}/time"], *values]


def resize(file: h5py.File, length: int) -> None:
    """Give every series room for ``length`` frames; the box is the same in all of them."""
    edges = file[f"{EDGES}/value"] if EDGES in file else None
    before = len(file[f"{FIRST}/step"])
    for series in all_series(file):
        series.resize(length, axis=0)
    if edges is not None and 0 < before < length:
        edges[before:] = edges[0]


def write_attributes(file: h5py.File, attributes: Mapping[str, str | int | float]) -> None:
    """Write provenance; what is too long for an attribute becomes a dataset of ``parameters``."""
    for key, value in attributes.items():
        if isinstance(value, str) and len(value.encode()) > LONGEST_ATTRIBUTE:
            parameters = file.require_group("parameters")
            if key in parameters:
                del parameters[key]
            parameters[key] = value
        else:
            file.attrs[key] = value


def _write_header(file: h5py.File) -> None:
    """Write the ``h5md`` group that makes the file an H5MD file."""
    header = file.create_group("h5md")
    header.attrs["version"] = np.array(VERSION, dtype="i4")
    author = header.create_group("author")
    author.attrs.update({key: np.bytes_(value.encode()) for key, value in _author().items()})
    creator = header.create_group("creator")
    creator.attrs["name"] = np.bytes_("mpiqmd")
    creator.attrs["version"] = np.bytes_(mpiqmd.__version__)
    units = header.create_group("modules/units")
    units.attrs["version"] = np.array((1, 0), dtype="i4")
    units.attrs["system"] = np.bytes_(SYSTEM)


def _author() -> dict[str, str]:
    """Return who runs the job: the account's full name, or its login, and the address in the variable EMAIL.

    Containers may have no name for a user.
    """
    try:
        account = pwd.getpwuid(os.getuid())
        name = account.pw_gecos.split(",")[0].strip() or account.pw_name
    except KeyError:
        name = os.environ.get("USER", "unknown")
    email = os.environ.get("EMAIL", "")
    return {"name": name} | ({"email": email} if "@" in email else {})


def _create_element(file: h5py.File, path: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Create one H5MD element that shares the steps and times of the positions, and return its values."""
    group, first = file.require_group(path), file[FIRST]
    values = _create_growing(group, "value", shape, "f8", np.nan, len(first["step"]))
    for name in ("step", "time"):
        if name not in group:
            group[name] = first[name]
    return values


def _create_growing(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str, fill: float, length: int = CHUNK_FRAMES
) -> h5py.Dataset:
    """Create a dataset that grows along its first axis and has its room allocated at once."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_value(np.array(fill, dtype=dtype))
    creation.set_chunk((CHUNK_FRAMES, *shape))
    space = h5py.h5s.create_simple((length, *shape), (h5py.h5s.UNLIMITED, *shape))
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=creation))
