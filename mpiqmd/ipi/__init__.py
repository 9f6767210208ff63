"""The client of i-PI servers: where they listen, what is said, and what a surface answers."""

from mpiqmd.ipi.address import Address, connect, connect_now
from mpiqmd.ipi.client import Answer, Client, Expected

__all__ = ["Address", "Answer", "Client", "Expected", "connect", "connect_now"]
