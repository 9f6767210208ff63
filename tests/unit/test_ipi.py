"""The client's side of i-PI's protocol against a server written down here byte by byte."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.errors import AccuracyError, ConfigError, DataFileError, GeometryError
from mpiqmd.ipi import Address, Answer, Client, Expected, connect
from mpiqmd.ipi.conversation import Conversation, with_news
from mpiqmd.ipi.serving import serve
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.parallel.log import silent
from tests.helpers.toy_surfaces import ToySurface

WAIT = 20.0
"""Seconds after which a test that hangs fails instead."""


class Server:
    """A server for one client, on a port of its own; rank 0 only."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(WAIT)
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.connection: socket.socket | None = None

    def accept(self) -> None:
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(WAIT)

    def send(self, *parts: bytes | str) -> None:
        self.connection.sendall(b"".join(p if isinstance(p, bytes) else p.ljust(12).encode() for p in parts))

    def read(self, n_bytes: int) -> bytes:
        data = b""
        while len(data) < n_bytes:
            part = self.connection.recv(n_bytes - len(data))
            assert part, "the client has gone"
            data += part
        return data

    def status(self) -> str:
        self.send("STATUS")
        return self.read(12).decode().strip()

    def initialise(self, bead: int = 0, text: bytes = b"nothing") -> None:
        self.send("INIT", struct.pack("=ii", bead, len(text)), text)

    def send_positions(self, positions_av: np.ndarray, cell_vv: np.ndarray | None = None) -> None:
        cell = np.eye(3).tobytes() * 2 if cell_vv is None else cell_vv.tobytes() + np.linalg.inv(cell_vv).tobytes()
        count = struct.pack("=i", len(positions_av))
        self.send("POSDATA", cell, count, np.asarray(positions_av, float).tobytes())

    def fetch(self, n_atoms: int) -> tuple[float, np.ndarray, np.ndarray, dict]:
        self.send("GETFORCE")
        assert self.read(12).decode() == "FORCEREADY  "
        (energy,), (count,) = struct.unpack("=d", self.read(8)), struct.unpack("=i", self.read(4))
        assert count == n_atoms
        forces_av = np.frombuffer(self.read(24 * count)).reshape(count, 3)
        virial_vv = np.frombuffer(self.read(72)).reshape(3, 3)
        (length,) = struct.unpack("=i", self.read(4))
        return energy, forces_av, virial_vv, json.loads(self.read(length))

    def client_leaves(self) -> bool:
        """Wait for the client's next byte, which must not come; what it left unread resets the connection."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        for each in (self.connection, self.listener):
            if each is not None:
                each.close()


@contextmanager
def serving(comm, script):
    """Yield the address of a server that runs ``script(server)`` in a thread of rank 0, and wait for its end."""
    server, problems, thread = None, [], None
    if comm.rank == 0:
        server = Server()

        def play():
            try:
                server.accept()
                script(server)
            except BaseException as problem:
                problems.append(problem)
            finally:
                server.close()

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
    address = comm.bcast(server.address if server else None, root=0)
    try:
        yield address
    finally:
        if thread is not None:
            thread.join(WAIT)
            assert not thread.is_alive(), "the server still waits"
    assert not problems, problems


class Springs(ToySurface):
    """Every atom pulled to the origin by its own spring: ``E = sum k_a R_a^2 / 2``."""

    def __init__(self, **extras) -> None:
        self.asked, self.extras = [], extras

    def at(self, positions_av, memory=None):
        self.asked.append(positions_av)
        constants_a = np.arange(1.0, 1.0 + len(positions_av))[:, None]
        energy = 0.5 * float((constants_a * positions_av**2).sum())
        extras = dict(zip(DIPOLE, (0.1, 0.2, 0.3), strict=True)) | self.extras
        return Evaluation(energy, -constants_a * positions_av, extras)


def converse(comm, address, surface, n_atoms=3, patience=WAIT, cell_v=None):
    talk = Conversation(address, Expected(n_atoms, cell_v), Interruption(), patience)
    try:
        return serve(talk, surface, [surface.fresh()], comm, silent(comm)), comm.bcast(talk.why() if comm.rank == 0 else None)
    finally:
        talk.close()


def test_a_whole_conversation(comm, rng):
    geometries = rng.normal(size=(5, 3, 3))
    answers = []

    def script(server):
        assert server.status() == "NEEDINIT"
        server.initialise()
        for positions_av in geometries:
            assert server.status() == "READY"
            server.send_positions(positions_av)
            assert server.status() == "HAVEDATA"
            answers.append(server.fetch(3))
        assert server.status() == "READY"
        server.send("EXIT")

    surface = Springs(error_estimate=1e-6, force_error_estimate=1e-4, training_distance=0.5)
    with serving(comm, script) as address:
        served, ended = converse(comm, address, surface)
    assert ended == "EXIT" and served.evaluations == 5
    assert served.as_dict()["largest_training_distance"] == 0.5 and served.as_dict()["largest_error_estimate"] == 1e-6
    assert served.as_dict()["largest_force_error_estimate"] == 1e-4
    assert "largest error estimates 1.0e-06 Ha and 1.0e-04 Ha/bohr" in served.line(ended)
    assert "training distance up to 0.50" in served.line(ended)
    # every rank was asked for the server's very numbers
    assert np.array_equal(surface.asked, geometries)
    for positions_av, (energy, forces_av, virial_vv, extras) in zip(geometries, answers, strict=False):
        expected = Springs().at(positions_av)
        assert energy == expected.energy and np.array_equal(forces_av, expected.forces_av)
        centred_av = positions_av - positions_av.mean(axis=0)
        assert np.allclose(virial_vv, np.einsum("av,aw->vw", centred_av, forces_av), atol=1e-14)
        assert extras == {
            "error_estimate": 1e-6,
            "force_error_estimate": 1e-4,
            "error_age": None,
            "training_distance": 0.5,
            "hifi": None,
            "on_grid": None,
            "dipole": [0.1, 0.2, 0.3],
        }


def test_messages_sent_together_and_in_pieces(comm):
    positions_av = np.arange(9.0).reshape(3, 3)

    def script(server):
        server.initialise(text=b"")
        for _ in range(2):
            count = struct.pack("=i", 3)
            whole = b"POSDATA     " + bytes(144) + count + positions_av.tobytes() + b"GETFORCE    "
            for start in range(0, len(whole), 50):
                server.send(whole[start : start + 50])
            assert server.read(12) == b"FORCEREADY  "
            server.read(8 + 4 + 72 + 72)
            server.read(struct.unpack("=i", server.read(4))[0])

    with serving(comm, script) as address:
        served, ended = converse(comm, address, Springs())
    assert served.evaluations == 2 and ended == "closed"
    assert "without EXIT" in served.line(ended)


def answer_then(*parts):
    def script(server):
        # a client that refuses what it hears has gone before all is said
        with suppress(OSError):
            server.initialise()
            server.send(*parts)
            server.connection.shutdown(socket.SHUT_WR)

    return script


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        (("POSITIONS",), DataFileError, "the header 'POSITIONS'.*i-PI server listens"),
        ((b"\x00\xff" * 6,), DataFileError, "the header"),
        (("GETFORCE",), DataFileError, "GETFORCE without a geometry"),
        (("POSDATA", bytes(144), struct.pack("=i", -2)), DataFileError, "POSDATA with -2 atoms"),
        (("POSDATA", bytes(144), struct.pack("=i", 2**30)), DataFileError, "1073741824 atoms"),
        (("POSDATA", bytes(144), struct.pack("=i", 4), bytes(96)), ConfigError, "4 atoms, the input has 3"),
        (("POSDATA", bytes(100)), DataFileError, "after 100 of 144 bytes"),
        ((b"STAT",), DataFileError, "after 4 of 12 bytes"),
        (("INIT", struct.pack("=ii", 0, -1)), DataFileError, "-1 bytes"),
        (("INIT", struct.pack("=ii", 0, 12), b"batch_size:4"), ConfigError, "batch_size> 1"),
        (("INIT", struct.pack("=ii", 0, 15), b"batch_size\x1b[2J4"), ConfigError, r"batch_size\\x1b\[2J4"),
        (("INIT", struct.pack("=ii", 0, 2**31 - 1)), DataFileError, "2147483647 bytes"),
        (("POSDATA", bytes(144), struct.pack("=i", 0)), DataFileError, "POSDATA with 0 atoms"),
        (("POSDATA", bytes(144), struct.pack("=i", 3), struct.pack("=9d", *[1.0] * 8, np.nan)), DataFileError, "not finite"),
        (("POSDATA", bytes(144), struct.pack("=i", 3), struct.pack("=9d", *[1.0] * 8, -np.inf)), DataFileError, "not finite"),
    ],
)
def test_what_is_not_the_protocol_is_an_error_on_all_ranks(comm, parts, error, words):
    with serving(comm, answer_then(*parts)) as address, pytest.raises(error, match=words):
        converse(comm, address, Springs())


CELL = np.diag([8.0, 9.0, 10.0])


def test_a_periodic_input_wants_its_own_cell(comm):
    """Five digits of an angstrom are enough; the numbers are those of the same positions."""
    positions_av = np.arange(9.0).reshape(3, 3)

    def script(server):
        server.send_positions(positions_av, CELL + 3e-5)
        assert server.fetch(3)[0] == Springs().at(positions_av).energy
        server.send("EXIT")

    with serving(comm, script) as address:
        served, _ = converse(comm, address, Springs(), cell_v=np.diag(CELL))
    assert served.evaluations == 1


@pytest.mark.parametrize(
    "cell_vv",
    [30.0 * np.eye(3), CELL * 1.001, CELL + np.eye(3, k=1), np.zeros((3, 3)), CELL * np.nan, -CELL, CELL[::-1]],
    ids=["box", "barostat", "tilted", "zero", "nan", "negative", "exchanged"],
)
def test_another_cell_is_refused_with_both_named(comm, cell_vv):
    both = cell_vv.tobytes() + np.linalg.pinv(np.nan_to_num(cell_vv)).tobytes()
    parts = "POSDATA", both, struct.pack("=i", 3), np.ones(9).tobytes()
    words = r"the server sends the cell \[\[.*the input's is \[\[8.0, 0.0, 0.0\], \[0.0, 9.0"
    with serving(comm, answer_then(*parts)) as address, pytest.raises(ConfigError, match=words):
        converse(comm, address, Springs(), cell_v=np.diag(CELL))


@pytest.mark.parametrize("inverse_vv", [CELL, np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), np.inf)])
def test_an_inverse_that_contradicts_its_cell_is_refused(comm, inverse_vv):
    parts = "POSDATA", CELL.tobytes() + inverse_vv.tobytes(), struct.pack("=i", 3), np.ones(9).tobytes()
    with serving(comm, answer_then(*parts)) as address, pytest.raises(DataFileError, match="contradict each other"):
        converse(comm, address, Springs(), cell_v=np.diag(CELL))


@pytest.mark.serial
def test_the_number_of_connections_has_no_limit_of_ours():
    """Descriptors beyond 1023, which select does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    low, (one, other) = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)], socket.socketpair()
    try:
        assert one.fileno() > 1023
        client = Client(one, Expected(3))
        assert with_news([client], 0.01) == []
        other.sendall(b"EXIT        ")
        assert with_news([client], WAIT) == [client] and client.serve_message() is None and client.ended == "EXIT"
    finally:
        for number in low:
            os.close(number)
        one.close()
        other.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("where", ["energy", "forces"])
