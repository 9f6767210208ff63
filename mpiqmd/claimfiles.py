"""Files of which exactly one process is the holder, for :mod:`mpiqmd.claims`: made by one of many, taken over from the dead.

A claim appears whole or not at all (a hard link, which exactly one of many can make), so it needs no file locks, which
centres switch off.

Whether the holder of a claim is alive
    1. In the same table of processes (same boot, same container): its process decides, by number and start.
    2. Elsewhere: a lock that is held on the claim says yes, where file systems know locks.
    3. Otherwise the clock of the file system decides: the claim is dead when it has not been touched for ``SILENCE``
       seconds.  Whoever asks waits until it is touched (and is refused) or until the time is over (and takes it), and never
       longer than that: a file may be dated in the future.

A claim is removed by whoever holds the claim on its removal, a file of the same kind named after it, its owner included.  So
of two that find a dead claim one removes it, and never one that has been made since.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mpiqmd import processes

HEARTBEAT = 15.0
"""Seconds between two signs of life."""
SILENCE = 300.0
"""Seconds without a sign of life after which a run on another host is dead: long calculations may hold the thread up."""
MOMENT = 0.01
"""Seconds between two looks at a claim whose state is about to change."""
TOKEN = re.compile("[0-9A-Za-z]{1,64}")
"""What a token looks like; it becomes part of the name of a file."""


@dataclass(frozen=True)
class Holder:
    """Who holds a claim: a process, what it runs, and a token that no other claim has."""

    command: str
    host: str
    table: str
    pid: int
    start: str
    since: str
    token: str

    @classmethod
    def this_process(cls, words: list[str]) -> Holder:
        """Return the holder that this process is, running ``mpiqmd WORDS``."""
        pid, now = os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S")
        where = processes.host(), processes.process_table()
        return cls(shlex.join(["mpiqmd", *words]), *where, pid, processes.started(pid), now, uuid.uuid4().hex)

    def describe(self) -> str:
        """Return who that is, in words."""
        if not self.host:
            return "a run that has not said yet who it is"
        command = self.command if len(self.command) <= 120 else self.command[:117] + "..."
        text = f"`{command}`, process {self.pid} on {self.host}, since {self.since}"
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class Taken(Exception):
    """Somebody else holds the claim."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.describe())
        self.holder = holder


def acquire(path: Path, holder: Holder) -> int:
    """Make a claim at ``path`` and return it open and locked; raises Taken if somebody who is alive has it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.new-")
    temporary = Path(name)
    try:
        os.write(handle, json.dumps(asdict(holder)).encode())
        os.fchmod(handle, 0o644)
        os.fsync(handle)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while not _link(temporary, path, holder):
            remove_if_dead(path, holder)
    except BaseException:
        os.close(handle)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return handle


def _link(temporary: Path, path: Path, holder: Holder) -> bool:
    """Give the file its name unless another has it; return whether it has."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:
        # File systems without hard links: the file is moved to a name that was made for it, by one alone.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    # NFS may lose the answer to a link that was made.
    found = read(path)
    return found is not None and found.token == holder.token


def remove_if_dead(path: Path, holder: Holder) -> None:
    """Remove the claim at ``path``, if there is one; raises Taken if its holder is alive."""
    found = read(path)
    if found is None or found.token == holder.token:
        return
    deadline = time.monotonic() + SILENCE
    while (alive := is_alive(path, found)) is None and time.monotonic() < deadline:
        time.sleep(min(1.0, SILENCE / 10))
    if alive:
        raise Taken(found)
    try:
        remove(path, found.token, holder)
    except Taken:
        # Somebody else is just removing it.
        time.sleep(MOMENT)


def remove(path: Path, token: str, holder: Holder) -> None:
    """Remove the claim with this token and no other; raises Taken if somebody else is at it."""
    grave = path.with_name(f"{path.name}.{token}")
    handle = acquire(grave, holder)
    try:
        found = read(path)
        if found is not None and found.token == token:
            path.unlink(missing_ok=True)
    finally:
        grave.unlink(missing_ok=True)
        os.close(handle)


def read(path: Path) -> Holder | None:
    """Return who holds a claim; None if there is none.  One that cannot be understood has a holder without a host."""
    try:
        with open(path, encoding="utf-8", errors="replace", opener=_without_waiting) as stream:
            state, text = os.fstat(stream.fileno()), stream.read(1 << 16)
    except FileNotFoundError:
        return None
    except OSError:
        try:
            state, text = os.lstat(path), ""
        except FileNotFoundError:
            return None
    return _parsed(text) or Holder("", "", "", 0, "", "", f"unreadable-{state.st_ino}")


def _parsed(text: str) -> Holder | None:
    """Return the holder that a claim names, None if it names none."""
    try:
        found = Holder(**json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return None
    texts = [value for name, value in vars(found).items() if name != "pid"]
    if not isinstance(found.pid, int) or not all(isinstance(value, str) for value in texts):
        return None
    return found if TOKEN.fullmatch(found.token) else None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, also where somebody put a pipe in its place, which would wait for a writer, or a link, which no claim is."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def is_alive(path: Path, holder: Holder, waits: bool = True) -> bool | None:
    """Return whether a holder is alive; None where that will only show (a sign of life, or none) a little later."""
    if holder.table and holder.table == processes.process_table():
        return processes.is_running(holder.pid, holder.start)
    if _is_locked(path):
        return True
    try:
        age = now(path.parent) - _touched(path)
    except OSError:
        return False
    if age >= SILENCE:
        return False
    return _has_moved(path, min(2 * HEARTBEAT, SILENCE - age)) if waits else None


def _has_moved(path: Path, patience: float) -> bool | None:
    """Wait for a sign of life and return True if there was one, None if there was not."""
    before, deadline = _touched(path), time.monotonic() + patience
    while time.monotonic() < deadline:
        time.sleep(min(1.0, patience / 10))
        if _touched(path) != before:
            return True
    return None


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "r+b", opener=_without_waiting) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _touched(path: Path) -> float:
    """Return when a file was touched last; opening it makes a network file system ask its server."""
    with suppress(PermissionError), open(path, "rb", opener=_without_waiting) as stream:
        return os.fstat(stream.fileno()).st_mtime
    return os.lstat(path).st_mtime


def now(folder: Path) -> float:
    """Return the time by the clock of a file system, which need not be that of this host."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".mpiqmd-claim.now-") as stream:
        stream.write(b"\n")
        stream.flush()
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_mtime
