"""Many runs side by side: each is the run it would be alone, and fails alone."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mpiqmd.errors import ConfigError, ConvergenceError
from mpiqmd.md.record import Record
from mpiqmd.md.run import dynamics_steps, run_together
from mpiqmd.md.settings import DynamicsSettings
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import Log, silent
from tests.helpers.md_surfaces import ForgetfulSurface, water
from tests.unit.md.test_run import SETTINGS, assert_same, folders, read, run


class BatchedSurface(ForgetfulSurface):
    """The surface with a memory; counts how many are evaluated at once."""

    def __init__(self, molecule):
        super().__init__(molecule)
        self.sizes = []

    def evaluate(self, positions_bav, memories):
        self.sizes.append(len(memories))
        return super().evaluate(positions_bav, memories)


def record(folder):
    return Record(folder / "trajectory.h5", folder / "checkpoint.h5", identity={"solver": "rom"})


def side_by_side(comm, paths, owners, stop=None, each_round=lambda: None, **changes):
    """Run one trajectory per folder, of seeds 0, 1, ..."""
    runs = []
    for seed, (path, owner) in enumerate(zip(paths, owners, strict=True)):
        settings = DynamicsSettings(**{**SETTINGS, "seed": seed, **changes})
        runs.append(dynamics_steps(water(), owner.memory, settings, comm, silent(comm), record(path), stop=stop))
    return run_together(owners[0].surface, runs, [owner.memory for owner in owners], each_round)


def owners_of_one(count):
    surface = BatchedSurface(water())
    return [Owner(surface) for _ in range(count)]


def test_runs_side_by_side_are_the_runs_alone(comm, shared_tmp_path):
    paths = folders(comm, shared_tmp_path, "0", "1", "2")
    owners = owners_of_one(3)
    results = side_by_side(comm, paths, owners)
    assert set(owners[0].surface.sizes) == {3}
    for seed, (path, result) in enumerate(zip(paths, results, strict=True)):
        (alone,) = folders(comm, shared_tmp_path, f"alone-{seed}")
        expected = run(comm, alone, seed=seed)
        assert_same(read(comm, path), read(comm, alone))
        assert {**result, "seconds_per_step": 0} == {**expected, "seconds_per_step": 0}


def test_runs_resumed_at_different_steps_are_the_uninterrupted_ones(comm, shared_tmp_path):
    paths, whole = folders(comm, shared_tmp_path, "a", "b", "c"), folders(comm, shared_tmp_path, "d", "e", "f")
    for seed, steps in enumerate((4, 11, 20)):
        run(comm, paths[seed], seed=seed, steps=steps)
    owners = owners_of_one(3)
    results = side_by_side(comm, paths, owners)
    assert [result["resumed_from"] for result in results] == [4, 11, 20]
    assert owners[0].surface.sizes[0] == 3 and owners[0].surface.sizes[-1] == 1
    side_by_side(comm, whole, owners_of_one(3))
    for one, other in zip(paths, whole, strict=True):
        assert_same(read(comm, one), read(comm, other))


def test_a_run_that_fails_does_not_stop_the_others(comm, shared_tmp_path):
    paths = folders(comm, shared_tmp_path, "0", "1", "2")
    owners = owners_of_one(3)
    owners[1].memory.stop_at, owners[1].memory.error = 6, ConvergenceError("the electrons gave up")
    results = side_by_side(comm, paths, owners)
    assert isinstance(results[1], ConvergenceError)
    assert str(results[1]).startswith("MD step 6: the electrons gave up")
    assert comm.rank != 0 or "checkpoint is of step 5" in str(results[1])
    assert [results[k]["steps"] for k in (0, 2)] == [SETTINGS["steps"]] * 2
    assert owners[0].surface.sizes[0] == 3 and owners[0].surface.sizes[-1] == 2
    # the failed one can go on from its checkpoint
    assert side_by_side(comm, paths, owners_of_one(3))[1]["resumed_from"] == 5


def test_a_run_that_cannot_begin_does_not_stop_the_others(comm, shared_tmp_path):
    paths = folders(comm, shared_tmp_path, "0", "1")
    run(comm, paths[0], seed=99, steps=2)
    results = side_by_side(comm, paths, owners_of_one(2))
    assert isinstance(results[0], ConfigError) and "md.seed was 99, is 0" in str(results[0])
    assert results[1]["steps"] == SETTINGS["steps"]


def test_all_stop_in_the_round_in_which_it_was_decided(comm, shared_tmp_path):
    paths, rounds = folders(comm, shared_tmp_path, "0", "1", "2"), []
    results = side_by_side(
        comm, paths, owners_of_one(3), lambda: "walltime" if len(rounds) > 7 else None, lambda: rounds.append(None)
    )
    assert [result["stopped"] for result in results] == ["walltime"] * 3
    assert len({result["steps"] for result in results}) == 1 and results[0]["steps"] == 7


def test_anything_unexpected_closes_all_trajectories(comm, shared_tmp_path):
    paths, owners = folders(comm, shared_tmp_path, "0", "1"), owners_of_one(2)
    owners[1].memory.stop_at, owners[1].memory.error = 3, ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        side_by_side(comm, paths, owners)
    # closed files are trimmed to their frames
    assert [len(read(comm, path).times_t) for path in paths] == [2, 2]


@pytest.mark.serial
def test_runs_that_share_a_process_go_to_the_disk_as_often_as_one():
    settings = DynamicsSettings(checkpoint_seconds=2.0, flush_seconds=3.0)
    shared = settings.shared_by(5)
    assert (shared.checkpoint_seconds, shared.flush_seconds) == (10.0, 15.0)
    assert shared.identity() == settings.identity() and np.isclose(shared.checkpoint_minutes, settings.checkpoint_minutes)


@pytest.mark.serial
def test_lines_say_which_run_they_are_of(serial_comm):
    stream = io.StringIO()
    log = Log(serial_comm, stream)
    first, second = log.named("run 0", shows_progress=True), log.named("run 1", shows_progress=False)
    second("continuing")
    second.progress("step 3", last=True)
    first.progress("step 4", last=True)
    log("done")
    assert stream.getvalue().splitlines() == ["run 1: continuing", "run 0: step 4", "done"]
