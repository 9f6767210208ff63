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
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec

import numpy as np

from mpiqmd.datafiles import taking_apart
from mpiqmd.errors import AccuracyError, DataFileError, MpiqmdError
from mpiqmd.md.leader import CHECKPOINT, FAILED, FINISHED, STUCK, Leader
from mpiqmd.md.observables import linear_drift
from mpiqmd.md.record import Record
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Owner, Surface
from mpiqmd.parallel.comm import decide, everyone_arrives, on_rank_zero, replicate
from mpiqmd.units import KELVIN_IN_HARTREE

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpiqmd.molecule.molecule import Molecule
    from mpiqmd.parallel.log import Log

Parameters = ParamSpec("Parameters")
Steps = Generator[np.ndarray, Evaluation, dict[str, Any]]
"""A run: yields positions (N, 3), bohr, is sent the evaluation there or thrown the error, returns its summary."""


def run_dynamics(
    molecule: Molecule,
    owner: Owner,
    settings: DynamicsSettings,
    comm: MPI.Comm,
    log: Log,
    record: Record,
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
    steps = dynamics_steps(molecule, owner.memory, settings, comm, log, record, stop)
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
    stop: Callable[[], str | None] | None = None,
) -> Steps:
    """Move the nuclei as :func:`run_dynamics` does, leaving the evaluations to the caller.  Collective.

    ``memory`` is that of this run's evaluations.  Other parameters, summary and errors are those of :func:`run_dynamics`.
    """
    session = _Session(comm, memory, len(molecule.symbols))

    def lead() -> int | None:
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


