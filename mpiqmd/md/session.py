"""One run of molecular dynamics on one rank: rank 0 commands, all follow.

Rank 0 has a :class:`~mpiqmd.md.leader.Leader` that integrates, decides and writes.  Its command and the positions travel in one
message a step; an exception of it waits until the next command, so that every rank fails with the same error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec

import numpy as np

from mpiqmd.datafiles import taking_apart
from mpiqmd.errors import AccuracyError, DataFileError, MpiqmdError
from mpiqmd.md.leader import CHECKPOINT, FAILED, FINISHED, STUCK, Leader
from mpiqmd.md.observables import linear_drift
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory
from mpiqmd.parallel.comm import decide, everyone_arrives, replicate
from mpiqmd.units import KELVIN_IN_HARTREE

if TYPE_CHECKING:
    from mpi4py import MPI

Parameters = ParamSpec("Parameters")


class Session:
    """One run on one rank; ``leader`` is None except on rank 0.  Construction is collective.

    Parameters
    ----------
    comm
        The ranks of the run.
    memory
        That of its evaluations.
    n_atoms
        Number of atoms, by which the messages are measured.
    """

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
        """Follow rank 0's commands until the run is finished, yielding positions (N, 3), bohr, to be evaluated.  Collective."""
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
        """Yield the positions (N, 3), bohr, and return the evaluation there.  Collective.

        What the surface raises gets the number of the step into its message and leaves a checkpoint.
        """
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
