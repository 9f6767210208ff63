"""Which process this is, so that another one can say later whether it still runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

PROCESSES = Path("/proc")


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def process_table() -> str:
    """Return a name for the table of processes that this one is in: one boot of one kernel, and one container of it.

    Two processes with the same name see each other; the numbers of others mean nothing here.
    """
    try:
        boot = (PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROCESSES / 'self/ns/pid')}"
    except OSError:
        return host()


def started(pid: int) -> str:
    """Return when a process started, in its kernel's own clock; empty if it is gone or the system does not say."""
    fields = _status(pid)
    return fields[19] if len(fields) > 19 else ""


def is_running(pid: int, start: str) -> bool:
    """Return whether the process that had this number and start still runs here; a zombie does not."""
    if pid <= 0:
        return False
    fields = _status(pid)
    if fields:
        return fields[0] not in "ZX" and (not start or fields[19] == start)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _status(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on; none without such a process, or without /proc."""
    try:
        text = (PROCESSES / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    # The name of the program, in brackets, may hold anything.
    return text.rpartition(")")[2].split()
