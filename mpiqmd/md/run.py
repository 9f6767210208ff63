"""Born-Oppenheimer molecular dynamics: one loop for either surface, for one trajectory or many.

The loop is a generator, :func:`dynamics_steps`: it yields positions and is sent the evaluation there, so that one driver
serves it alone (:func:`run_dynamics`) and another advances many side by side and evaluates them at once
(:func:`run_together`).

Every rank runs the loop; rank 0 integrates, decides and writes, the positions are broadcast with
the decision in one message, and the surface is asked collectively.  A run whose folder already has a
checkpoint continues from it, and continues exactly: a resumed trajectory equals the uninterrupted one bit for
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiqmd.errors import MpiqmdError
from mpiqmd.md.leader import Leader
from mpiqmd.md.record import Record
from mpiqmd.md.session import Session
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Owner, Surface
from mpiqmd.parallel.comm import on_rank_zero

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.molecule.molecule import Molecule
    from mpiqmd.parallel.log import Log

Steps = Generator[np.ndarray, Evaluation, dict[str, Any]]
"""A run: yields positions (N, 3), bohr, is sent the evaluation there or thrown the error, returns its summary."""


def run_dynamics(
    molecule: Molecule,
    owner: Owner,
    settings: DynamicsSettings,
    comm: MPI.Comm,
    log: Log,
    record: Record,
    *,
    stop: Callable[[], str | None] | None = None,
) -> dict[str, Any]:
    """Move the nuclei on a surface, from the start or from a checkpoint.  Collective.

    Parameters
    ----------
    molecule
        Symbols, masses and initial positions.
    owner
        The potential energy surface, on the same communicator, and the memory of this run.
    settings
        Steps, timestep, thermostat and the rest, atomic units.
    comm, log
        Communicator and its log.
    record
        Files to write and what identifies the run.
    stop
        Asked on rank 0 after every step and checkpoint: the reason to end early, or None.

    Returns
    -------
    The same on every rank: ``steps``, ``frames``, ``resumed_from`` (step or None), ``stopped`` (why the run ended early, or
    None), ``seconds_per_step`` (median of this session after warm-up), ``iterations_per_step`` and ``error_estimate_max``
    (Ha; None unless the surface reports ``iterations`` or ``evaluations``, and ``error_estimate``), ``energy_drift``
    (Ha/atom/ps of the conserved quantity), ``energy_fluctuation`` (standard deviation of it, Ha), ``temperature_mean``
    (kelvin).

    Raises
    ------
    ConfigError
        The settings are impossible, or the files in place are of a different run.
    DataFileError
        A restart is needed but its files are unusable, or a file cannot be written (the disk may be full).
    AccuracyError
        An energy, force or position is not finite; the message names the step and the last checkpoint.
    """
    steps = dynamics_steps(molecule, owner.memory, settings, comm, log, record, stop=stop)
    (outcome,) = run_together(owner.surface, [steps], [owner.memory])
    if isinstance(outcome, MpiqmdError):
        raise outcome
    return outcome


def dynamics_steps(
    molecule: Molecule,
    memory: Memory,
    settings: DynamicsSettings,
    comm: MPI.Comm,
    log: Log,
    record: Record,
    *,
    stop: Callable[[], str | None] | None = None,
) -> Steps:
    """Move the nuclei as :func:`run_dynamics` does, leaving the evaluations to the caller.  Collective.

    ``memory`` is that of this run's evaluations.  Other parameters, summary and errors are those of :func:`run_dynamics`.
    """
    session = Session(comm, memory, len(molecule.symbols))

    def lead() -> int | None:
        """Make the leader, on rank 0; return the step of the checkpoint that it continues from, or None."""
        session.leader = Leader(molecule, settings, log, record, stop)
        return session.leader.saved_step

    resumed_from = on_rank_zero(comm, lead)
    try:
        if resumed_from is not None:
            session.restore_memory()
        yield from session.run(resumed_from)
    except BaseException:
        if session.leader:
            # What went wrong matters more than a second failure on the way out.
            with suppress(Exception):
                session.leader.close()
        raise
    session.close()
    return on_rank_zero(comm, session.finish, resumed_from)


def run_together(
    surface: Surface, runs: Sequence[Steps], memories: Sequence[Memory], each_round: Callable[[], object] = lambda: None
) -> list[dict[str, Any] | MpiqmdError]:
    """Advance runs side by side, a step of each per round, evaluated at once; return their summaries.  Collective.

    A run that fails has its error in the place of the summary and does not stop the others.

    Parameters
    ----------
    surface
        The surface of all.
    runs, memories
        The runs, and their memories of it, made for so many.
    each_round
        Called before every round.
    """
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(closing(run))
        outcomes = [_advance(run) for run in runs]
        while active := [k for k, outcome in enumerate(outcomes) if isinstance(outcome, np.ndarray)]:
            each_round()
            answers = surface.evaluate([outcomes[k] for k in active], [memories[k] for k in active])
            for k, answer in zip(active, answers, strict=True):
                outcomes[k] = _advance(runs[k], answer)
    return outcomes


def _advance(steps: Steps, answer: Evaluation | MpiqmdError | None = None) -> np.ndarray | dict[str, Any] | MpiqmdError:
    """Hand a run what it asked for; return the next positions it asks about, its summary, or why it failed."""
    try:
        if isinstance(answer, MpiqmdError):
            return steps.throw(answer)
        return next(steps) if answer is None else steps.send(answer)
    except StopIteration as end:
        return end.value
    except MpiqmdError as error:
        return error
