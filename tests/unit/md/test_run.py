"""run_dynamics: files, restarts that are bitwise the same run, failures; on any number of ranks."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mpiqmd.errors import AccuracyError, ConfigError, ConvergenceError, DataFileError
from mpiqmd.md.checkpoint import load_checkpoint, previous_path
from mpiqmd.md.integrator import drift
from mpiqmd.md.record import Record
from mpiqmd.md.run import run_dynamics
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.molecule.surface import Memory, Owner
from mpiqmd.parallel.comm import on_rank_zero
from mpiqmd.parallel.log import Log, silent
from mpiqmd.units import KELVIN_IN_HARTREE
from tests.helpers import ROOT
from tests.helpers.md_surfaces import ForgetfulSurface, PairSurface, water

STEPS = 37
SETTINGS = {
    "steps": STEPS,
    "timestep": 20.0,
    "thermostat": "berendsen",
    "temperature": 300 * KELVIN_IN_HARTREE,
    "options": {"relaxation_time": 400.0},
    "seed": 3,
    "output_every": 2,
    "checkpoint_every": 5,
    "checkpoint_seconds": 0.0,
}


def run(comm, folder, surface=None, log=None, stop=None, **changes):
    molecule = water()
    return run_dynamics(
        molecule,
        Owner(surface or ForgetfulSurface(molecule)),
        DynamicsSettings(**{**SETTINGS, **changes}),
        comm,
        log or silent(comm),
        Record(folder / "trajectory.h5", folder / "checkpoint.h5", identity={"solver": "rom"}),
        stop=stop,
    )


def read(comm, folder):
    return on_rank_zero(comm, Trajectory.open, folder / "trajectory.h5")


def assert_same(first, second):
    assert np.array_equal(first.steps_t, second.steps_t)
    for name in ("times_t", "positions_tav", "velocities_tav", "forces_tav"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.observables.keys() == second.observables.keys()
    for name, values_t in first.observables.items():
        assert np.array_equal(values_t, second.observables[name]), name


def folders(comm, shared_tmp_path, *names):
    paths = [shared_tmp_path / name for name in names]
    on_rank_zero(comm, lambda: [path.mkdir() for path in paths] and None)
    return paths


def test_run_writes_every_frame_and_sums_up(comm, shared_tmp_path):
    result = run(comm, shared_tmp_path, PairSurface(water()))
    trajectory = read(comm, shared_tmp_path)
    assert np.array_equal(trajectory.steps_t, np.arange(0, STEPS + 1, 2))
    assert trajectory.times_t == pytest.approx(trajectory.steps_t * 20.0, rel=1e-15)
    assert result["steps"] == STEPS and result["frames"] == 19 and result["resumed_from"] is None
    assert result["iterations_per_step"] == 3.0 and result["seconds_per_step"] > 0
    temperature = trajectory.observables["temperature"].mean() / KELVIN_IN_HARTREE
    assert result["temperature_mean"] == pytest.approx(temperature, rel=1e-12)
    assert trajectory.attributes["solver"] == "rom" and trajectory.attributes["timestep"] == 20.0
    assert comm.allgather(result) == [result] * comm.size


def test_positions_are_the_same_on_every_rank(comm, shared_tmp_path):
    seen = []

    class Watching(PairSurface):
        def at(self, positions_av, memory=None):
            seen.append(positions_av.copy())
            return super().at(positions_av, memory)

    run(comm, shared_tmp_path, Watching(water()))
    assert len(seen) == STEPS + 1
    assert all(np.array_equal(seen, other) for other in comm.allgather(seen))


@pytest.mark.parametrize("stop", [1, 5, 12, 36])
def test_stopping_and_extending_is_bitwise_the_uninterrupted_run(comm, shared_tmp_path, stop):
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    run(comm, whole)
    run(comm, parts, steps=stop)
    result = run(comm, parts)
    assert result["resumed_from"] == stop and result["steps"] == STEPS
    assert_same(read(comm, whole), read(comm, parts))


THERMOSTATS = ["none", "berendsen", "langevin", "csvr", "nose-hoover"]


@pytest.mark.parametrize("thermostat", THERMOSTATS)
@pytest.mark.parametrize("stop_at", [1, 8, 23])
def test_a_surface_that_fails_leaves_a_checkpoint_of_the_last_step(comm, shared_tmp_path, stop_at, thermostat):
    """No step before the failure is made again, and what follows is bitwise the uninterrupted run."""
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    run(comm, whole, thermostat=thermostat)
    failing = ForgetfulSurface(water(), stop_at=stop_at, error=ConvergenceError("no luck"))
    phrase = f" The last checkpoint is of step {stop_at - 1} " if comm.rank == 0 else ""
    match = f"MD step {stop_at}: no luck{phrase}"
    with pytest.raises(ConvergenceError, match=match):
        run(comm, parts, failing, thermostat=thermostat)
    again = ForgetfulSurface(water())
    assert run(comm, parts, again, thermostat=thermostat)["resumed_from"] == stop_at - 1
    assert_same(read(comm, whole), read(comm, parts))


def test_a_surface_that_fails_at_the_start_leaves_no_checkpoint(comm, shared_tmp_path):
    phrase = " There is no checkpoint yet" if comm.rank == 0 else ""
    with pytest.raises(ConvergenceError, match=f"MD step 0: no luck{phrase}"):
        run(comm, shared_tmp_path, ForgetfulSurface(water(), stop_at=0, error=ConvergenceError("no luck")))
    assert run(comm, shared_tmp_path)["resumed_from"] is None


def test_motion_that_breaks_down_leaves_a_checkpoint_of_the_last_step(comm, shared_tmp_path, monkeypatch):
    """The next positions cannot be made: the surface was not asked, and the thermostat's half step is taken back."""
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    run(comm, whole, thermostat="nose-hoover")
    monkeypatch.setattr("mpiqmd.md.dynamics.drift", broken_after(2 * 12))
    with pytest.raises(AccuracyError, match="breaks down in MD step 13 .*last checkpoint is of step 12 "):
        run(comm, parts, thermostat="nose-hoover")
    monkeypatch.undo()
    assert run(comm, parts, thermostat="nose-hoover")["resumed_from"] == 12
    assert_same(read(comm, whole), read(comm, parts))


