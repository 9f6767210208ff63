"""Hostile i-PI servers: good conversations with damages, and what a client must make of every byte of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

HEADER = 12
EDGES = np.array([8.0, 9.0, 10.0])
N_ATOMS = 3
COUNTS = (0, -1, -(2**31), 2**31 - 1, 2, 4, 100_000, 100_001, 10**9)
LENGTHS = (-1, -(2**31), 2**31 - 1, 1 << 20, (1 << 20) + 1, 7)
STRANGE = (np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324)
HEADERS = (
    "status",
    "POSITIONS",
    "FORCEREADY",
    "NEEDINIT",
    "GETFORCE\0\0\0\0",
    "\x1b[2J\x1b]0;PWNED",
    "STATUS\nEXIT",
    "",
    "GET / HTTP/1.1",
)

Messages = list[bytes]


def header(name: str) -> bytes:
    """Twelve bytes of a name."""
    return name.ljust(HEADER).encode("latin-1")[:HEADER]


def init(text: bytes = b"parameters", length: int | None = None) -> bytes:
    """An INIT message, possibly with a length that is not its own."""
    return header("INIT") + struct.pack("=ii", 0, len(text) if length is None else length) + text


def posdata(positions_av: np.ndarray, cell_vv: np.ndarray, inverse_vv: np.ndarray, count: int = N_ATOMS) -> bytes:
    """A POSDATA message."""
    arrays = cell_vv, inverse_vv
    return header("POSDATA") + b"".join(a.tobytes() for a in arrays) + struct.pack("=i", count) + positions_av.tobytes()


def good(rng: np.random.Generator) -> Messages:
    """A conversation as i-PI has it, of a few geometries."""
    cell_vv = np.diag(EDGES)
    messages = [header("STATUS"), init()]
    for _ in range(rng.integers(1, 4)):
        positions = posdata(rng.normal(size=(N_ATOMS, 3)), cell_vv, np.linalg.inv(cell_vv))
        messages += [header("STATUS"), positions, header("STATUS"), header("GETFORCE")]
    return [*messages, header("EXIT")]


def strange_positions(rng: np.random.Generator) -> bytes:
    """POSDATA with a number that is none, or is absurd."""
    positions_av = rng.normal(size=(N_ATOMS, 3))
    positions_av[rng.integers(N_ATOMS), rng.integers(3)] = rng.choice(STRANGE)
    return posdata(positions_av, np.diag(EDGES), np.diag(1 / EDGES))


def strange_count(rng: np.random.Generator) -> bytes:
    """POSDATA that announces another number of atoms."""
    return posdata(rng.normal(size=(N_ATOMS, 3)), np.diag(EDGES), np.diag(1 / EDGES), int(rng.choice(COUNTS)))


def strange_cell(rng: np.random.Generator) -> bytes:
    """POSDATA of another cell, or with an inverse that is not its own."""
    cell_vv, inverse_vv = np.diag(EDGES), np.diag(1 / EDGES)
    victim = cell_vv if rng.random() < 0.5 else inverse_vv
    victim[rng.integers(3), rng.integers(3)] += rng.choice([*STRANGE, 1e-3, -1.0, 30.0])
    return posdata(rng.normal(size=(N_ATOMS, 3)), cell_vv, inverse_vv)


def strange_init(rng: np.random.Generator) -> bytes:
    """INIT of an absurd length, or of batches."""
    return init(length=int(rng.choice(LENGTHS))) if rng.random() < 0.8 else init(b"{batch_size: 4}\x1b[2J")


def strange_header(rng: np.random.Generator) -> bytes:
    """Something that is no message, or random bytes."""
    return header(str(rng.choice(HEADERS))) if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 200)))


STRANGERS: tuple[Callable[[np.random.Generator], bytes], ...] = (
    strange_positions,
    strange_count,
    strange_cell,
    strange_init,
    strange_header,
)


def insert(messages: Messages, rng: np.random.Generator) -> Messages:
    """Put a strange message somewhere, or in the place of another."""
    place = int(rng.integers(len(messages)))
    stranger = STRANGERS[rng.integers(len(STRANGERS))](rng)
    return messages[:place] + [stranger] + messages[place + int(rng.integers(2)) :]


def drop(messages: Messages, rng: np.random.Generator) -> Messages:
    """Leave a message out."""
    place = int(rng.integers(len(messages)))
    return messages[:place] + messages[place + 1 :]


def exchange(messages: Messages, rng: np.random.Generator) -> Messages:
    """Send two messages in each other's place."""
    one, other = rng.integers(len(messages), size=2)
    messages = list(messages)
    messages[one], messages[other] = messages[other], messages[one]
    return messages


