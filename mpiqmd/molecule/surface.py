"""The seam between nuclei and electrons: geometries in, energies and forces out.

Dynamics, servers and optimisers see every surface, Hi-Fi or reduced, as a :class:`Surface`.  A surface has no history: what
one evaluation leaves for the next is a :class:`Memory`, which belongs to whoever asks and is handed over with the geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation

Asked = TypeVar("Asked")
Remembering = TypeVar("Remembering", bound="Memory")
Answer = TypeVar("Answer")


class Memory:
    """What one owner's evaluations leave for the next; this one remembers nothing.

    Attributes
    ----------
    at_once
        How many geometries of as many owners are solved together; 1 where each is solved by itself.
    """

    at_once = 1

    def state(self) -> dict[str, np.ndarray]:
        """Return what an exact restart needs, replicated: arrays of any shape, atomic units; may be empty.  Collective."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, on every rank.  Collective."""

    def forget(self) -> None:
        """Be as new: the next geometry has nothing to do with those before.  Not collective."""


class Surface(Protocol[Remembering]):
    """A potential energy surface, with memories of its own kind."""

    def fresh(self, company: int = 1) -> Remembering:
        """Return the memory of a new owner, one of ``company`` whose geometries are asked for together.  Not collective."""
        ...

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Remembering]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces at geometries (B, N, 3), bohr, each with its owner's memory, or errors in their places.

        Collective; same result everywhere.  A geometry's numbers do not depend on the others, nor on their number; on its
        memory they may.
        """
        ...


def evaluation_at(surface: Surface[Remembering], positions_av: np.ndarray, memory: Remembering) -> Evaluation:
    """Return energy and forces at one geometry (N, 3), bohr.  Collective.  Raises what the surface says instead."""
    (result,) = surface.evaluate([positions_av], [memory])
    return found(result)


def found(result: Evaluation | MpiqmdError) -> Evaluation:
    """Return an evaluation; raise the error that is in its place.  Not collective."""
    if isinstance(result, MpiqmdError):
        raise result
    return result


def one_by_one(
    answer: Callable[[Asked, Remembering], Answer], asked: Sequence[Asked | MpiqmdError], memories: Sequence[Remembering]
) -> list[Answer | MpiqmdError]:
    """Return the answer to each thing asked, with its memory; an error takes the place of what it concerns."""
    if len(asked) == 1:
        return [_answer_or_error(answer, asked[0], memories[0])]
    return [_answer_or_error(answer, each, memory) for each, memory in zip(asked, memories, strict=True)]


def _answer_or_error(
    answer: Callable[[Asked, Remembering], Answer], asked: Asked | MpiqmdError, memory: Remembering
) -> Answer | MpiqmdError:
    if isinstance(asked, MpiqmdError):
        return asked
    try:
        return answer(asked, memory)
    except MpiqmdError as error:
        return error


def in_parts(
    answer: Callable[[Sequence[np.ndarray], Sequence[Remembering]], list[Evaluation | MpiqmdError]],
    positions_bav: Sequence[np.ndarray],
    memories: Sequence[Remembering],
) -> list[Evaluation | MpiqmdError]:
    """Return the answers to geometries, asked for in parts of as many as are solved together."""
    at_once = memories[0].at_once if memories else 1
    if len(memories) <= at_once:
        return answer(positions_bav, memories)
    firsts = range(0, len(memories), at_once)
    parts = (answer(positions_bav[k : k + at_once], memories[k : k + at_once]) for k in firsts)
    return [result for part in parts for result in part]


class Owner(Generic[Remembering]):
    """A surface with one memory, asked for one geometry at a time.  Construction is not collective."""

    def __init__(self, surface: Surface[Remembering]) -> None:
        self.surface, self.memory = surface, surface.fresh()

    def at(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at one geometry (N, 3), bohr.  Collective.  Raises what the surface says instead."""
        return evaluation_at(self.surface, positions_av, self.memory)
