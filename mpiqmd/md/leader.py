"""Rank 0 of a run: integrates, writes the trajectory and the checkpoints, and says what comes next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpiqmd.datafiles import taking_apart
from mpiqmd.errors import AccuracyError, ConfigError, DataFileError
from mpiqmd.md.checkpoint import Checkpoint, load_checkpoint, previous_path, save_checkpoint
from mpiqmd.md.dynamics import Dynamics
from mpiqmd.md.nuclei import make_nuclei
from mpiqmd.md.progress import Progress
from mpiqmd.md.record import Record
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.thermostats import make_thermostat
from mpiqmd.md.topology import TOPOLOGY_FILE, write_topology
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.md.trajectory_writer import TrajectoryWriter
from mpiqmd.md.velocities import initial_velocities
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.same_run import changes

if TYPE_CHECKING:
    from mpiqmd.molecule.molecule import Molecule
    from mpiqmd.parallel.log import Log

EVALUATE, CHECKPOINT, FINISHED, FAILED, STUCK = range(5)
"""What rank 0 may ask of all ranks next; STUCK: it failed before the surface was asked about a next step."""

FLUSH_FRAMES = 200
"""Frames reach the file after so many of them, if not before."""


class Leader:
    """Everything only rank 0 has.

    Parameters
    ----------
    molecule
        Nuclei at their initial positions.
    settings
        Parameters of the run.
    log
        Where to print.
    record
        Files to write and what identifies the run.
    stop
        Says why to end early, or None.
    """

    def __init__(
        self,
        molecule: Molecule,
        settings: DynamicsSettings,
        log: Log,
        record: Record,
        stop: Callable[[], str | None] | None = None,
    ) -> None:
        settings.check()
        self.settings = settings
        self.log = log
        self.record = record
        self.stop = stop
        self.stopped: str | None = None
        self.identity = {
            **settings.identity(),
            "symbols": " ".join(molecule.symbols),
            "masses": repr(molecule.masses_a.tolist()),
            "initial positions": repr(molecule.positions_av.tolist()),
            **{key: str(value) for key, value in record.identity.items()},
        }
        if record.overwrite:
            remove_old_run(record)
        self.dynamics = self._at_start(molecule)
        self.progress = Progress(log, settings.steps)
        self.memory_state: dict[str, np.ndarray] | None = None
        self.saved_step: int | None = None
        self.continued_from: Path | None = None
        self._saved_at = self._flushed_at = time.perf_counter()
        saved, warning = load_checkpoint(record.checkpoint)
        if warning:
            log(f"warning: {warning}")
        if saved is None:
            refuse_orphan(record.trajectory)
            self.writer = self._new_writer()
        else:
            self._continue_from(saved)

    def _new_writer(self) -> TrajectoryWriter:
        """Start a trajectory."""
        nuclei, record = self.dynamics.nuclei, self.record
        attributes = {
            **record.identity,
            **record.provenance,
            "timestep": float(self.settings.timestep),
            "seed": int(self.settings.seed),
            "thermostat": self.settings.thermostat,
            "degrees_of_freedom": nuclei.degrees_of_freedom,
        }
        topology = record.trajectory.with_name(TOPOLOGY_FILE)
        write_topology(topology, nuclei.symbols, nuclei.masses_a, self.dynamics.positions_av, record.box_v)
        return TrajectoryWriter.create(record.trajectory, nuclei.symbols, nuclei.masses_a, attributes, record.box_v)

    def _at_start(self, molecule: Molecule) -> Dynamics:
        """Return the dynamics before its first step."""
        settings = self.settings
        nuclei = make_nuclei(
            molecule,
            settings.pinned,
            settings.remove_translation,
            settings.remove_rotation,
            settings.constraints,
            settings.constraint_tolerance,
        )
        positions_av = np.array(molecule.positions_av, dtype=float)
        velocities_av = initial_velocities(
            settings.initial_velocities, settings.temperature, settings.seed, positions_av, nuclei
        )
        return Dynamics(nuclei, positions_av, velocities_av, settings.timestep, make_thermostat(settings))

    def _continue_from(self, saved: Checkpoint) -> None:
        """Take up a saved run, after checking that it is this one."""
        remedy = "A checkpoint written by `mpiqmd md` is needed. Move it away, or start afresh with --overwrite."
        with taking_apart(saved.path, "checkpoint", remedy):
            before = json.loads(bytes(saved.groups["run"]["identity"]).decode())
            require_same_run(before, self.identity, saved.path)
            self.dynamics.restore(saved.groups["dynamics"])
            self.dynamics.thermostat.restore(saved.groups.get("thermostat", {}))
            self.memory_state = saved.groups.get("provider", {})
        step = self.dynamics.step
        self.writer = TrajectoryWriter.resume(
            self.record.trajectory, step, self.settings.output_every, self.dynamics.nuclei.symbols
        )
        self.saved_step, self.continued_from = step, saved.path
        self.log(self._where_it_stands(step))

    def _where_it_stands(self, step: int) -> str:
        """Return a sentence about a run that is taken up at a step."""
        asked = self.settings.steps
        if step > asked:
            return f"{step} steps are done already, {asked} were asked for: nothing is computed, and all {step} are kept"
        return f"step {step} of {asked} is done already" if step == asked else f"continuing from step {step}"

    def command(self) -> int:
        """Return what all ranks do next."""
        if self.dynamics.evaluation is None:
            return EVALUATE
        if self.stop is not None and self.stopped is None and not self.is_done:
            self.stopped = self.stop()
        if self.checkpoint_is_due():
            return CHECKPOINT
        return FINISHED if self.is_over else EVALUATE

    @property
    def is_done(self) -> bool:
        """Whether the last step has been made."""
        return self.dynamics.step >= self.settings.steps

    @property
    def is_over(self) -> bool:
        """Whether no further step is made in this session."""
        return self.is_done or self.stopped is not None

    def checkpoint_is_due(self) -> bool:
        """Return whether to save now: at the start, at the end, and every so often in between."""
        step, settings = self.dynamics.step, self.settings
        if self.saved_step is None:
            return True
        if step <= self.saved_step:
            return False
        waited = time.perf_counter() - self._saved_at
        often_enough = waited >= settings.checkpoint_seconds and step % settings.checkpoint_every == 0
        return self.is_over or often_enough or waited >= 60.0 * settings.checkpoint_minutes

    def accept(self, evaluation: Evaluation) -> None:
        """Finish a step, keep its frame and report.

        Raises
        ------
        AccuracyError
            A number of this step is not finite.
        """
        self.dynamics.accept(evaluation)
        if self.dynamics.step % self.settings.output_every == 0:
            self.writer.append(self.dynamics.frame())
            now = time.perf_counter()
            if len(self.writer.pending) >= FLUSH_FRAMES or now - self._flushed_at >= self.settings.flush_seconds:
                self.writer.flush()
                self._flushed_at = now
        self.progress.update(self.dynamics)

    def save(self, memory_state: Mapping[str, np.ndarray]) -> None:
        """Write a checkpoint, the trajectory first: a checkpoint never knows of frames that are lost."""
        self.record.verify()
        self.writer.flush(sync=True)
        identity = np.frombuffer(json.dumps(self.identity).encode(), dtype=np.uint8)
        groups = {
            "run": {"identity": identity},
            "dynamics": self.dynamics.state(),
            "thermostat": self.dynamics.thermostat_state(),
            "provider": memory_state,
        }
        save_checkpoint(self.record.checkpoint, {"step": self.dynamics.step, "time": self.dynamics.time}, groups)
        self.saved_step = self.dynamics.step
        self._saved_at = time.perf_counter()

    def save_last_step(self, memory_state: Mapping[str, np.ndarray]) -> None:
        """Write a checkpoint of the last finished step, if there is one that is not saved yet."""
        if self.dynamics.evaluation is not None and self.dynamics.step != self.saved_step:
            self.save(memory_state)

    def last_checkpoint(self) -> str:
        """Return a phrase about where a restart would continue."""
        if self.saved_step is None:
            return "there is no checkpoint yet"
        return f"the last checkpoint is of step {self.saved_step} ({self.record.checkpoint})"

    def explain(self, error: AccuracyError) -> AccuracyError:
        """Return the error with the last checkpoint and the advice that goes with it."""
        return AccuracyError(
            f"{error}; {self.last_checkpoint()}. Try a shorter md.timestep, a tighter scf.energy_tolerance "
            "or, on a reduced model, a wider training box."
        )

    def explain_writing(self, error: OSError) -> DataFileError:
        """Return what a failure to write means for the run."""
        return DataFileError(
            f"MD step {self.dynamics.step}: {self.record.trajectory.parent} cannot be written to ({error}); "
            f"{self.last_checkpoint()}. Room and write permission are needed: free some space, then start the same command "
            "again to continue."
        )

    def close(self) -> None:
        """Write the frames that are pending, the time per step and what else is known at the end, and close the trajectory."""
        seconds = self.progress.seconds_per_step()
        if not self.writer.file:
            return
        # A short continuation times worse than the long run before it.
        if seconds is not None and (len(self.progress.seconds) >= 10 or "seconds_per_step" not in self.writer.file.attrs):
            self.writer.set_attribute("seconds_per_step", seconds)
        for name, value in self.record.at_end().items():
            self.writer.set_attribute(name, value)
        self.writer.close()


def require_same_run(before: Mapping[str, str], now: Mapping[str, str], path: Path) -> None:
    """Raise ConfigError naming everything in which a saved run differs from the one asked for."""
    differing = changes(before, now)
    if differing:
        raise ConfigError(
            f"{path} was written by a different run: {'; '.join(differing)}. Only md.steps, the intervals of checkpoints and "
            "what is done about errors of a reduced model may change when a run is continued. Restore the input, choose "
            "another --output, or start afresh with --overwrite."
        )


def refuse_orphan(trajectory: Path) -> None:
    """Raise DataFileError if there is a trajectory to lose and no checkpoint to continue it from."""
    if not trajectory.exists():
        return
    try:
        n_frames = len(Trajectory.open(trajectory, with_coordinates=False))
    except DataFileError:
        return
    if n_frames > 1:
        raise DataFileError(
            f"{trajectory} holds {n_frames} frames but its checkpoint is gone; a run can only be continued "
            "with both. Restore the checkpoint, choose another --output, or start afresh with --overwrite."
        )


def remove_old_run(record: Record) -> None:
    """Delete the files of an earlier run."""
    for path in (record.checkpoint, previous_path(record.checkpoint), record.trajectory):
        path.unlink(missing_ok=True)