def repeat(messages: Messages, rng: np.random.Generator) -> Messages:
    """Send a message twice."""
    place = int(rng.integers(len(messages)))
    return messages[: place + 1] + messages[place:]


def cut(messages: Messages, rng: np.random.Generator) -> Messages:
    """Say nothing more after any byte."""
    whole = b"".join(messages)
    return [whole[: rng.integers(len(whole))]]


def flip(messages: Messages, rng: np.random.Generator) -> Messages:
    """Change some bytes."""
    whole = bytearray(b"".join(messages))
    for place in rng.integers(len(whole), size=rng.integers(1, 6)) if whole else ():
        whole[place] = rng.integers(256)
    return [bytes(whole)]


DAMAGES = (insert, insert, insert, drop, exchange, repeat, cut, flip)


def hostile(rng: np.random.Generator) -> bytes:
    """All that one hostile server says."""
    messages = good(rng)
    for _ in range(rng.integers(1, 4)):
        if messages:
            messages = DAMAGES[rng.integers(len(DAMAGES))](messages, rng)
    return b"".join(messages)


@dataclass
class Due:
    """What a client owes a server that says so many bytes and then nothing: replies, and how it ends.

    ``replies`` has a status by name or, for forces, the geometry; ``ends`` is EXIT, closed or refused; ``asked`` are all
    geometries that a surface is asked about, in the end without an answer.
    """

    replies: list[str | np.ndarray] = field(default_factory=list)
    ends: str = ""
    asked: list[np.ndarray] = field(default_factory=list)


def due(said: bytes, is_periodic: bool) -> Due:
    """Read the bytes as the protocol has them, in one piece and without a socket."""
    result, at, geometry, known = Due(), 0, None, False
    while not result.ends:
        rest = said[at:]
        name = rest[:HEADER].decode("latin-1").strip()
        body = rest[HEADER:]
        if not rest or (len(rest) >= HEADER and name == "EXIT"):
            result.ends = "EXIT" if rest else "closed"
        elif len(rest) < HEADER:
            result.ends = "refused"
        elif name == "STATUS":
            result.replies.append("HAVEDATA" if geometry is not None else "READY" if known else "NEEDINIT")
            at += HEADER
        elif name == "GETFORCE" and geometry is not None:
            result.replies.append(geometry)
            geometry, at = None, at + HEADER
        elif name == "INIT" and (size := _init_size(body)) is not None:
            known, at = True, at + HEADER + size
        elif name == "POSDATA" and (positions_av := _geometry(body, is_periodic)) is not None:
            result.asked.append(positions_av)
            known, geometry, at = True, positions_av, at + HEADER + 148 + 24 * N_ATOMS
        else:
            result.ends = "refused"
    return result


def _init_size(body: bytes) -> int | None:
    if len(body) < 8:
        return None
    length = struct.unpack("=ii", body[:8])[1]
    text = body[8 : 8 + max(length, 0)]
    return 8 + length if 0 <= length <= 1 << 20 and len(text) == length and b"batch_size" not in text else None


def _geometry(body: bytes, is_periodic: bool) -> np.ndarray | None:
    if len(body) < 148 + 24 * N_ATOMS or struct.unpack("=i", body[144:148])[0] != N_ATOMS:
        return None
    cell_vv, inverse_vv = np.frombuffer(body[:144]).reshape(2, 3, 3)
    positions_av = np.frombuffer(body[148 : 148 + 24 * N_ATOMS]).reshape(N_ATOMS, 3)
    if not np.isfinite(positions_av).all():
        return None
    with np.errstate(all="ignore"):
        fits = np.abs(cell_vv - np.diag(EDGES)).max() < 2e-4 and np.abs(cell_vv @ inverse_vv - np.eye(3)).max() < 1e-6
    return positions_av if fits or not is_periodic else None
