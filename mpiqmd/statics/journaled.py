"""A surface whose evaluations come from a journal as far as it goes: the same questions in the same order cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import AccuracyError, MpiqmdError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Surface, evaluation_at, one_by_one
from mpiqmd.parallel.comm import decide, on_rank_zero
from mpiqmd.statics.journal_file import append_rows, evaluation_of, is_at, read_journal, row_of, write_journal

if TYPE_CHECKING:
    from mpi4py import MPI


class JournaledSurface:
    """Another surface whose evaluations are read from a file as far as it goes, and written to it.

    Construction is collective.

    Parameters
    ----------
    surface
        The surface.
    path
        The file; made if it is not there.
    identity
        What evaluations must share to belong together, as text by name.
    comm
        Communicator of the surface.

    Raises
    ------
    DataFileError
        The file cannot be read or written, or belongs to another surface.
    """

    def __init__(self, surface: Surface, path: Path, identity: dict[str, str], comm: MPI.Comm) -> None:
        self.surface, self.path, self.comm = surface, path, comm
        self.identity = identity
        self._known: list[dict[str, Any]] = on_rank_zero(comm, read_journal, path, identity)
        self._asked = 0

    @property
    def known(self) -> int:
        """Number of evaluations that the file holds."""
        return len(self._known)

    def fresh(self, company: int = 1) -> Memory:
        """Return the surface's memory of a new owner.  Not collective."""
        return self.surface.fresh(company)

    def evaluate(self, positions_bav: Sequence[np.ndarray], memories: Sequence[Memory]) -> list[Evaluation | MpiqmdError]:
        """Return energies and forces, one after the other, or errors in their places.  Collective.

        Those that are not finite are an AccuracyError.
        """
        return one_by_one(self._known_or_asked, positions_bav, memories)

    def _known_or_asked(self, positions_av: np.ndarray, memory: Memory) -> Evaluation:
        index, self._asked = self._asked, self._asked + 1
        if index < len(self._known) and not is_at(self._known[index], positions_av):
            del self._known[index:]
            on_rank_zero(self.comm, write_journal, self.path, [self.identity, *self._known])
        if index < len(self._known):
            return evaluation_of(self._known[index])
        evaluation = evaluation_at(self.surface, positions_av, memory)
        is_finite = np.isfinite(evaluation.energy) and np.isfinite(evaluation.forces_av).all()
        if not decide(self.comm, bool(is_finite)):
            raise AccuracyError(
                f"energy or forces of geometry {index} are not finite; numbers are expected. Check for atoms on top of "
                "each other, or start from another geometry."
            )
        row = row_of(positions_av, evaluation)
        self._known.append(row)
        on_rank_zero(self.comm, append_rows, self.path, [row])
        return evaluation