def test_numbers_that_are_not_finite_are_not_sent(comm, where):
    class Broken(Springs):
        def at(self, positions_av, memory=None):
            good = super().at(positions_av, memory)
            forces_av = good.forces_av * (np.nan if where == "forces" else 1.0)
            return Evaluation(np.inf if where == "energy" else good.energy, forces_av)

    def script(server):
        server.send_positions(np.ones((3, 3)))
        server.send("GETFORCE")
        assert server.client_leaves()

    with serving(comm, script) as address, pytest.raises(AccuracyError, match="not finite"):
        converse(comm, address, Broken())


def test_an_error_of_the_surface_ends_it_on_all_ranks(comm):
    class Narrow(Springs):
        def at(self, positions_av, memory=None):
            raise GeometryError("outside the tables")

    def script(server):
        server.send_positions(np.ones((3, 3)))
        assert server.client_leaves()

    with serving(comm, script) as address, pytest.raises(GeometryError, match="outside the tables"):
        converse(comm, address, Narrow())


def test_a_signal_ends_the_wait(comm):
    reasons = iter([None, None, None, None, "SIGTERM"])
    last = ["SIGTERM"]

    def script(server):
        assert server.status() == "NEEDINIT"
        assert server.client_leaves()

    with serving(comm, script) as address:
        talk = Conversation(address, Expected(3), SimpleNamespace(reason=lambda: next(reasons, last[0])))
        try:
            served = serve(talk, Springs(), [Memory()] * 2, comm, silent(comm))
        finally:
            talk.close()
    assert served.evaluations == 0
    assert comm.rank != 0 or talk.why() == "SIGTERM"


