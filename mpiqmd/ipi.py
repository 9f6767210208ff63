"""The client's side of i-PI's socket protocol: headers of 12 characters, Hartree atomic units, nothing about physics.

The server asks, the client answers:

    STATUS    -> NEEDINIT, READY or HAVEDATA
    INIT      <- number of the bead, length and text of parameters (both unused here)
    POSDATA   <- cell and inverse cell (3 x 3 each), number of atoms, positions (N x 3)
    GETFORCE  -> FORCEREADY, energy, number of atoms, forces (N x 3), virial (3 x 3), length and text of extras (JSON)
    EXIT      the server has no more to ask

Numbers are native 8-byte floats and 4-byte integers.  A server with many beads asks a client for them one after the other,
so one client serves all of them, and as many clients as beads, of one process, get them all at once.  The protocol is that of
i-PI [Kapil2019], also spoken by ASE, LAMMPS and CP2K.
"""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpiqmd.errors import AccuracyError, ConfigError, DataFileError

HEADER_LENGTH = 12
UNIX_PREFIX = "/tmp/ipi_"
"""Where i-PI puts a UNIX socket of a name."""

LOOK_EVERY = 0.5
"""Seconds after which a client that waits looks whether it should end."""

MOST_ATOMS = 100_000
"""A larger number of atoms is a misunderstanding, not a molecule."""


