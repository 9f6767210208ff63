"""Files that are read: HDF5 files sealed with a checksum when they are whole, and all of them taken apart with care.

A sealed file ends with a mark and the SHA-256 of everything before it; HDF5 ignores what follows its own end, so other
programs read the file as ever.  A seal that does not fit is found before the HDF5 library sees a byte.  A file that is
still being written, or whose writer was killed, has no seal and is read with all other checks: sizes that agree with each
other, no more numbers than the file has bytes for, no NaN where a number must be.

Nothing here is collective; where several ranks share a file, one of them calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from mpiqmd.errors import DataFileError, MpiqmdError
from mpiqmd.printable import printable
from mpiqmd.regular import in_words, require_regular
from mpiqmd.selfcontained import Unfit, require_self_contained

SEAL_MARK = b"mpiqmd\0S"
UNFINISHED = ".part"
"""What a file is called besides its name until it is whole."""
LONGEST_REASON = 300
"""Characters of another library's message."""
SEAL_SIZE = len(SEAL_MARK) + hashlib.sha256().digest_size


def sealed(content: bytes) -> bytes:
    """Return the contents of a file with its seal."""
    return content + SEAL_MARK + hashlib.sha256(content).digest()


def seal(path: Path) -> None:
    """Put the seal on a file that is whole, and wait until all of it is on the disk."""
    with open(path, "r+b") as stream:
        digest = _digest(stream, os.path.getsize(path))
        stream.write(SEAL_MARK + digest)
        stream.flush()
        os.fsync(stream.fileno())


def unseal(path: Path) -> None:
    """Take the seal off a file that is about to change."""
    if stored_digest(path) is not None:
        os.truncate(path, os.path.getsize(path) - SEAL_SIZE)


def stored_digest(path: Path) -> str | None:
    """Return the SHA-256 that a file carries, as 64 hexadecimal digits; None without a seal.

    Raises OSError if it is no regular file: opening a pipe may last for ever.
    """
    size = require_regular(path)
    with open(path, "rb") as stream:
        stream.seek(max(0, size - SEAL_SIZE))
        tail = stream.read(SEAL_SIZE)
    is_sealed = len(tail) == SEAL_SIZE and tail.startswith(SEAL_MARK)
    return tail[len(SEAL_MARK) :].hex() if is_sealed else None


def check_seal(path: Path, required: bool = False) -> bool:
    """Return whether a file is sealed.

    Raises Unfit if its checksum does not match, or if it has none although one is ``required``.
    """
    stored, size = stored_digest(path), os.path.getsize(path)
    if stored is None:
        if required:
            raise Unfit(f"damaged, cut short or of another kind: its {size} bytes do not end with a checksum")
        return False
    with open(path, "rb") as stream:
        if _digest(stream, size - SEAL_SIZE).hex() == stored:
            return True
    if not required and stored_digest(path) != stored:
        # A run has just taken the file up again.
        return False
    raise Unfit(f"damaged: the checksum of its {size} bytes does not match")


