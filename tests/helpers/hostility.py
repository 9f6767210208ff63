"""HDF5 files made to harm whoever reads them: whole and sealed, with contents that lead elsewhere, are not plain or do not end.

Every trick changes an open file, mostly in the place of something that is read; ``elsewhere`` is a copy of the good file
that no reader may open.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from mpiqmd.datafiles import seal, unseal

Rng = np.random.Generator
ELSEWHERE = "elsewhere.h5"
STRINGS = (
    "\x1b[2J\x1b[H",
    "\x1b]0;PWNED\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "a\nmpiqmd: error: all is lost\n",
    "\r\x1b[1A\x1b[K",
    "\u202egnp.exe\u2066",
    "\x9b31m\x85\x7f",
    "x" * 60_000,
    "a\u0301" * 9000,
    "%s%n{0}{}$(touch PWNED)`id`",
    "$\\frac{1}{0}$",
)


def names_in(file: h5py.File, kind: type = h5py.Dataset) -> list[str]:
    """All that is in the file, of one kind."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return found


def some(values: list, rng: Rng):
    return values[rng.integers(len(values))]


def external_link(file: h5py.File, rng: Rng, path: Path) -> str:
    """In the place of a group or an array, to what is read from the good file in this place; or beside them."""
    name = some(names_in(file, h5py.HLObject), rng)
    target = some([name, "/", "/nothing"], rng)
    place = name if rng.random() < 0.7 else f"{name}-more"
    if place == name:
        del file[name]
    where = some([ELSEWHERE, str(path.with_name(ELSEWHERE)), "/etc/passwd", "/dev/zero", path.name], rng)
    file[place] = h5py.ExternalLink(where, target)
    return f"{place} -> {where} {target}"


def soft_link(file: h5py.File, rng: Rng, path: Path) -> str:
    """To the thing itself under another name, to itself, to nothing."""
    name = some(names_in(file, h5py.HLObject), rng)
    if rng.random() < 0.5:
        file.move(name, "moved")
        target = "/moved"
    else:
        target = some([f"/{name}", "/nothing", "/", "."], rng)
        del file[name]
    file[name] = h5py.SoftLink(target)
    return f"{name} -> {target}"


def external_storage(file: h5py.File, rng: Rng, path: Path) -> str:
    """The bytes of an array in another file."""
    name = some(names_in(file), rng)
    old = file[name]
    shape, dtype, n_bytes = old.shape, old.dtype, max(8, old.nbytes)
    del file[name]
    if dtype.kind == "O":
        dtype, n_bytes = np.dtype("u1"), max(1, int(np.prod(shape)))
    where = some([ELSEWHERE, str(path.with_name(ELSEWHERE)), "/etc/passwd"], rng)
    file.create_dataset(name, shape=shape or (1,), dtype=dtype, external=[(where, 0, n_bytes)])
    return f"{name} in {where}"


def virtual(file: h5py.File, rng: Rng, path: Path) -> str:
    """An array made of the good file's, or of others of the same file."""
    name = some([name for name in names_in(file) if file[name].shape], rng)
    shape, dtype = file[name].shape, file[name].dtype
    source, here = some([(ELSEWHERE, name), (str(path.with_name(ELSEWHERE)), name), (".", "moved")], rng)
    file.move(name, "moved")
    layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
    layout[...] = h5py.VirtualSource(source, here, shape=shape)
    file.create_virtual_dataset(name, layout)
    return f"{name} of {source}"


def references(file: h5py.File, rng: Rng, path: Path) -> str:
    """To objects or regions, as an array or as an attribute."""
    name = some(names_in(file), rng)
    target, shape = file[name], file[name].shape
    reference = target.ref if rng.random() < 0.5 or not shape else target.regionref[...]
    kind = h5py.ref_dtype if isinstance(reference, h5py.Reference) and not isinstance(reference, h5py.RegionReference) else None
    if rng.random() < 0.5:
        file.attrs.create(some(["kind", "signature", "frame", "more"], rng), reference, dtype=kind or h5py.regionref_dtype)
        return f"attribute to {name}"
    other = some([each for each in names_in(file) if each != name], rng)
    del file[other]
    file.create_dataset(other, data=np.array([reference], dtype=object), dtype=kind or h5py.regionref_dtype)
    return f"{other} to {name}"


