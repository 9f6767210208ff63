"""Is an HDF5 file what it seems: all of its data inside it, of plain types, in a tree that ends?

An HDF5 file may name other files as the place of a group (external link) or of an array's bytes (external storage,
virtual datasets), and reading it then reads those: a password file, a pipe that never answers.  No file of ours but the
index of replicas does that, and a checksum over one file cannot vouch for another.  The walk here opens nothing outside:
links are looked at, not followed, and of an array only its description is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h5py
from h5py import h5a, h5d, h5l, h5o, h5t, h5z

PLAIN_TYPES = {h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM}
BUILT_IN_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
DEEPEST = 16
"""Levels of groups: ours have five at most."""
MOST_OBJECTS, MOST_ATTRIBUTES, MOST_STRINGS = 300_000, 1000, 64
SMALLEST_LIMIT = 2**26
"""Bytes that a chunk may have in any file; larger ones must be in it."""
REPLICAS = "replicas"
"""What the attribute ``kind`` says of the one file that links others."""
REPLICA_NAME = re.compile(r"replica-\d{4,9}")


class Unfit(ValueError):
    """What is wrong with a file, in a few words; :func:`mpiqmd.datafiles.reading` makes a whole message of it."""


@dataclass(frozen=True)
class _Place:
    """A group in the walk, with its name in the file and its level."""

    group: h5py.h5g.GroupID
    name: str
    level: int


def require_self_contained(file: h5py.File, size: int) -> None:
    """Look through an open file of ``size`` bytes.  Raises Unfit for anything that leads out of it or is not plain."""
    pending, seen = [_Place(file.id, "", 0)], {h5o.get_info(file.id).addr}
    links_replicas = is_replicas(file)
    _check_attributes(h5o.open(file.id, b"/"), "", size)
    while pending:
        place = pending.pop()
        for key in place.group:
            name = f"{place.name}/{key.decode(errors='replace')}".removeprefix("/")
            kind = place.group.links.get_info(key).type
            if kind == h5l.TYPE_EXTERNAL and links_replicas and place.level == 0:
                _check_replica(place.group, key)
                continue
            if kind != h5l.TYPE_HARD:
                raise Unfit(f"{name} is {_LINKS.get(kind, 'an unknown kind of link')}, where data are expected")
            about = h5o.get_info(place.group, key)
            is_new = about.addr not in seen
            seen.add(about.addr)
            if about.type == h5o.TYPE_GROUP:
                pending.append(_entered(place, key, name, is_new))
            elif about.type != h5o.TYPE_DATASET:
                raise Unfit(f"{name} is neither a group nor an array")
            if is_new:
                _check_object(h5o.open(place.group, key), name, size)
        if len(seen) > MOST_OBJECTS:
            raise Unfit(f"it holds more than {MOST_OBJECTS} objects")


_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}


def is_replicas(file: h5py.File) -> bool:
    """Return whether an open file is one that links replicas, whatever else it holds."""
    if "kind" not in file.attrs or h5a.open(file.id, b"kind").get_type().get_class() != h5t.STRING:
        return False
    return str(file.attrs["kind"]) == REPLICAS


def _check_replica(group: h5py.h5g.GroupID, key: bytes) -> None:
    """Raise Unfit unless a link leads to the trajectory in the folder of its name, beside this file."""
    name = key.decode(errors="replace")
    is_external = group.links.get_info(key).type == h5l.TYPE_EXTERNAL
    expected = (f"{name}/trajectory.h5".encode(), b"/")
    if not REPLICA_NAME.fullmatch(name) or not is_external or group.links.get_val(key) != expected:
        raise Unfit(f"{name} is no link to replica-NNNN/trajectory.h5 beside this file")


def _entered(place: _Place, key: bytes, name: str, is_new: bool) -> _Place:
    if not is_new:
        raise Unfit(f"{name} is a group that is in the file under another name too")
    if place.level >= DEEPEST:
        raise Unfit(f"{name} is deeper than {DEEPEST} groups")
    return _Place(h5py.h5g.open(place.group, key), name, place.level + 1)


def _check_object(item: h5py.h5g.GroupID | h5d.DatasetID, name: str, size: int) -> None:
    if isinstance(item, h5d.DatasetID):
        _check_storage(item.get_create_plist(), name)
        _check_type(item.get_type(), item.get_space(), name)
        _check_chunks(item, name, size)
    _check_attributes(item, name, size)


def _check_storage(creation: h5py.h5p.PropDCID, name: str) -> None:
    """Raise Unfit unless an array's bytes are in the file itself, as anybody's HDF5 can read them."""
    if creation.get_external_count():
        raise Unfit(f"the bytes of {name} are in another file, {creation.get_external(0)[0].decode(errors='replace')}")
    if creation.get_layout() == h5d.VIRTUAL:
        raise Unfit(f"{name} is a virtual array, made of others")
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if filters - BUILT_IN_FILTERS:
        raise Unfit(f"{name} needs the HDF5 filter {min(filters - BUILT_IN_FILTERS)}, which no file of ours does")


def _check_type(kind: h5t.TypeID, space: h5py.h5s.SpaceID, name: str) -> None:
    """Raise Unfit unless values are numbers or strings; several strings may share their bytes, so there may be few."""
    if kind.get_class() not in PLAIN_TYPES:
        raise Unfit(f"{name} holds {_TYPES.get(kind.get_class(), 'values of an unknown type')}, not numbers or text")
    is_variable = kind.get_class() == h5t.STRING and kind.is_variable_str()
    if is_variable and space.get_simple_extent_npoints() > MOST_STRINGS:
        raise Unfit(f"{name} holds {space.get_simple_extent_npoints()} strings, at most {MOST_STRINGS} are expected")


_TYPES = {
    h5t.REFERENCE: "references",
    h5t.COMPOUND: "records",
    h5t.VLEN: "lists",
    h5t.OPAQUE: "opaque bytes",
    h5t.ARRAY: "arrays",
    h5t.BITFIELD: "bits",
    h5t.TIME: "times",
}


def _check_chunks(item: h5d.DatasetID, name: str, size: int) -> None:
    """Raise Unfit if one chunk, which is unpacked as a whole, is larger than the file and large."""
    creation = item.get_create_plist()
    if creation.get_layout() != h5d.CHUNKED:
        return
    n_bytes = item.get_type().get_size()
    for length in creation.get_chunk():
        n_bytes *= length
    if n_bytes > max(size, SMALLEST_LIMIT):
        raise Unfit(f"{name} has chunks of {n_bytes} bytes, more than the file has")


def _check_attributes(item: h5py.h5g.GroupID | h5d.DatasetID, name: str, size: int) -> None:
    count = h5a.get_num_attrs(item)
    if count > MOST_ATTRIBUTES:
        raise Unfit(f"{name or 'the file'} has {count} attributes, at most {MOST_ATTRIBUTES} are expected")
    for index in range(count):
        attribute = h5a.open(item, index=index)
        shown = f"{name} @{attribute.name.decode(errors='replace')}".lstrip()
        _check_type(attribute.get_type(), attribute.get_space(), shown)
        if attribute.get_storage_size() > size:
            raise Unfit(f"{shown} would take {attribute.get_storage_size()} bytes, more than the file has")