def _digest(stream: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of the next ``size`` bytes of a stream."""
    digest = hashlib.sha256()
    while size > 0 and (block := stream.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.digest()


@contextmanager
def reading(path: Path, kind: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong while the body of a ``with`` block reads a file into an error that names the file.

    Parameters
    ----------
    path
        The file.
    kind
        What it should be, as it appears in messages: ``"reduced model"``.
    remedy
        What is needed and what to do, one or two sentences.

    Raises
    ------
    DataFileError
        There is no such file; and as in :func:`taking_apart`.
    """
    try:
        require_regular(path)
    except OSError as problem:
        raise DataFileError(f"cannot read the {kind} {path}: {in_words(problem)}. {remedy}") from None
    with taking_apart(path, kind, remedy):
        yield


@contextmanager
def taking_apart(path: Path, kind: str, remedy: str) -> Iterator[None]:
    """Do the same for what has been read of a file already; the file itself is not looked at.

    Raises
    ------
    DataFileError
        For any exception but an MpiqmdError, which passes as it is; numbers that overflow are one.
    """
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            yield
    except MpiqmdError:
        raise
    except Exception as problem:
        # HDF5, JSON and NumPy have many names for a file that is not what it seems.
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise DataFileError(f"{path}: not a complete {kind} ({printable(reason, LONGEST_REASON)}). {remedy}") from problem


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a file in the body of a ``with`` block into an error that names it.

    Raises
    ------
    DataFileError
        For an OSError, or a RuntimeError, which is what HDF5 may make of one.
    """
    try:
        yield
    except (OSError, RuntimeError) as problem:
        reason = " ".join(str(problem).split()).split(", buf")[0]
        raise DataFileError(
            f"cannot write {path}: {reason}. Room and write permission are needed; free some space or choose another folder "
            "with --output, then run the same command again."
        ) from problem


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write beside ``path``; when the ``with`` block has ended well, it takes its place.

    A kill leaves the old file or the new one, and nothing else is left where there is no room.  Raises as :func:`writing`.
    """
    with writing(path), swapping(path) as beside:
        yield beside


@contextmanager
def swapping(path: Path) -> Iterator[Path]:
    """Do as :func:`replacing` does, with the errors as they come."""
    beside = path.with_name(path.name + UNFINISHED)
    # a link in its place would lead to another file, a pipe would be waited for
    beside.unlink(missing_ok=True)
    try:
        yield beside
        to_disk(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def to_disk(path: Path) -> None:
    """Wait until all of a file is on the disk, or the names in a folder.  Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_hdf5(path: Path, mode: str, **options: Any) -> h5py.File:
    """Open an HDF5 file without HDF5's own lock: the folder is claimed, and readers shall not stop the one who writes."""
    return h5py.File(path, mode, locking=False, **options)


def require_room(path: Path, size: float) -> None:
    """Raise OSError unless the disk has room for so many bytes beside this file.

    To be called before HDF5 writes much: the library may crash on a full disk.
    """
    with tempfile.TemporaryFile(dir=path.parent) as stream:
        os.posix_fallocate(stream.fileno(), 0, int(size))


def keep_room(path: Path) -> None:
    """Give a file the blocks for all its bytes, also those that nobody has written yet.  Raises OSError."""
    with open(path, "r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, os.path.getsize(path))
        os.fsync(stream.fileno())


@contextmanager
def opened(path: Path, kind: str, remedy: str, must_be_sealed: bool = False) -> Iterator[Contents]:
    """Check the seal of a file, which may be required, and open it to be taken apart, with the errors of :func:`reading`.

    Nothing in it leads out of it: :mod:`mpiqmd.selfcontained`.
    """
    with reading(path, kind, remedy):
        check_seal(path, must_be_sealed)
        with open_hdf5(path, "r") as file:
            size = os.path.getsize(path)
            require_self_contained(file, size)
            yield Contents(file, size)


class Shapes:
    """Arrays whose axes are named by letters: equal letters, equal lengths.

    Parameters
    ----------
    lengths
        Lengths that are known beforehand; the first array with another letter sets that one.
    """

    def __init__(self, **lengths: int) -> None:
        self.lengths = lengths

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        """Raise Unfit unless a shape has these axes, such as ``"s a 3"``."""
        letters = axes.split()
        expected = [int(axis) if axis.isdigit() else self.lengths.get(axis, -1) for axis in letters]
        fits = len(shape) == len(letters)
        if not fits or any(known not in (-1, length) for known, length in zip(expected, shape, strict=True)):
            wanted = ", ".join(axis if length < 0 else str(length) for axis, length in zip(letters, expected, strict=True))
            raise Unfit(f"{name} has shape {tuple(shape)}, ({wanted}) is expected")
        self.lengths |= {axis: length for axis, length in zip(letters, shape, strict=True) if not axis.isdigit()}

    def numbers(self, name: str, values: Any, axes: str, integer: bool = False, finite: bool = True) -> np.ndarray:
        """Return an array of the shape of these axes as float64, or as int64, finite, in its own unit; raises Unfit."""
        array = np.asarray(values)
        if array.dtype.kind not in ("iu" if integer else "iuf"):
            raise Unfit(f"{name} holds {array.dtype}, {'integers' if integer else 'numbers'} are expected")
        self.check(name, array.shape, axes)
        if finite and not np.isfinite(array).all():
            raise Unfit(f"{name} holds NaN or infinity, finite numbers are expected")
        return array.astype(np.int64 if integer else np.float64, copy=False)


class Contents:
    """What an open file holds.

    Parameters
    ----------
    file
        The file.
    size
        Its bytes: no dataset may claim more.
    """

    def __init__(self, file: h5py.File, size: int) -> None:
        self.file, self.size = file, size
        self.shapes = Shapes()

    def dataset(self, name: str) -> h5py.Dataset:
        """Return a dataset that is there and not larger than the file; raises Unfit or KeyError."""
        item = self.file[name]
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            raise Unfit(f"{name} is not an array")
        if item.nbytes > self.size:
            raise Unfit(f"{name} of shape {item.shape} would take {item.nbytes} bytes, more than the file has")
        return item

    def array(self, name: str, axes: str, integer: bool = False, finite: bool = True) -> np.ndarray:
        """Return a dataset in the unit of the file, its shape that of the axes as :class:`Shapes` reads them.

        Letters stand for equal lengths in all arrays of the file.  Raises Unfit, or KeyError without the dataset.
        """
        dataset = self.dataset(name)
        self.shapes.check(name, dataset.shape, axes)
        return self.shapes.numbers(name, dataset[()], axes, integer, finite)

    def positive(self, name: str, axes: str) -> np.ndarray:
        """Return an array as :meth:`array` does, shape and unit included, all of it above zero; raises Unfit."""
        values = self.array(name, axes)
        if not (values > 0.0).all():
            raise Unfit(f"{name} holds {values.min():g}, numbers above 0 are expected")
        return values

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """Return all datasets below a group by their path in it, finite, shape and unit as stored; none without the group."""
        names: list[str] = []
        if group in self.file:
            self.file[group].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        found = {name: np.asarray(self.dataset(f"{group}/{name}")[()]) for name in names}
        for name, array in found.items():
            if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
                raise Unfit(f"{group}/{name} holds {array.dtype}, NaN or infinity, where finite numbers are expected")
        return found

    def mapping(self, attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return an attribute that holds a JSON object."""
        value = json.loads(attributes[name])
        if not isinstance(value, dict):
            raise Unfit(f"@{name} holds a {type(value).__name__}, a JSON object is expected")
        return value


def plain(value: Any) -> Any:
    """Return an HDF5 attribute as a Python number or string."""
    return value.item() if isinstance(value, np.generic) else value


def scalar(value: Any, kind: type) -> Any:
    """Return an HDF5 attribute as a plain ``int``, ``float`` or ``str``; raises Unfit for anything else."""
    value = plain(value)
    value = float(value) if kind is float and type(value) is int else value
    if type(value) is not kind or (kind is float and not np.isfinite(value)):
        raise Unfit(f"an attribute holds {str(value)[:40]!r}, a value of type {kind.__name__} is expected")
    return value