def test_a_server_that_is_not_there(comm):
    free = socket.create_server(("127.0.0.1", 0))
    address = comm.bcast(Address("127.0.0.1", free.getsockname()[1]))
    free.close()
    with pytest.raises(ConfigError, match=f"no server at {address}"):
        converse(comm, address, Springs(), patience=0.0)
    with pytest.raises(ConfigError, match="no server at /nowhere/socket"):
        converse(comm, Address.unix("/nowhere/socket"), Springs(), patience=0.0)


@pytest.mark.serial
def test_a_server_that_comes_later(tmp_path):
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    timer = threading.Timer(0.3, lambda: (listener.bind(str(path)), listener.listen()))
    timer.start()
    connection = connect(Address.unix(str(path)), patience=WAIT)
    timer.join()
    assert connection.family == socket.AF_UNIX
    connection.close()
    listener.close()
    assert connect(Address.unix(str(path)), WAIT, lambda: "SIGTERM") is None


@pytest.mark.serial
def test_addresses():
    assert Address.internet("localhost:31415") == Address("localhost", 31415)
    assert Address.internet("[::1]:80") == Address("::1", 80)
    assert str(Address.unix("water")) == "/tmp/ipi_water"
    for name in ("a" * 300, "..", "a..b"):
        with pytest.raises(ConfigError, match="no server at"):
            connect(Address(name, 80), patience=0.0)
    for wrong in ("localhost", ":31415", "localhost:", "localhost:0", "localhost:65536", "a:-1", "a:x"):
        with pytest.raises(ConfigError, match="host:port is expected"):
            Address.internet(wrong)
    with pytest.raises(ConfigError, match="no name"):
        Address.unix("")