def hard_links(file: h5py.File, rng: Rng, path: Path) -> str:
    """A group inside itself, or one under two names."""
    groups = ["/", *names_in(file, h5py.Group)]
    inside, target = some(groups, rng), some(groups, rng)
    file[inside]["again"] = file[target]
    return f"{inside} has {target}"


def strings(file: h5py.File, rng: Rng, path: Path) -> str:
    """For whoever looks at the file: in values and names of attributes, in names of arrays and groups."""
    text = some(list(STRINGS), rng)
    owners = [file, *(file[name] for name in names_in(file, h5py.HLObject))]
    owner = some(owners, rng)
    match rng.integers(4):
        case 0:
            with_attributes = [each for each in owners if len(each.attrs)]
            owner = some(with_attributes, rng)
            name = some(list(owner.attrs), rng)
            owner.attrs[name] = text
        case 1:
            owner.attrs[text[:500]] = text
        case 2:
            file[text[:3000].replace("/", "|")] = np.arange(3.0)
        case _:
            name = some(names_in(file, h5py.HLObject), rng)
            file.move(name, f"{name}{text[:3000].replace('/', '|')}")
    return repr(text[:20])


def attributes(file: h5py.File, rng: Rng, path: Path) -> str:
    """Very many, or very large ones."""
    owner = some([file, *(file[name] for name in names_in(file, h5py.HLObject))], rng)
    if rng.random() < 0.5:
        for index in range(1500):
            owner.attrs[f"a{index}"] = index
        return "many"
    owner.attrs["large"] = some([np.zeros(8000), np.array(["y" * 30] * 1000, dtype=object), np.zeros((20, 20, 20))], rng)
    return "large"


def bomb(file: h5py.File, rng: Rng, path: Path) -> str:
    """A small file's array that unpacks to gigabytes: as a whole, or one chunk of it."""
    name = some(names_in(file), rng)
    # of an array without elements no chunk can be written: HDF5 1.10 crashes
    shape, dtype = tuple(max(1, length) for length in file[name].shape or (1,)), np.dtype("f8")
    chunk = tuple(max(1, int(1.5e8 ** (1 / len(shape)))) for _ in shape)
    if rng.random() < 0.5:
        shape = chunk
    del file[name]
    made = file.create_dataset(
        name, shape=shape, maxshape=(None,) * len(shape), chunks=chunk, dtype=dtype, compression="gzip", compression_opts=9
    )
    made.id.write_direct_chunk((0,) * len(shape), _zeros_packed())
    return f"{name} {shape} in chunks of {chunk}"


def _zeros_packed() -> bytes:
    import zlib

    return zlib.compress(bytes(1 << 22))


def filters(file: h5py.File, rng: Rng, path: Path) -> str:
    """Arrays packed as no file of ours is: by a built-in filter, which is harmless, or by a plug-in."""
    numbers = [name for name in names_in(file) if file[name].shape and file[name].dtype.kind in "iuf"]
    name = some([name for name in numbers if h5py.check_enum_dtype(file[name].dtype) is None], rng)
    values = file[name][()]
    del file[name]
    kind = some(
        [{"compression": "lzf"}, {"compression": "gzip", "shuffle": True}, {"scaleoffset": 3}, {"fletcher32": True}], rng
    )
    if not values.size:
        values = np.zeros((1,) * values.ndim)
    file.create_dataset(name, data=values, chunks=True, **kind)
    return f"{name} {kind}"


def deep(file: h5py.File, rng: Rng, path: Path) -> str:
    """Groups in groups, hundreds of them; or a thousand beside each other."""
    place = file[some(["/", *names_in(file, h5py.Group)], rng)]
    if rng.random() < 0.5:
        for index in range(1000):
            place.create_group(f"g{index}")
        return "wide"
    for _ in range(int(rng.choice([15, 40, 900]))):
        place = place.create_group("d")
    return "deep"


def types(file: h5py.File, rng: Rng, path: Path) -> str:
    """The array with values of another type, as many as there were."""
    name = some(names_in(file), rng)
    shape = file[name].shape or ()
    made = some(list(_TYPES), rng)
    del file[name]
    file.create_dataset(name, shape=shape, dtype=made)
    return f"{name} of {made}"


