"""Files that are opened: regular ones only, looked at before they are opened, and never more of one than is sensible.

A named pipe or a device would be waited for, or read, for ever.  Needs nothing but the standard library.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def require_regular(path: str | os.PathLike[str]) -> int:
    """Return the size in bytes of a regular file, links followed.  Not collective.

    Raises OSError, whose ``strerror`` says what is there instead.
    """
    return _size(os.stat(path), path)


def read_bounded(path: str | os.PathLike[str], largest: int) -> bytes:
    """Return the bytes of a regular file that has at most ``largest`` of them.  Not collective.

    Raises OSError, whose ``strerror`` says what is wrong, without reading what is larger.
    """
    require_regular(path)
    # what is under the name may have been exchanged since: a pipe is opened without waiting for its other end
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        size = _size(os.fstat(descriptor), path)
        content = stream.read(largest + 1) if size <= largest else b""
    if max(size, len(content or b"")) > largest:
        found = f"it has {size} bytes" if size > largest else "it does not end"
        raise OSError(errno.EFBIG, f"{found}, at most {largest} are read", str(path))
    return content or b""


def read_text(path: str | os.PathLike[str], largest: int) -> str:
    """Return a regular file of at most ``largest`` bytes as text, without the byte order mark that some editors write.

    Not collective.  Raises OSError as :func:`read_bounded` does, and ValueError for what is not UTF-8.
    """
    content = read_bounded(path, largest)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    return content.decode("utf-8-sig")


def in_words(problem: OSError) -> str:
    """Return what an OSError says, without its number and the name of the file."""
    return problem.strerror or str(problem)


def _size(found: os.stat_result, path: str | os.PathLike[str]) -> int:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(number, f"it is {_KINDS.get(kind, 'no regular file')}, not a file", str(Path(path)))
    return found.st_size