@pytest.mark.serial
def test_extras_that_json_does_not_know():
    answer = Answer(1.0, np.zeros((1, 3)), np.zeros((3, 3)), {"a": float("nan"), "b": [1.0, float("inf")], "c": None})
    text = answer.encoded()[12 + 8 + 4 + 24 + 72 + 4 :]
    assert json.loads(text) == {"a": None, "b": [1.0, None], "c": None}


@pytest.mark.serial
@pytest.mark.parametrize("words", [[], ["--unix", "a", "--address", "b:1"]])
def test_the_command_wants_one_address(words, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["ipi", "water.toml", *words])
    assert "--unix" in capsys.readouterr().err


@pytest.mark.serial
def test_a_real_signal_while_waiting():
    listener = socket.create_server(("127.0.0.1", 0))
    interruption = Interruption()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    with interruption.listening(), listener:
        timer.start()
        talk = Conversation(Address("127.0.0.1", listener.getsockname()[1]), Expected(3), interruption, connections=2)
        assert talk.next_geometries() == {} and talk.why() == "SIGTERM"
        talk.close()
    timer.join()


class BatchedSprings(Springs):
    """The springs; counts how many geometries are asked for at once, and remembers what each connection asked for."""

    class Asked(Memory):
        def __init__(self):
            self.geometries = []

    def __init__(self) -> None:
        super().__init__()
        self.sizes = []

    def fresh(self, company=1):
        assert company == 4
        return self.Asked()

    def evaluate(self, positions_bav, memories):
        self.sizes.append(len(positions_bav))
        return super().evaluate(positions_bav, memories)

    def at(self, positions_av, memory=None):
        memory.geometries.append(positions_av)
        return super().at(positions_av, memory)