_TYPES = (
    np.dtype([("a", "f8"), ("b", "i4")]),
    h5py.vlen_dtype(np.float64),
    h5py.vlen_dtype(np.dtype("i1")),
    h5py.enum_dtype({"\x1b[31m": 1, "H": 2}, basetype="i4"),
    np.dtype("V16"),
    h5py.string_dtype(),
    h5py.string_dtype("ascii", 12),
    np.dtype("f2"),
    np.dtype(">f8"),
    np.dtype("f16"),
    np.dtype(">i2"),
    np.dtype("c16"),
    np.dtype("?"),
    np.dtype("u8"),
    np.dtype(("f8", (3,))),
)


def committed(file: h5py.File, rng: Rng, path: Path) -> str:
    """A named type, in the place of something or used by it."""
    name = some(names_in(file), rng)
    shape = file[name].shape or ()
    file["type"] = np.dtype("f8")
    del file[name]
    if rng.random() < 0.5:
        file[name] = np.dtype("f8")
    else:
        file.create_dataset(name, shape=shape, dtype=file["type"])
        del file["type"]
    return name


def strings_that_share(file: h5py.File, rng: Rng, path: Path) -> str:
    """Very many references to strings in few bytes."""
    name = some(names_in(file), rng)
    del file[name]
    file.create_dataset(name, data=np.array(["z" * 1000] * 3000, dtype=object), dtype=h5py.string_dtype())
    return name


TRICKS: tuple[Callable[[h5py.File, Rng, Path], str], ...] = (
    external_link,
    external_link,
    soft_link,
    external_storage,
    external_storage,
    virtual,
    virtual,
    references,
    hard_links,
    strings,
    strings,
    strings,
    attributes,
    bomb,
    filters,
    deep,
    types,
    types,
    committed,
    strings_that_share,
)


def other_replica(file: h5py.File, rng: Rng, path: Path) -> str:
    """An index of replicas that leads elsewhere than to the trajectories beside it."""
    name = some(["replica-0001", "replica-0009", "replica-1", "more", "replica-0001\x1b[2J", "../replica-0001"], rng)
    where = some(["replica-0001/trajectory.h5", ELSEWHERE, "../replica-0001/trajectory.h5", "/etc/passwd", "/dev/zero"], rng)
    place = some(["/", "inside"], rng)
    group = file.require_group(place)
    if name in group:
        del group[name]
    group[name] = some([h5py.ExternalLink(where, some(["/", "/h5md"], rng)), h5py.SoftLink("/replica-0000")], rng)
    return f"{place} {name} -> {where}"


def other_kind(file: h5py.File, rng: Rng, path: Path) -> str:
    """An index whose kind is another, or no text, so that its links are of no use."""
    del file.attrs["kind"]
    value = some([3, "snapshots", np.zeros(2), np.array(["replicas"] * 2, dtype=object), h5py.Empty("f8"), file.ref], rng)
    file.attrs["kind"] = value
    return str(value)


def hostile(path: Path, rng: Rng, tricks: tuple[Callable, ...] = TRICKS) -> str:
    """Play one trick on a file and seal it, with a copy of the good one beside it."""
    elsewhere = path.with_name(ELSEWHERE)
    elsewhere.write_bytes(path.read_bytes())
    unseal(path)
    trick = some(list(tricks), rng)
    with h5py.File(path, "r+", libver=("earliest", "latest")) as file:
        done = trick(file, rng, path)
    seal(path)
    return f"{trick.__name__} {done[:80]}"


def hostile_index(path: Path, rng: Rng) -> str:
    """The same for an index of replicas, which has nothing but links."""
    return hostile(path, rng, (other_replica, other_replica, other_kind))


class Watch:
    """Whether a file has been opened since: the kernel tells (inotify)."""

    OPENED = 0x20

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK)
        if self._descriptor < 0 or self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), self.OPENED) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def opened(self) -> bool:
        """Return it, and end the watch."""
        try:
            return struct.calcsize("iIII") <= len(os.read(self._descriptor, 4096))
        except BlockingIOError:
            return False
        finally:
            os.close(self._descriptor)
