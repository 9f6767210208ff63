"""The client of i-PI servers: where they listen, and what is said; nothing about physics."""

from mpiqmd.ipi.address import Address, connect, connect_now
from mpiqmd.ipi.client import LOOK_EVERY, Answer, Client, Expected

__all__ = ["LOOK_EVERY", "Address", "Answer", "Client", "Expected", "connect", "connect_now"]
