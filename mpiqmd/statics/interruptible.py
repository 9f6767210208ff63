"""A surface whose evaluations end between two of them when somebody wants them to: a signal, or the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Surface
from mpiqmd.parallel.comm import decide
from mpiqmd.parallel.interruption import Interruption, exit_status

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


class InterruptibleSurface:
    """A surface that ends the command instead of answering when there is a reason to.  Construction is not collective.

    Parameters
    ----------
    surface
        The surface.
    interruption
        Asked on rank 0 before every evaluation.
    comm
        Communicator of the surface.
    """

    def __init__(self, surface: Surface, interruption: Interruption, comm: MPI.Comm) -> None:
        self.surface, self.interruption, self.comm = surface, interruption, comm

    def fresh(self, company: int = 1) -> Memory:
        """Return the surface's memory of a new owner.  Not collective."""
        return self.surface.fresh(company)

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Memory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces, or errors in their places.  Collective.  Raises EndedEarly."""
        reason = decide(self.comm, self.interruption.reason())
        if reason is not None:
            raise EndedEarly(reason)
        return self.surface.evaluate(positions_bav, memories)
