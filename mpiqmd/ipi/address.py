"""Where an i-PI server listens, and connections to it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from mpiqmd.errors import ConfigError

UNIX_PREFIX = "/tmp/ipi_"
"""Where i-PI puts a UNIX socket of a name."""


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
        except (OSError, UnicodeError) as problem:
            # the others (no such host, a name or path that is too long) do not heal by waiting
            may_heal = isinstance(problem, ConnectionError | FileNotFoundError | TimeoutError | BlockingIOError)
            if not may_heal or time.monotonic() >= deadline:
                reason = getattr(problem, "strerror", None) or problem
                raise ConfigError(
                    f"no server at {address} ({reason}; tried for up to {patience:g} s); i-PI must listen "
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
