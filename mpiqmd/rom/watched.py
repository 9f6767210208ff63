"""What all reduced surfaces have that watch their errors: the summary of what was seen, in numbers, words and findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.findings import Finding
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory
from mpiqmd.rom.reactions import Limits
from mpiqmd.rom.watch import Watch


class WatchedMemory(Memory):
    """A memory with what was seen of one owner's errors.

    Attributes
    ----------
    watch
        What has been seen so far; after an error, what was seen before it.
    whole
        The memory that this one is a part of, if it is one.
    """

    def __init__(self) -> None:
        self.watch = Watch()
        self.whole: WatchedMemory | None = None

    @property
    def evaluations(self) -> int:
        """How many evaluations the owner has seen, here or elsewhere."""
        return self.watch.evaluations if self.whole is None else self.whole.evaluations


class WatchedSurface(ABC):
    """A reduced surface that watches its errors: what it says of them.

    Parameters
    ----------
    limits
        When errors are estimated, which are large, and what follows.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    @abstractmethod
    def fresh(self, company: int = 1) -> Any:
        """Return the memory of a new owner, one of ``company``, a :class:`WatchedMemory`.  Not collective."""

    @abstractmethod
    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Any]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces with what is known of their errors, or errors in their places.  Collective."""

    def grown(self) -> dict[str, Any]:
        """Return what became of the model or the models, as plain data; nothing where they do not grow.  Not collective."""
        return {}

    def recall(self, state: Mapping[str, np.ndarray]) -> None:
        """Take back what the state of an owner says of the model or the models; nothing where they do not grow.  Collective."""
        return

    def summary(self, watch: Watch) -> dict[str, float | int | None]:
        """Return how many checks there were and what they found, for ``result.json``.  Not collective."""
        return watch.as_dict(self.limits.tolerance)

    def summary_lines(self, watch: Watch, name: Callable[[int], str]) -> list[str]:
        """Return the same in words; ``name`` says what an evaluation is called.  Not collective."""
        return watch.lines(self.limits.tolerance, name)

    def growth_lines(self, name: Callable[[int], str]) -> list[str]:
        """Return what became of the models in words; nothing where they do not grow.  Not collective."""
        return []

    def findings(self, watch: Watch) -> list[Finding]:
        """Return whether what was seen speaks for the results.  Not collective."""
        return watch.findings(self.limits.tolerance, self.limits.reaction.solves_large) + self.growth_findings()

    def growth_findings(self) -> list[Finding]:
        """Return what models that grew mean for the results; nothing where they do not grow.  Not collective."""
        return []
