"""The seam between nuclei and electrons: positions in, energy and forces out.

Both surfaces (Hi-Fi and ROM) are seen by the dynamics through :class:`ForceProvider` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation

__all__ = ["BatchProvider", "Evaluation", "ForceProvider", "evaluate_each", "gains_from_batches"]

SMALLEST_BATCH = 4
"""Fewer geometries are quicker one after the other."""


class ForceProvider(Protocol):
    """A potential energy surface, possibly with a memory (extrapolated orbitals or density matrices)."""

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at ``positions_av`` (N, 3), bohr.  Collective; same result everywhere."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return the memory that an exact restart needs, replicated; may be empty.  Collective."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` returned, on every rank.  Collective."""
        ...


class BatchProvider(ForceProvider, Protocol):
    """A surface that can evaluate several geometries at once, for as many owners, each with a memory of its own.

    Attributes
    ----------
    batches
        Whether it does; a surface without this attribute does not.
    """

    batches: bool

    def fork(self) -> BatchProvider:
        """Return the same surface with a fresh memory; all that does not change is shared.  Not collective."""
        ...

    def evaluate_together(
        self, members: Sequence[BatchProvider], positions_bav: np.ndarray
    ) -> list[Evaluation | MpiqmdError]:
        """Return what each of ``members``, forks of this surface, says at its geometry (B, N, 3), bohr, or its error.

        Collective.  A geometry's numbers do not depend on the others, nor on their number.
        """
        ...


def gains_from_batches(provider: ForceProvider, count: int) -> bool:
    """Return whether so many geometries are better evaluated together.  Not collective."""
    return count >= SMALLEST_BATCH and getattr(provider, "batches", False)


def evaluate_each(
    providers: Sequence[ForceProvider], positions_bav: Sequence[np.ndarray], together: bool
) -> list[Evaluation | MpiqmdError]:
    """Return what every provider says at its geometry (N, 3), bohr, or its error: at once or one after the other.

    Collective.  ``together`` is for providers that are forks of one :class:`BatchProvider`.
    """
    if together:
        return providers[0].evaluate_together(providers, np.array(positions_bav))
    return [_evaluated(provider, positions_av) for provider, positions_av in zip(providers, positions_bav, strict=True)]


def _evaluated(provider: ForceProvider, positions_av: np.ndarray) -> Evaluation | MpiqmdError:
    try:
        return provider.evaluate(positions_av)
    except MpiqmdError as error:
        return error