def broken_after(calls):
    """A drift that overflows after so many half steps."""
    count = iter(range(10**6))
    return lambda *arguments: drift(*arguments) if next(count) < calls else np.exp(np.full((3, 3), 1e3))


def test_finished_run_is_left_alone(comm, shared_tmp_path):
    first = run(comm, shared_tmp_path)
    before = read(comm, shared_tmp_path)

    class Untouchable(ForgetfulSurface):
        def at(self, positions_av, memory=None):
            raise AssertionError("nothing is left to do")

    again = run(comm, shared_tmp_path, Untouchable(water()))
    assert again == {**first, "resumed_from": STEPS}
    assert_same(before, read(comm, shared_tmp_path))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_damaged_checkpoint_falls_back_to_the_one_before(comm, shared_tmp_path, damage):
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    run(comm, whole)
    run(comm, parts, steps=13)
    on_rank_zero(comm, harm, parts / "checkpoint.h5", damage)
    stream = io.StringIO()
    result = run(comm, parts, log=Log(comm, stream))
    assert result["resumed_from"] == 10
    assert ("damaged" in stream.getvalue()) == (damage != "missing" and comm.rank == 0)
    assert_same(read(comm, whole), read(comm, parts))


def harm(path, damage):
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: 0 if damage == "empty" else -100])


def test_both_checkpoints_damaged_is_an_error(comm, shared_tmp_path):
    run(comm, shared_tmp_path, steps=13)
    for path in (shared_tmp_path / "checkpoint.h5", previous_path(shared_tmp_path / "checkpoint.h5")):
        on_rank_zero(comm, harm, path, "truncated")
    with pytest.raises(DataFileError, match=r"no usable checkpoint.*overwrite"):
        run(comm, shared_tmp_path)


def test_another_run_is_not_continued(comm, shared_tmp_path):
    run(comm, shared_tmp_path, steps=6)
    with pytest.raises(ConfigError, match=r"md.timestep was 20.0, is 10.0; md.seed was 3, is 4"):
        run(comm, shared_tmp_path, timestep=10.0, seed=4)
    on_rank_zero(comm, (shared_tmp_path / "trajectory.h5").unlink)
    with pytest.raises(DataFileError, match="cannot be read"):
        run(comm, shared_tmp_path)


def test_trajectory_without_checkpoint_is_not_overwritten(comm, shared_tmp_path):
    run(comm, shared_tmp_path, steps=2)
    for path in (shared_tmp_path / "checkpoint.h5", previous_path(shared_tmp_path / "checkpoint.h5")):
        on_rank_zero(comm, path.unlink)
    with pytest.raises(DataFileError, match="its checkpoint is gone"):
        run(comm, shared_tmp_path)


@pytest.mark.parametrize("culprit", ["energy", "forces"])
def test_not_a_number_names_step_and_checkpoint(comm, shared_tmp_path, culprit):
    class Broken(ForgetfulSurface):
        def at(self, positions_av, memory=None):
            good = super().at(positions_av, memory)
            if memory.calls[0] != 9:
                return good
            if culprit == "energy":
                return Evaluation(np.nan, good.forces_av)
            return Evaluation(good.energy, good.forces_av * np.inf)

    with pytest.raises(AccuracyError, match=r"MD step 8 .*last checkpoint is of step 5"):
        run(comm, shared_tmp_path, Broken(water()))


