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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpiqmd.errors import AccuracyError, ConfigError, DataFileError
from mpiqmd.molecule.images import is_same_cell

HEADER_LENGTH = 12
LOOK_EVERY = 0.5
"""Seconds after which a client that waits looks whether it should end."""

MOST_ATOMS = 100_000
"""A larger number of atoms is a misunderstanding, not a molecule."""
LONGEST_INIT = 1 << 20
"""Bytes of parameters beyond which an INIT is a misunderstanding."""
SAME_INVERSE = 1e-6
"""How far the product of a cell and its inverse may be from 1."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What the server must have.

    Attributes
    ----------
    n_atoms
        Number of atoms of the molecule.
    cell_v
        Edge lengths of a periodic input's cell, shape (3,), bohr; None for an isolated molecule, for which a server's cell
        has no meaning.
    """

    n_atoms: int
    cell_v: np.ndarray | None = None

    def check_cell(self, cell_vv: np.ndarray, inverse_vv: np.ndarray) -> None:
        """Raise ConfigError unless a server's cell is the input's, DataFileError if its inverse contradicts it."""
        if self.cell_v is None:
            return
        if not is_same_cell(cell_vv, self.cell_v):
            raise ConfigError(
                f"the server sends the cell {cell_vv.T.tolist()} bohr, the input's is {np.diag(self.cell_v).tolist()}; "
                "energies are computed in the input's cell, which cannot change. Set the server's cell or grid.cell to the "
                "other, and use no barostat."
            )
        with np.errstate(all="ignore"):
            contradiction = np.abs(cell_vv @ inverse_vv - np.eye(3)).max()
        if not contradiction < SAME_INVERSE:
            raise _misunderstood(f"a cell and an inverse {inverse_vv.T.tolist()} that contradict each other")

    def check_count(self, n_atoms: int) -> None:
        """Raise DataFileError if a server's number of atoms is absurd, ConfigError if it is not the input's."""
        if not 0 < n_atoms <= MOST_ATOMS:
            raise _misunderstood(f"POSDATA with {n_atoms} atoms")
        if n_atoms != self.n_atoms:
            raise ConfigError(
                f"the server sends {n_atoms} atoms, the input has {self.n_atoms}; the same atoms in the same order are needed. "
                "Correct the server's initial structure or the input."
            )


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
    expected
        What the server must have.
    should_end
        Asked at least every half second while waiting; text if the client should leave, None to go on.
    """

    def __init__(
        self, connection: socket.socket, expected: Expected, should_end: Callable[[], str | None] = lambda: None
    ) -> None:
        self.connection, self.expected, self.should_end = connection, expected, should_end
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
        within a message, and ConfigError if it has another number of atoms or another cell.
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
        if not 0 <= length <= LONGEST_INIT:
            raise _misunderstood(f"INIT announces {length} bytes of parameters")
        text = self._read(length).decode("utf-8", "replace")
        if "batch_size" in text:
            raise ConfigError(
                f"the server wants to send several geometries in one message ({text.strip()[:200]!r}); this client takes one "
                "at a time. Set <batch_size> 1 in its <ffsocket>."
            )
        self._is_initialised = True

    def _read_positions(self) -> np.ndarray:
        self.expected.check_cell(*self._read_floats(18).reshape(2, 3, 3))
        n_atoms = self._read_integer()
        self.expected.check_count(n_atoms)
        positions = self._read_floats(3 * n_atoms)
        if not np.isfinite(positions).all():
            raise _misunderstood("POSDATA with positions that are not finite")
        self._is_initialised = True
        return positions.reshape(n_atoms, 3)

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

    def _read_floats(self, count: int) -> np.ndarray:
        return np.frombuffer(self._read(8 * count), np.float64).copy()

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
