"""``mpiqmd ipi``: energies and forces for an i-PI server, on either surface.

Rank 0 talks to the server and broadcasts what it is asked; all ranks evaluate.  One process serves all beads: over one
connection one after the other, over as many connections as there are beads in batches, which a compiled model gains from.
"""

from __future__ import annotations

import argparse
import select
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.ipi import LOOK_EVERY, Address, Answer, Client, Expected, connect, connect_now
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.surface import Memory, Surface, found
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.interruption import Interruption, exit_status
from mpiqmd.pipeline.surface import build_calculation, error_checks, print_checks

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

GATHERING = 0.02
"""Seconds after the latest geometry in which the other connections may bring theirs, to be evaluated with it."""
EXTRAS = ("error_estimate", "error_age", "outside", "hifi")
"""Numbers sent with every answer: i-PI wants the same names from every bead."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Serve until the server says EXIT and return what ``result.json`` holds.  Collective."""
    address = Address.internet(arguments.address) if arguments.unix is None else Address.unix(arguments.unix)
    calculation = build_calculation(arguments, comm, log)
    log(f"{calculation.solver} surface of {calculation.molecule.formula} for the i-PI server at {address}")
    log(calculation.model.describe())
    # no STOP file: the server decides when the run is over
    interruption = Interruption()
    expected = Expected(len(calculation.molecule), calculation.grid.periodic_cell_v)
    talk = Conversation(address, expected, interruption, connections=arguments.connections)
    memories = [calculation.surface.fresh(arguments.connections) for _ in range(arguments.connections)]
    with interruption.listening():
        try:
            served = serve(talk, calculation.surface, memories, comm, log)
        finally:
            talk.close()
    ended = on_rank_zero(comm, talk.why)
    log.afterwards(served.line(ended))
    print_checks(calculation.surface, memories, log.afterwards, "evaluation")
    signalled = None if ended in ("EXIT", "closed") else ended
    return (
        served.as_dict()
        | error_checks(calculation.surface, memories)
        | {
            "solver": calculation.solver,
            "address": str(address),
            "connections": arguments.connections,
            "ended": ended,
            "exit_status": exit_status(signalled),
        }
    )


class Conversation:
    """Rank 0's connections to the server, made when they are first needed.  Only rank 0 calls the methods.

    Parameters
    ----------
    address
        Where the server listens.
    expected
        What the server must have.
    interruption
        Signals that end it.
    patience
        Seconds to wait for a server that is not there yet.
    connections
        How many: the server sees as many clients.
    """

    def __init__(
        self,
        address: Address,
        expected: Expected,
        interruption: Interruption,
        patience: float = 60.0,
        connections: int = 1,
    ) -> None:
        self.address, self.expected, self.interruption, self.patience = address, expected, interruption, patience
        self.connections = connections
        self._clients: list[Client] = []
        self._asked: list[Client] = []
        self._next_try = 0.0

    def next_geometries(self) -> dict[int, np.ndarray]:
        """Return the next geometries (N, 3), bohr, by the number of the connection that has one; none at the end.

        Waits for all connections, but not long for those that get nothing.  Raises as :class:`mpiqmd.ipi.Client` does.
        """
        asked: dict[Client, np.ndarray] = {}
        latest = 0.0
        self._connect_first()
        while (waiting := [client for client in self._clients if not client.ended and client not in asked]) or asked:
            if self.interruption.reason() is not None:
                return {}
            if asked and (not waiting or time.monotonic() - latest > GATHERING):
                break
            self._connect_another()
            patience = GATHERING if asked or len(self._clients) < self.connections else LOOK_EVERY
            for client in with_news(waiting, patience):
                positions_av = client.serve_message()
                if positions_av is not None:
                    asked[client], latest = positions_av, time.monotonic()
        self._asked = list(asked)
        return {self._clients.index(client): positions_av for client, positions_av in asked.items()}

    def answer(self, answers: list[Answer]) -> None:
        """Keep what the server will fetch next.  Raises AccuracyError if something is not finite."""
        for client, answer in zip(self._asked, answers, strict=True):
            answer.encoded()
            client.answer(answer)

    def why(self) -> str:
        """Return why there are no more geometries."""
        ended = next((client.ended for client in self._clients if client.ended), "")
        return ended or self.interruption.reason() or "closed"

    def close(self) -> None:
        """Close the connections, on any rank."""
        for client in self._clients:
            client.close()

    def _connect_first(self) -> None:
        """Make the first connection, for which the server is waited for; none if it is time to end."""
        if not self._clients:
            self._keep(connect(self.address, self.patience, self.interruption.reason))

    def _connect_another(self) -> None:
        """Try to make one more if there are not enough: a server greets its clients one by one, and may keep others waiting."""
        if len(self._clients) < self.connections and time.monotonic() >= self._next_try:
            self._keep(connect_now(self.address, GATHERING))

    def _keep(self, connection: socket.socket | None) -> None:
        if connection is None:
            self._next_try = time.monotonic() + 10.0 * GATHERING
        else:
            self._clients.append(Client(connection, self.expected, self.interruption.reason))