def test_failure_to_write_reaches_every_rank(comm, shared_tmp_path):
    class Hindering(Memory):
        def state(self):
            on_rank_zero(comm, lambda: (shared_tmp_path / "checkpoint.h5.part").mkdir() and None)
            return {}

    class Saboteur(PairSurface):
        def fresh(self, company=1):
            return Hindering()

    with pytest.raises(DataFileError, match=r"MD step 0: .* cannot be written to .*no checkpoint yet.*free some space"):
        run(comm, shared_tmp_path, Saboteur(water()))


@pytest.mark.parametrize("victim", ["mpiqmd.md.trajectory_writer.shutil.copyfile", "mpiqmd.md.checkpoint.os.fsync"])
def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(comm, shared_tmp_path, monkeypatch, victim):
    """The disk fills up when the trajectory has to grow, or at a checkpoint."""
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    long = {"steps": 700, "output_every": 1, "checkpoint_every": 50}
    run(comm, whole, **long)
    run(comm, parts, **long | {"steps": 150})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(victim, full)
    with pytest.raises(DataFileError, match=r"MD step \d+: .*No space left.* last checkpoint is of step [12]50"):
        run(comm, parts, **long)
    monkeypatch.undo()
    assert run(comm, parts, **long)["resumed_from"] in (150, 250)
    assert_same(read(comm, whole), read(comm, parts))


def test_progress_line_has_what_people_look_at(comm, shared_tmp_path):
    stream = io.StringIO()
    run(comm, shared_tmp_path, log=Log(comm, stream))
    lines = stream.getvalue().splitlines()
    if comm.rank == 0:
        assert lines[-1].startswith("step 37/37  17.90 fs  T ") and "drift" in lines[-1] and "s/step" in lines[-1]
    else:
        assert lines == []


def test_impossible_settings_are_listed_together(comm, shared_tmp_path):
    with pytest.raises(ConfigError, match=r"md.timestep = -1.0; allowed: positive; md.temperature"):
        run(comm, shared_tmp_path, timestep=-1.0, temperature=float("nan"))
    with pytest.raises(ConfigError, match=r"md.friction: no key; .*; md.chain_length = 0: below 1; allowed: an integer"):
        run(comm, shared_tmp_path, options={"friction": 1.0, "chain_length": 0})


VICTIM = """
import time
from pathlib import Path
from mpi4py import MPI
from tests.helpers.md_surfaces import ForgetfulSurface
from tests.unit.md import test_run
class Slow(ForgetfulSurface):
    def at(self, positions_av, memory=None):
        time.sleep(1e-4)
        return super().at(positions_av, memory)
test_run.run(MPI.COMM_SELF, Path({folder!r}), Slow(test_run.water()), **{changes!r})
"""


@pytest.mark.serial
@pytest.mark.parametrize(
    ("kills", "changes"),
    [
        (2, {"steps": 1500, "thermostat": "langevin", "output_every": 1}),
        pytest.param(20, {"steps": 12000, "thermostat": "langevin", "output_every": 1}, marks=pytest.mark.slow),
        pytest.param(20, {"steps": 12000, "thermostat": "csvr", "output_every": 3}, marks=pytest.mark.slow),
        pytest.param(
            20,
            {"steps": 6000, "thermostat": "nose-hoover", "constraints": [(0, 1)], "output_every": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value if isinstance(value, int) else value["thermostat"],
)
def test_killed_at_random_moments_the_run_is_still_the_same(comm, shared_tmp_path, rng, kills, changes):
    """SIGKILL at any moment, writing included: the trajectory is bitwise the uninterrupted one, no frame lost or twice."""
    whole, parts = folders(comm, shared_tmp_path, "whole", "parts")
    run(comm, whole, **changes)
    script = VICTIM.format(folder=str(parts), changes=changes)
    deaths = 0
    for kill in range(kills):
        victim = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if kill % 2 == 0:
            wait_for_progress(parts / "checkpoint.h5", victim)
            time.sleep(rng.uniform(0.0, 0.3))
        else:
            time.sleep(rng.uniform(0.3, 1.2))
        os.kill(victim.pid, signal.SIGKILL)
        _, complaint = victim.communicate()
        assert victim.returncode in (0, -signal.SIGKILL), complaint.decode()
        deaths += victim.returncode == -signal.SIGKILL
    result = run(comm, parts, **changes)
    expected = read(comm, whole)
    print(f"{deaths} kills, {len(expected)} frames compared")
    assert deaths >= kills // 2 and result["steps"] == changes["steps"]
    assert_same(expected, read(comm, parts))


def wait_for_progress(path, process):
    """Wait until the process has replaced the checkpoint, or ended."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.002)


@pytest.mark.serial
def test_checkpoints_keep_two_generations(comm, shared_tmp_path):
    run(comm, shared_tmp_path, steps=13)
    newest, warning = load_checkpoint(shared_tmp_path / "checkpoint.h5")
    older, _ = load_checkpoint(previous_path(shared_tmp_path / "checkpoint.h5"))
    assert (newest.attributes["step"], older.attributes["step"], warning) == (13, 10, "")
    assert not list(shared_tmp_path.glob("*.part"))
