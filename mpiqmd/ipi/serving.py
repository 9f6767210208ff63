"""Energies and forces of a surface for a server, and what was served: all ranks evaluate what rank 0 is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.ipi.client import Answer
from mpiqmd.ipi.conversation import Conversation
from mpiqmd.molecule.evaluation import DIPOLE, Evaluation
from mpiqmd.molecule.judgement import JUDGEMENT
from mpiqmd.molecule.surface import Memory, Surface, found
from mpiqmd.parallel.comm import on_rank_zero

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.parallel.log import Log

EXTRAS = tuple(JUDGEMENT)
"""Numbers sent with every answer: i-PI wants the same names from every bead."""


class Served:
    """What was served: counts, times and the worst that was seen."""

    def __init__(self) -> None:
        self.evaluations, self.calls, self.solved_in_full, self.solved_on_grid = 0, 0, 0, 0
        self.largest_distance: float | None = None
        self.largest_error: float | None = None
        self.largest_force_error: float | None = None
        self.seconds: float = 0.0

    def add(self, evaluations: list[Evaluation], seconds: float) -> None:
        """Count what was evaluated at once."""
        self.calls += 1
        self.seconds += seconds
        for evaluation in evaluations:
            self._count(evaluation.extras)

    def _count(self, extras: dict[str, float]) -> None:
        self.evaluations += 1
        self.solved_in_full += extras.get("hifi", 0.0) > 0.0
        self.solved_on_grid += extras.get("on_grid", 0.0) > 0.0
        self.largest_distance = _larger(self.largest_distance, extras.get("training_distance"))
        self.largest_error = _larger(self.largest_error, extras.get("error_estimate"))
        self.largest_force_error = _larger(self.largest_force_error, extras.get("force_error_estimate"))

    def line(self, ended: str = "") -> str:
        """Return one line about it all."""
        each = f", {1e3 * self.seconds / self.evaluations:.3g} ms each" if self.evaluations else ""
        words = f"{self.evaluations} evaluations{each}"
        if self.largest_distance is not None:
            words += f", training distance up to {self.largest_distance:.2f}"
        if self.largest_error is not None:
            words += f", largest error estimates {self.largest_error:.1e} Ha and {self.largest_force_error or 0.0:.1e} Ha/bohr"
        ends = {"": "", "EXIT": "; the server is done", "closed": "; the server closed the connection without EXIT"}
        return words + ends.get(ended, f"; ended by {ended}")

    def as_dict(self) -> dict[str, Any]:
        """Return it for ``result.json``."""
        return {
            "evaluations": self.evaluations,
            "evaluations_at_once": self.evaluations / self.calls if self.calls else None,
            "solved_on_grid": self.solved_on_grid,
            "solved_in_full": self.solved_in_full,
            "largest_training_distance": self.largest_distance,
            "largest_error_estimate": self.largest_error,
            "largest_force_error_estimate": self.largest_force_error,
            "seconds_per_evaluation": self.seconds / self.evaluations if self.evaluations else None,
        }


def serve(talk: Conversation, surface: Surface, memories: Sequence[Memory], comm: MPI.Comm, log: Log) -> Served:
    """Answer until there are no more geometries and return what was served.  Collective.  Every connection has its memory.

    Errors of the surface (outside the tables, not converged) and of the connection are raised on all ranks.
    """
    served = Served()
    while asked := on_rank_zero(comm, talk.next_geometries):
        started, geometries = time.perf_counter(), list(asked.values())
        answers = surface.evaluate(geometries, [memories[number] for number in asked])
        evaluations = [found(answer) for answer in answers]
        served.add(evaluations, time.perf_counter() - started)
        on_rank_zero(comm, talk.answer, list(map(answer_of, evaluations, geometries)))
        log.progress("  " + served.line())
    return served


def answer_of(evaluation: Evaluation, positions_av: np.ndarray) -> Answer:
    """Return the answer to a geometry.  Not collective.

    The virial is that of the molecule, ``sum_a (R_a - R_0) (x) F_a`` with the centroid R_0; the cell carries no stress, so
    ensembles of constant pressure have no meaning here.  ``extras`` has what is in ``JUDGEMENT`` (Ha, Ha/bohr) and ``dipole``
    (atomic units), null where unknown.
    """
    # absurd positions give a virial that is not finite, which is refused in words
    with np.errstate(over="ignore", invalid="ignore"):
        centred_av = positions_av - positions_av.mean(axis=0)
        virial_vv = centred_av.T @ evaluation.forces_av
    extras: dict[str, Any] = {name: evaluation.extras.get(name) for name in EXTRAS}
    extras["dipole"] = [evaluation.extras.get(name) for name in DIPOLE]
    return Answer(float(evaluation.energy), evaluation.forces_av, virial_vv, extras)


def _larger(first: float | None, second: float | None) -> float | None:
    """Return the larger of two numbers that may be unknown."""
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None