def with_news(clients: list[Client], seconds: float) -> list[Client]:
    """Return those of any number of clients that have something to read, after at most so many seconds.  Not collective."""
    poll, by_number = select.poll(), {client.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(1000.0 * seconds)]


class Served:
    """What was served: counts, times and the worst that was seen."""

    def __init__(self) -> None:
        self.evaluations, self.calls, self.outside, self.solved_in_full = 0, 0, 0, 0
        self.largest_outside: float | None = None
        self.largest_error: float | None = None
        self.seconds: float = 0.0

    def add(self, evaluations: list[Evaluation], seconds: float) -> None:
        """Count what was evaluated at once."""
        self.calls += 1
        self.seconds += seconds
        for evaluation in evaluations:
            self._count(evaluation.extras)

    def _count(self, extras: dict[str, float]) -> None:
        self.evaluations += 1
        self.outside += extras.get("outside", 0.0) > 0.0
        self.solved_in_full += extras.get("hifi", 0.0) > 0.0
        self.largest_outside = _larger(self.largest_outside, extras.get("outside"))
        self.largest_error = _larger(self.largest_error, extras.get("error_estimate"))

    def line(self, ended: str = "") -> str:
        """Return one line about it all."""
        each = f", {1e3 * self.seconds / self.evaluations:.3g} ms each" if self.evaluations else ""
        words = f"{self.evaluations} evaluations{each}"
        if self.outside:
            words += f", {self.outside} outside the sampled region (up to {self.largest_outside:.2f} half-widths)"
        if self.largest_error is not None:
            words += f", largest error estimate {self.largest_error:.1e} Ha"
        ends = {"": "", "EXIT": "; the server is done", "closed": "; the server closed the connection without EXIT"}
        return words + ends.get(ended, f"; ended by {ended}")

    def as_dict(self) -> dict[str, Any]:
        """Return it for ``result.json``."""
        return {
            "evaluations": self.evaluations,
            "evaluations_at_once": self.evaluations / self.calls if self.calls else None,
            "outside": self.outside,
            "solved_in_full": self.solved_in_full,
            "largest_outside": self.largest_outside,
            "largest_error_estimate": self.largest_error,
            "seconds_per_evaluation": self.seconds / self.evaluations if self.evaluations else None,
        }


def serve(talk: Conversation, surface: Surface, memories: Sequence[Memory], comm: MPI.Comm, log: Log) -> Served:
    """Answer until there are no more geometries and return what was served.  Collective.  Every connection has its memory.

    Errors of the surface (outside the tables, not converged) and of the connection are raised on all ranks.
    """
    served = Served()
    while asked := on_rank_zero(comm, talk.next_geometries):
        started, geometries = time.perf_counter(), list(asked.values())
        answers = surface.evaluate(geometries, [memories[number] for number in asked])
        evaluations = [found(answer) for answer in answers]
        served.add(evaluations, time.perf_counter() - started)
        on_rank_zero(comm, talk.answer, list(map(answer_of, evaluations, geometries)))
        log.progress("  " + served.line())
    return served


def answer_of(evaluation: Evaluation, positions_av: np.ndarray) -> Answer:
    """Return the answer to a geometry.  Not collective.

    The virial is that of the molecule, ``sum_a (R_a - R_0) (x) F_a`` with the centroid R_0; the cell carries no stress, so
    ensembles of constant pressure have no meaning here.  ``extras`` has ``error_estimate`` (Ha), ``error_age``, ``outside``
    (half-widths beyond the sampled region), ``hifi`` (1 where solved in full) and ``dipole`` (atomic units), null where
    unknown.
    """
    # absurd positions give a virial that is not finite, which is refused in words
    with np.errstate(over="ignore", invalid="ignore"):
        centred_av = positions_av - positions_av.mean(axis=0)
        virial_vv = centred_av.T @ evaluation.forces_av
    extras: dict[str, Any] = {name: evaluation.extras.get(name) for name in EXTRAS}
    extras["dipole"] = [evaluation.extras.get(name) for name in DIPOLE]
    return Answer(float(evaluation.energy), evaluation.forces_av, virial_vv, extras)


def _larger(first: float | None, second: float | None) -> float | None:
    """Return the larger of two numbers that may be unknown."""
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None