class _Session:
    """One run on one rank; ``leader`` is None except on rank 0."""

    def __init__(self, comm: MPI.Comm, memory: Memory, n_atoms: int) -> None:
        self.comm = comm
        self.memory = memory
        self.leader: Leader | None = None
        self.error: Exception | None = None
        self.failures = comm if comm.size == 1 else comm.Dup()
        self.packet = np.zeros(1 + 3 * n_atoms)

    def restore_memory(self) -> None:
        """Take the memory back on every rank.  Collective."""
        state = self.leader.memory_state if self.leader else {}
        assert state is not None
        shapes = decide(self.comm, {name: (array.shape, array.dtype.str) for name, array in state.items()})
        copies = {}
        for name, (shape, dtype) in shapes.items():
            array = np.array(state[name], order="C") if self.leader else np.empty(shape, dtype)
            copies[name] = replicate(self.comm, array)
        path = decide(self.comm, self.leader.continued_from if self.leader else None)
        assert path is not None
        with taking_apart(path, "checkpoint", "One of this surface is needed. Start afresh with --overwrite."):
            self.memory.restore(copies)

    def run(self, resumed_from: int | None) -> Generator[np.ndarray, Evaluation, None]:
        """Follow rank 0's commands until the run is finished, yielding positions to be evaluated.  Collective."""
        step = -1 if resumed_from is None else resumed_from
        while (command := self.next_command()) != FINISHED:
            if command == STUCK:
                self.keep_last_step()
            if command in (STUCK, FAILED):
                self.fail()
            if command == CHECKPOINT:
                self.guard(Leader.save, self.memory.state())
                continue
            step += 1
            evaluation = yield from self.ask(step)
            self.guard(Leader.accept, evaluation)

    def next_command(self) -> int:
        """Return rank 0's command, with the positions that go with it in the packet.  Collective."""
        failure = FAILED if self.error is not None else STUCK
        self.guard(self._fill_packet)
        if self.error is not None:
            self.packet[0] = failure
        replicate(self.comm, self.packet)
        return int(self.packet[0])

    def _fill_packet(self, leader: Leader) -> None:
        """Write the command and, for an evaluation, the positions."""
        command = leader.command()
        self.packet[0] = command
        if command not in (CHECKPOINT, FINISHED):
            self.packet[1:] = leader.dynamics.propose().ravel()

    def guard(
        self,
        action: Callable[Concatenate[Leader, Parameters], None],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> None:
        """Let rank 0 act, keeping its exception until the next command tells the others."""
        if self.leader is None or self.error is not None:
            return
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                action(self.leader, *args, **kwargs)
        except ArithmeticError as error:
            step = self.leader.dynamics.step + 1
            self.error = AccuracyError(f"the motion of the nuclei breaks down in MD step {step} ({error})")
        except Exception as error:
            self.error = error

    def fail(self) -> NoReturn:
        """Raise rank 0's error on every rank.  Collective."""
        error = decide(self.comm, self.explained())
        assert error is not None
        raise error

    def explained(self) -> Exception | None:
        """Return the error with what it means for the run; None except on rank 0."""
        if self.leader is not None and isinstance(self.error, AccuracyError):
            return self.leader.explain(self.error)
        if self.leader is not None and isinstance(self.error, OSError):
            return self.leader.explain_writing(self.error)
        return self.error

    def keep_last_step(self) -> None:
        """Leave a checkpoint of the last finished step, from which the run goes on bit for bit.  Collective."""
        state = self.memory.state()
        if self.leader is not None:
            # What went wrong matters more than a second failure on the way out.
            with suppress(Exception):
                self.leader.save_last_step(state)

    def ask(self, step: int) -> Generator[np.ndarray, Evaluation, Evaluation]:
        """Yield the positions and return the evaluation there; a surface's complaint gets the step and leaves a checkpoint."""
        try:
            return (yield self.packet[1:].reshape(-1, 3).copy())
        except MpiqmdError as error:
            if everyone_arrives(self.failures):
                self.keep_last_step()
            phrase = self.leader.last_checkpoint() if self.leader else ""
            where = f" {phrase[0].upper()}{phrase[1:]}." if phrase else ""
            error.args = (f"MD step {step}: {error}{where}", *error.args[1:])
            raise

    def close(self) -> None:
        """Let go of what was made for failures.  Collective."""
        if self.failures is not self.comm:
            self.failures.Free()

    def finish(self, resumed_from: int | None) -> dict[str, Any]:
        """Close the files and return the numbers for ``result.json``, from the whole trajectory.  Rank 0."""
        leader = self.leader
        assert leader is not None
        leader.close()
        trajectory = Trajectory.open(leader.record.trajectory, with_coordinates=False)
        require_frames(trajectory, leader.writer.n_frames)
        observables = trajectory.observables
        conserved_t = observables["conserved_energy"]
        counts_t = observables.get("iterations", observables.get("evaluations", np.array([])))
        iterations_t = counts_t[1:]
        estimates_t = observables.get("error_estimate", np.array([]))
        return {
            "steps": leader.dynamics.step,
            "frames": len(trajectory),
            "resumed_from": resumed_from,
            "stopped": leader.stopped,
            "seconds_per_step": trajectory.attributes.get("seconds_per_step"),
            "iterations_per_step": float(np.nanmean(iterations_t)) if np.isfinite(iterations_t).any() else None,
            "error_estimate_max": float(np.nanmax(estimates_t)) if np.isfinite(estimates_t).any() else None,
            "energy_drift": linear_drift(trajectory.times_t, conserved_t, len(trajectory.symbols)),
            "energy_fluctuation": float(conserved_t.std()),
            "temperature_mean": float(observables["temperature"].mean() / KELVIN_IN_HARTREE),
        }


def require_frames(trajectory: Trajectory, count: int) -> None:
    """Raise DataFileError unless a finished trajectory has the frames that its writer has given it.  Not collective."""
    if len(trajectory) != count:
        raise DataFileError(
            f"{trajectory.path} has {len(trajectory)} frames, {count} were written: another program has changed it. Only one "
            "run may write into a folder. Start afresh with --overwrite, or with another --output."
        )
