"""Commands that evaluate one geometry after the other end between two of them when somebody wants them to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.md.interruption import Interruption, exit_status
from mpiqmd.md.provider import Evaluation, ForceProvider
from mpiqmd.parallel.comm import decide

if TYPE_CHECKING:
    from mpi4py import MPI


class EndedEarly(Exception):
    """There is a reason to end; the evaluations made are kept, and the same command continues."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"stopped ({reason}); what is done is kept, and the same command continues")
        self.reason = reason

    def result(self) -> dict[str, Any]:
        """Return what ``result.json`` holds then."""
        return {"stopped": self.reason, "exit_status": exit_status(self.reason)}


class WatchedSurface:
    """A surface that ends the command instead of answering when there is a reason to.  Construction is not collective.

    Parameters
    ----------
    provider
        The surface.
    interruption
        Asked on rank 0 before every evaluation.
    comm
        Communicator of the surface.
    """

    def __init__(self, provider: ForceProvider, interruption: Interruption, comm: MPI.Comm) -> None:
        self.provider, self.interruption, self.comm = provider, interruption, comm

    def evaluate(self, positions_av: np.ndarray) -> Evaluation:
        """Return energy and forces at ``positions_av`` (N, 3), bohr.  Collective.  Raises EndedEarly."""
        reason = decide(self.comm, self.interruption.reason())
        if reason is not None:
            raise EndedEarly(reason)
        return self.provider.evaluate(positions_av)
