"""``mpiqmd ipi``: energies and forces for an i-PI server, on either surface.

Rank 0 talks to the server and broadcasts what it is asked; all ranks evaluate.  One process serves all beads.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.ipi import Address, Answer, Client, connect
from mpiqmd.md.interruption import Interruption, exit_status
from mpiqmd.md.provider import Evaluation, ForceProvider
from mpiqmd.molecule.evaluation import DIPOLE
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.pipeline.surface import build_surface

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

EXTRAS = ("error_estimate", "error_age", "outside", "hifi")
"""Numbers sent with every answer: i-PI wants the same names from every bead."""


def run(arguments: argparse.Namespace, comm: MPI.Comm, log: Log) -> dict[str, Any]:
    """Serve until the server says EXIT and return what ``result.json`` holds.  Collective."""
    address = Address.internet(arguments.address) if arguments.unix is None else Address.unix(arguments.unix)
    surface = build_surface(arguments, comm, log)
    log(f"{surface.solver} surface of {''.join(surface.molecule.symbols)} for the i-PI server at {address}")
    log(surface.model.describe())
    # no STOP file: the server decides when the run is over
    interruption = Interruption()
    talk = Conversation(address, len(surface.molecule), interruption)
    with interruption.listening():
        try:
            served = serve(talk, surface.provider, comm, log)
        finally:
            talk.close()
    ended = on_rank_zero(comm, talk.why)
    log.progress(served.line(ended), last=True)
    signalled = None if ended in ("EXIT", "closed") else ended
    return served.as_dict() | {
        "solver": surface.solver,
        "address": str(address),
        "ended": ended,
        "exit_status": exit_status(signalled),
    }


class Conversation:
    """Rank 0's connection to the server, made when it is first needed.  Only rank 0 calls the methods.

    Parameters
    ----------
    address
        Where the server listens.
    n_atoms
        Number of atoms of the molecule.
    interruption
        Signals that end it.
    patience
        Seconds to wait for a server that is not there yet.
    """

    def __init__(
        self, address: Address, n_atoms: int, interruption: Interruption, patience: float = 60.0
    ) -> None:
        self.address, self.n_atoms, self.interruption, self.patience = address, n_atoms, interruption, patience
        self._client: Client | None = None

    def next_positions(self) -> np.ndarray | None:
        """Return the next geometry (N, 3), bohr, or None at the end.  Raises as :class:`mpiqmd.ipi.Client` does."""
        if self._client is None:
            connection = connect(self.address, self.patience, self.interruption.reason)
            if connection is None:
                return None
            self._client = Client(connection, self.n_atoms, self.interruption.reason)
        return self._client.next_positions()

    def answer(self, answer: Answer) -> None:
        """Keep what the server will fetch next.  Raises AccuracyError if it is not finite."""
        answer.encoded()
        self._client.answer(answer)

    def why(self) -> str:
        """Return why there are no more geometries."""
        return (self._client.ended if self._client else "") or self.interruption.reason() or "closed"

    def close(self) -> None:
        """Close the connection, on any rank."""
        if self._client is not None:
            self._client.close()


class Served:
    """What was served: counts, times and the worst that was seen."""

    def __init__(self) -> None:
        self.evaluations, self.outside, self.solved_in_full = 0, 0, 0
        self.largest_outside: float | None = None
        self.largest_error: float | None = None
        self.seconds: float = 0.0

    def add(self, evaluation: Evaluation, seconds: float) -> None:
        """Count one evaluation."""
        extras = evaluation.extras
        self.evaluations += 1
        self.seconds += seconds
        self.outside += extras.get("outside", 0.0) > 0.0
        self.solved_in_full += extras.get("hifi", 0.0) > 0.0
        self.largest_outside = _larger(self.largest_outside, extras.get("outside"))
        self.largest_error = _larger(self.largest_error, extras.get("error_estimate"))

    def line(self, ended: str = "") -> str:
        """Return one line about it all."""
        each = f", {1e3 * self.seconds / self.evaluations:.3g} ms each" if self.evaluations else ""
        words = f"{self.evaluations} evaluations{each}"
        if self.outside:
            words += f", {self.outside} outside the sampled region (up to {self.largest_outside:.2f} half-widths)"
        if self.largest_error is not None:
            words += f", largest error estimate {self.largest_error:.1e} Ha"
        ends = {"": "", "EXIT": "; the server is done", "closed": "; the server closed the connection without EXIT"}
        return words + ends.get(ended, f"; ended by {ended}")

    def as_dict(self) -> dict[str, Any]:
        """Return it for ``result.json``."""
        return {
            "evaluations": self.evaluations,
            "outside": self.outside,
            "solved_in_full": self.solved_in_full,
            "largest_outside": self.largest_outside,
            "largest_error_estimate": self.largest_error,
            "seconds_per_evaluation": self.seconds / self.evaluations if self.evaluations else None,
        }


def serve(talk: Conversation, provider: ForceProvider, comm: MPI.Comm, log: Log) -> Served:
    """Answer until there are no more geometries and return what was served.  Collective.

    Errors of the surface (outside the tables, not converged) and of the connection are raised on all ranks.
    """
    served = Served()
    while (positions_av := on_rank_zero(comm, talk.next_positions)) is not None:
        started = time.perf_counter()
        evaluation = provider.evaluate(positions_av)
        served.add(evaluation, time.perf_counter() - started)
        on_rank_zero(comm, talk.answer, answer_of(evaluation, positions_av))
        log.progress("  " + served.line())
    return served


def answer_of(evaluation: Evaluation, positions_av: np.ndarray) -> Answer:
    """Return the answer to a geometry.  Not collective.

    The virial is that of the molecule, ``sum_a (R_a - R_0) (x) F_a`` with the centroid R_0; the cell carries no stress, so
    ensembles of constant pressure have no meaning here.  ``extras`` has ``error_estimate`` (Ha), ``error_age``, ``outside``
    (half-widths beyond the sampled region), ``hifi`` (1 where solved in full) and ``dipole`` (atomic units), null where
    unknown.
    """
    centred_av = positions_av - positions_av.mean(axis=0)
    extras: dict[str, Any] = {name: evaluation.extras.get(name) for name in EXTRAS}
    extras["dipole"] = [evaluation.extras.get(name) for name in DIPOLE]
    return Answer(float(evaluation.energy), evaluation.forces_av, centred_av.T @ evaluation.forces_av, extras)


def _larger(first: float | None, second: float | None) -> float | None:
    """Return the larger of two numbers that may be unknown."""
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None
