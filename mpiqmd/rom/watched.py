"""What all reduced surfaces have that watch their errors: the summary of what was seen, in numbers, words and findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
    """

    def __init__(self) -> None:
        self.watch = Watch()


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

    def results(self, watch: Watch) -> dict[str, Any]:
        """Return ``error_checks``, the summary, and what else belongs into ``result.json``.  Not collective."""
        return {"error_checks": self.summary(watch)}

    def summary(self, watch: Watch) -> dict[str, float | int | None]:
        """Return how many checks there were and what they found, for ``result.json``.  Not collective."""
        return watch.as_dict(self.limits.tolerance)

    def summary_lines(self, watch: Watch, name: Callable[[int], str]) -> list[str]:
        """Return the same in words; ``name`` says what an evaluation is called.  Not collective."""
        return watch.lines(self.limits.tolerance, name)

    def findings(self, watch: Watch) -> list[Finding]:
        """Return whether what was seen speaks for the results.  Not collective."""
        return watch.findings(self.limits.tolerance, self.limits.reaction.solves_large)
