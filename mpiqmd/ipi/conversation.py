"""Rank 0's side of the connections to a server: who has a geometry, and who gets which answer."""

from __future__ import annotations

import select
import socket
import time

import numpy as np

from mpiqmd.ipi.address import Address, connect, connect_now
from mpiqmd.ipi.client import LOOK_EVERY, Answer, Client, Expected
from mpiqmd.parallel.interruption import Interruption

GATHERING = 0.02
"""Seconds after the latest geometry in which the other connections may bring theirs, to be evaluated with it."""


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
