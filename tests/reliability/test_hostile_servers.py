"""Thousands of hostile i-PI servers: an error in words or the right numbers; no traceback, no endless wait, nothing else."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.cli import parse_arguments
from mpiqmd.errors import MpiqmdError
from mpiqmd.ipi import Address, Expected, client, conversation
from mpiqmd.ipi.conversation import Conversation
from mpiqmd.ipi.serving import serve
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.job import run_job
from tests.helpers.judging import limited
from tests.helpers.toy_surfaces import ToySurface
from tests.reliability.conversations import EDGES, HEADER, N_ATOMS, due, good, hostile

pytestmark = pytest.mark.serial

INPUT = """
[system]
symbols = ["H", "H", "He"]
positions = [[-0.7, 0.0, 0.0], [0.7, 0.0, 0.0], [0.0, 3.0, 0.0]]
[grid]
cell = [8.0, 9.0, 10.0]
points = 12
order = 4
boundary = "BOUNDARY"
[scf]
energy_tolerance = 1e-5
"""


class Springs(ToySurface):
    """Every atom pulled to the origin, by another spring each."""

    def at(self, positions_av, memory=None):
        constants_a = np.arange(1.0, 1.0 + len(positions_av))[:, None]
        with np.errstate(over="ignore"):
            energy = 0.5 * float((constants_a * positions_av**2).sum())
            return Evaluation(energy, -constants_a * positions_av)


class Server(threading.Thread):
    """Says what it has to say to one client, then listens until the client has gone, or leaves at once."""

    def __init__(self, path: Path, said: bytes, rng: np.random.Generator, manner: str) -> None:
        super().__init__(daemon=True)
        self.said, self.rng, self.manner, self.heard = said, rng, manner, b""
        self.has_spoken = threading.Event()
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            with suppress(OSError):
                for piece in self._pieces():
                    connection.sendall(piece)
                if self.manner == "patient":
                    connection.shutdown(socket.SHUT_WR)
            self.has_spoken.set()
            while self.manner != "abrupt" and (part := self._heard(connection)):
                self.heard += part

    def _heard(self, connection: socket.socket) -> bytes:
        # a client that leaves before all is read resets the connection, which comes before what it had said
        with suppress(ConnectionResetError):
            return connection.recv(1 << 16)
        return connection.recv(1 << 16)

    def _pieces(self) -> list[bytes]:
        cuts = sorted(self.rng.integers(len(self.said) + 1, size=self.rng.integers(6)).tolist())
        return [self.said[a:b] for a, b in itertools.pairwise([0, *cuts, len(self.said)])]

    def end(self) -> bytes:
        """Return all that was heard."""
        self.join(20)
        assert not self.is_alive(), "the client has not gone"
        self.listener.close()
        return self.heard


def replies_of(heard: bytes) -> list[str | tuple[float, np.ndarray]]:
    """What a client said: statuses by name, energies with forces."""
    replies, at = [], 0
    while at < len(heard):
        name, at = heard[at : at + HEADER].decode().strip(), at + HEADER
        if name != "FORCEREADY":
            replies.append(name)
            continue
        energy, count = struct.unpack("=di", heard[at : at + 12])
        forces_av = np.frombuffer(heard[at + 12 : at + 12 + 24 * count]).reshape(count, 3)
        at += 12 + 24 * count + 72
        (length,) = struct.unpack("=i", heard[at : at + 4])
        json.loads(heard[at + 4 : at + 4 + length])
        replies.append((energy, forces_av))
        at += 4 + length
    return replies


def assert_right(replies, owed, surface):
    for reply, expected in zip(replies, owed, strict=False):
        if isinstance(expected, str):
            assert reply == expected
        else:
            right = surface.at(expected)
            assert reply[0] == right.energy and np.array_equal(reply[1], right.forces_av)


def refusal(error: MpiqmdError) -> str:
    """The message, which must be one that a terminal may show."""
    message = str(error)
    assert len(message) < 2000 and all(character.isprintable() for character in message), repr(message)
    return message


def converse(folder: Path, case: int) -> str:
    """Have one hostile conversation and return how it ended; fails if it ends in any other way than it must."""
    rng = np.random.default_rng([case, 5])
    said, is_periodic = hostile(rng), bool(rng.integers(2))
    manner = str(rng.choice(["patient", "abrupt", "silent"], p=[0.8, 0.15, 0.05]))
    server, surface = Server(folder / "socket", said, rng, manner), Springs()
    expected = Expected(N_ATOMS, EDGES if is_periodic else None)
    started = time.monotonic()
    patience = Interruption(walltime=0.2 if manner == "silent" else None)
    talk = Conversation(Address.unix(str(folder / "socket")), expected, patience)
    try:
        with limited():
            serve(talk, surface, [surface.fresh()], MPI.COMM_SELF, silent(MPI.COMM_SELF))
        ended = talk.why()
    except MpiqmdError as error:
        refusal(error)
        ended = "refused"
    finally:
        talk.close()
    replies, owed = replies_of(server.end()), due(said, is_periodic)
    assert time.monotonic() - started < 5.0
    assert_right(replies, owed.replies, surface)
    if manner == "patient" and all(np.isfinite(surface.at(each).energy) for each in owed.asked):
        assert (ended, len(replies)) == (owed.ends, len(owed.replies)), (ended, owed.ends)
    return f"{manner}: {ended}"


def converse_often(folder, monkeypatch, cases):
    monkeypatch.setattr(client, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(conversation, "LOOK_EVERY", 0.05)
    ends, wrong = Counter(), []
    for case in cases:
        try:
            ends[converse(folder, case)] += 1
        except Exception as problem:
            wrong.append(f"case {case}: {type(problem).__name__}: {str(problem)[:300]}")
    print(f"{len(cases)} conversations: " + ", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    assert not wrong, f"{len(wrong)} of {len(cases)}\n" + "\n".join(wrong[:20])
    return ends


def test_a_good_conversation_is_what_the_oracle_expects(rng):
    owed = due(b"".join(good(rng)), is_periodic=True)
    assert owed.ends == "EXIT" and owed.replies[0] == "NEEDINIT" and not isinstance(owed.replies[3], str)


def test_hostile_servers(tmp_path, monkeypatch):
    ends = converse_often(tmp_path, monkeypatch, range(200))
    assert ends["patient: refused"] > 50 and ends["patient: EXIT"] > 5


@pytest.mark.slow
def test_thousands_of_hostile_servers(tmp_path, monkeypatch):
    converse_often(tmp_path, monkeypatch, range(1000, 6000))


def command(folder, boundary, *words):
    path = folder / f"{boundary}.toml"
    path.write_text(INPUT.replace("BOUNDARY", boundary))
    return ["ipi", str(path), "--unix", str(folder / "socket"), "--output", str(folder / "out"), *words]


@pytest.mark.slow
def test_the_whole_command_with_hostile_servers(tmp_path, capfd):
    """Hundreds of conversations on the real surface: status 0 or 1, one line of words for an error, never a traceback."""
    statuses = Counter()
    for case in range(300):
        rng = np.random.default_rng([case, 6])
        said, boundary = hostile(rng), str(rng.choice(["periodic", "isolated"]))
        server = Server(tmp_path / "socket", said, rng, "patient")
        status = run_job(parse_arguments(command(tmp_path, boundary, "--quiet")), MPI.COMM_SELF)
        server.end()
        complaint = capfd.readouterr().err
        statuses[status] += 1
        assert status in (0, 1) and "Traceback" not in complaint and "Warning" not in complaint, (case, complaint)
        lines = complaint.splitlines()
        assert len(lines) == status and all(line.startswith("mpiqmd: error: ") and line.isprintable() for line in lines)
    print(f"{sum(statuses.values())} conversations: {dict(statuses)}")
    assert statuses[0] > 10 and statuses[1] > 100


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("said", [b"", b"STAT", b"POSDATA     " + bytes(100)], ids=["nothing", "header", "body"])
def test_a_silent_server_is_left_at_a_signal(tmp_path, number, status, said):
    server = Server(tmp_path / "socket", said, np.random.default_rng(1), "silent")
    words = [sys.executable, "-m", "mpiqmd", *command(tmp_path, "isolated")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert server.has_spoken.wait(60)
    time.sleep(0.5)
    os.kill(process.pid, number)
    complaint = process.communicate(timeout=20)[1]
    assert process.returncode == status and "Traceback" not in complaint
    server.end()