@dataclass(frozen=True)
class Address:
    """Where the server listens: a host and a port, or the path of a UNIX socket (host empty)."""

    host: str
    port: int
    path: str = ""

    @classmethod
    def internet(cls, text: str) -> Address:
        """Return the address written ``host:port``.  Raises ConfigError if it is not one."""
        host, separator, port = text.rpartition(":")
        if not (separator and host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ConfigError(
                f"--address {text}: host:port is expected, with a port from 1 to 65535. Write what the server's "
                "<address> and <port> say, such as localhost:31415."
            )
        return cls(host.strip("[]"), int(port))

    @classmethod
    def unix(cls, name: str) -> Address:
        """Return the address of a UNIX socket, by i-PI's name for it or by its path.  Raises ConfigError without a name."""
        if not name.strip():
            raise ConfigError("--unix has no name; what i-PI has as <address> is needed. Give it, such as --unix water.")
        return cls("", 0, name if "/" in name else UNIX_PREFIX + name)

    def __str__(self) -> str:
        """``host:port`` or the path."""
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, eq=False)
class Answer:
    """What the server is told about one geometry, atomic units.

    Attributes
    ----------
    energy, forces_av
        Ha, and shape (N, 3), Ha/bohr.
    virial_vv
        ``sum_a R_a (x) F_a``, shape (3, 3), Ha.
    extras
        Anything else by name; numbers that are not finite are sent as null.
    """

    energy: float
    forces_av: np.ndarray
    virial_vv: np.ndarray
    extras: Mapping[str, Any] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the message.  Raises AccuracyError if energy, forces or virial are not finite."""
        if not (np.isfinite(self.energy) and np.isfinite(self.forces_av).all() and np.isfinite(self.virial_vv).all()):
            raise AccuracyError(
                f"energy ({self.energy}) or forces are not finite; numbers are expected, and the server gets nothing else. "
                "Look at the last geometry in the server's files for atoms on top of each other, and shorten its timestep."
            )
        extras = json.dumps(_finite(dict(self.extras)), allow_nan=False).encode()
        return b"".join(
            (
                _header("FORCEREADY"),
                np.float64(self.energy).tobytes(),
                np.int32(len(self.forces_av)).tobytes(),
                np.ascontiguousarray(self.forces_av, np.float64).tobytes(),
                np.ascontiguousarray(self.virial_vv, np.float64).tobytes(),
                np.int32(len(extras)).tobytes(),
                extras,
            )
        )


class Client:
    """A connection to a server that asks for energies and forces.  Not collective: one rank has it.

    Parameters
    ----------
    connection
        A connected socket, as :func:`connect` returns.
    n_atoms
        Number of atoms of the molecule; the server must have as many.
    should_end
        Asked at least every half second while waiting; text if the client should leave, None to go on.
    """

    def __init__(
        self, connection: socket.socket, n_atoms: int, should_end: Callable[[], str | None] = lambda: None
    ) -> None:
        self.connection, self.n_atoms, self.should_end = connection, n_atoms, should_end
        self.ended = ""
        self._is_initialised = False
        self._answer: Answer | None = None
        connection.settimeout(LOOK_EVERY)

    def fileno(self) -> int:
        """Return the number by which ``select`` knows the connection."""
        return self.connection.fileno()

    def serve_message(self) -> np.ndarray | None:
        """Answer one message; return the geometry (N, 3), bohr, if it brings one.

        ``ended`` then says whether there will be no more, and why: ``"EXIT"``, ``"closed"`` (the server went without a word)
        or what ``should_end`` said.  Raises DataFileError if the server does not keep to the protocol or the connection breaks
        within a message, and ConfigError if it has another number of atoms.
        """
        try:
            header = self._read(HEADER_LENGTH, may_end=True).decode("latin-1").strip()
            if header == "POSDATA":
                return self._read_positions()
            if header == "STATUS":
                self._send(_header(self._status()))
            elif header == "INIT":
                self._read_init()
            elif header == "GETFORCE":
                self._send_answer()
            else:
                self._end_with(header)
        except _EndedError as end:
            self.ended = str(end)
        return None

    def answer(self, answer: Answer) -> None:
        """Keep what the server will fetch for the latest geometry."""
        self._answer = answer

    def close(self) -> None:
        """Close the connection; again is harmless."""
        self.connection.close()

    def _status(self) -> str:
        if self._answer is not None:
            return "HAVEDATA"
        return "READY" if self._is_initialised else "NEEDINIT"

    def _read_init(self) -> None:
        self._read_integer()
        length = self._read_integer()
        if not 0 <= length <= 1 << 20:
            raise _misunderstood(f"INIT announces {length} bytes of parameters")
        text = self._read(length).decode("utf-8", "replace")
        if "batch_size" in text:
            raise ConfigError(
                f"the server wants to send several geometries in one message ({text.strip()}); this client takes one at a "
                "time. Set <batch_size> 1 in its <ffsocket>."
            )
        self._is_initialised = True

    def _read_positions(self) -> np.ndarray:
        self._read(2 * 9 * 8)
        n_atoms = self._read_integer()
        if not 0 < n_atoms <= MOST_ATOMS:
            raise _misunderstood(f"POSDATA announces {n_atoms} atoms")
        positions = np.frombuffer(self._read(n_atoms * 3 * 8), np.float64)
        if n_atoms != self.n_atoms:
            raise ConfigError(
                f"the server sends {n_atoms} atoms, the input has {self.n_atoms}; the same atoms in the same order are needed. "
                "Correct the server's initial structure or the input."
            )
        self._is_initialised = True
        return positions.reshape(n_atoms, 3).copy()

    def _send_answer(self) -> None:
        if self._answer is None:
            raise _misunderstood("GETFORCE without a geometry before it")
        message, self._answer = self._answer.encoded(), None
        self._send(message)

    def _end_with(self, header: str) -> None:
        if header != "EXIT":
            raise _misunderstood(f"the header {header!r}")
        self.ended = "EXIT"

    def _read_integer(self) -> int:
        return int(np.frombuffer(self._read(4), np.int32)[0])

    def _read(self, n_bytes: int, may_end: bool = False) -> bytes:
        """Return exactly so many bytes; where a message begins, the server or ``should_end`` may end it all."""
        received = bytearray()
        while len(received) < n_bytes:
            reason = self.should_end()
            if reason is not None:
                raise _EndedError(reason)
            try:
                part = self.connection.recv(n_bytes - len(received))
            except TimeoutError:
                continue
            except OSError as problem:
                raise _broken(problem.strerror or str(problem)) from None
            if not part:
                if may_end and not received:
                    raise _EndedError("closed")
                raise _broken(f"it ended after {len(received)} of {n_bytes} bytes of a message")
            received += part
        return bytes(received)

    def _send(self, message: bytes) -> None:
        view = memoryview(message)
        while view:
            try:
                view = view[self.connection.send(view) :]
            except TimeoutError:
                reason = self.should_end()
                if reason is not None:
                    raise _EndedError(reason) from None
            except OSError as problem:
                raise _broken(problem.strerror or str(problem)) from None


def connect(
    address: Address, patience: float = 60.0, should_end: Callable[[], str | None] = lambda: None
) -> socket.socket | None:
    """Return a connection to the server, tried again for ``patience`` seconds: both are often started together.

    Not collective.  None if ``should_end`` said to leave before.  Raises ConfigError if nobody listens there.
    """
    deadline = time.monotonic() + patience
    while should_end() is None:
        try:
            return _connected(address)
        except OSError as problem:
            # the others (no such host, a path that is too long) do not heal by waiting
            may_heal = isinstance(problem, ConnectionError | FileNotFoundError | TimeoutError | BlockingIOError)
            if not may_heal or time.monotonic() >= deadline:
                raise ConfigError(
                    f"no server at {address} ({problem.strerror or problem}; tried for up to {patience:g} s); i-PI must listen "
                    "there. Start it first, and compare --address or --unix with <address>, <port> and mode in its <ffsocket>."
                ) from None
        time.sleep(0.1)
    return None


def connect_now(address: Address, seconds: float) -> socket.socket | None:
    """Return one more connection to a server that is there, None if it is too busy to take it.  Not collective."""
    try:
        return _connected(address, seconds)
    except OSError:
        return None


def _connected(address: Address, seconds: float = 5.0) -> socket.socket:
    if not address.path:
        connection = socket.create_connection((address.host, address.port), timeout=seconds)
        # without it small messages wait for each other
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect(address.path)
    except OSError:
        connection.close()
        raise
    return connection


class _EndedError(Exception):
    """There is nothing more to do; the text says why."""


def _header(name: str) -> bytes:
    return name.ljust(HEADER_LENGTH).encode("ascii")


def _finite(value: Any) -> Any:
    """Return the same with null in place of numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _misunderstood(what: str) -> DataFileError:
    return DataFileError(
        f"the server sent {what}; STATUS, INIT, POSDATA, GETFORCE or EXIT in i-PI's format is expected. Check that an i-PI "
        "server listens at this address, with mode='inet' or 'unix'."
    )


def _broken(reason: str) -> DataFileError:
    return DataFileError(
        f"the connection to the server broke: {reason}; it must last until EXIT. Look at the server's own output, then start "
        "both again (i-PI continues from its RESTART file)."
    )