@pytest.mark.parametrize("busy", [4, 2])
def test_several_connections_are_answered_together(comm, rng, busy):
    """All connections that have a geometry get its forces, whether or not the others have one."""
    geometries, answers = rng.normal(size=(3, busy, 3, 3)), []

    def script(server):
        connections = [server.connection]
        for _ in range(3):
            server.accept()
            connections.append(server.connection)

        def each(function, count=4):
            results = []
            for b in range(count):
                server.connection = connections[b]
                results.append(function(b))
            return results

        assert each(lambda b: server.status()) == ["NEEDINIT"] * 4
        each(lambda b: server.initialise(b))
        for round_bav in geometries:
            each(lambda b, round_bav=round_bav: server.send_positions(round_bav[b]), busy)
            answers.append(each(lambda b: server.fetch(3), busy))
        each(lambda b: server.send("EXIT"))
        each(lambda b: server.connection.close())

    surface = BatchedSprings()
    with serving(comm, script) as address:
        talk = Conversation(address, Expected(3), Interruption(), WAIT, connections=4)
        try:
            memories = [surface.fresh(4) for _ in range(4)]
            served = serve(talk, surface, memories, comm, silent(comm))
        finally:
            talk.close()
    assert comm.rank != 0 or talk.why() == "EXIT"
    assert served.evaluations == 3 * busy == sum(surface.sizes) and max(surface.sizes) <= busy
    assert served.as_dict()["evaluations_at_once"] == served.evaluations / len(surface.sizes)
    # connections bring their geometries in their order, each its own
    for b, memory in enumerate(memories[:busy]):
        assert np.array_equal(memory.geometries, geometries[:, b])
    for round_bav, answered in zip(geometries, answers, strict=False):
        for positions_av, (energy, forces_av, _, _) in zip(round_bav, answered, strict=True):
            expected = Springs().at(positions_av)
            assert energy == expected.energy and np.array_equal(forces_av, expected.forces_av)


def test_an_error_at_one_geometry_of_several_ends_it_on_all_ranks(comm):
    class Narrow(BatchedSprings):
        def at(self, positions_av, memory=None):
            if positions_av[0, 0] > 1:
                raise GeometryError("outside the tables")
            return super().at(positions_av, memory)

    def script(server):
        connections = [server.connection]
        for _ in range(3):
            server.accept()
            connections.append(server.connection)
        for b, server.connection in enumerate(connections):
            server.send_positions(np.full((3, 3), b))
        for server.connection in connections:
            assert server.client_leaves()
            server.connection.close()

    with serving(comm, script) as address:
        talk = Conversation(address, Expected(3), Interruption(), WAIT, connections=4)
        with pytest.raises(GeometryError, match="outside the tables"):
            serve(talk, Narrow(), [Narrow().fresh(4) for _ in range(4)], comm, silent(comm))
        talk.close()
