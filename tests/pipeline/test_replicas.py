"""``mpiqmd md --replicas`` on a grid-free model: a batch per rank, and trajectories that do not depend on the company."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mpiqmd.md.checkpoint import previous_path
from mpiqmd.md.noise import replica_seed
from mpiqmd.md.replicas import groups, replica_folder
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.pipeline.results import read_result
from tests.helpers.workplace import Bench, Trained, with_keys

PER_RANK = 4
"""Replicas per rank from which on they are evaluated together."""


@dataclass
class Batches:
    """Runs of ``md --replicas`` in folders of one workplace."""

    bench: Bench
    trained: Trained
    input: Path

    @property
    def count(self) -> int:
        """The fewest replicas of which every rank has a batch."""
        return PER_RANK * self.bench.comm.size

    def words(self, name: str, replicas: int, *options: object) -> tuple:
        model, output = self.trained.model, self.bench.folder / name
        return ("md", self.input, "--model", model, "--output", output, "--replicas", replicas, *options)

    def run(self, name: str, replicas: int, *options: object) -> dict:
        return self.bench.run(*self.words(name, replicas, *options))

    def content(self, name: str, index: int) -> list[np.ndarray]:
        """Everything in the trajectory of a replica, on every rank."""

        def read() -> list[np.ndarray]:
            file = Trajectory.open(replica_folder(self.bench.folder / name, index) / "trajectory.h5")
            return [file.steps_t, file.positions_tav, file.velocities_tav, *file.observables.values()]

        return self.bench.once(read)

    def are_identical(self, one: str, other: str, index: int) -> bool:
        pairs = zip(self.content(one, index), self.content(other, index), strict=True)
        return all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


@pytest.fixture
def batches(bench, trained):
    md = {"thermostat": "langevin", "relaxation_time": 60.0, "seed": 5}
    return Batches(bench, trained, bench.write("input.toml", with_keys(trained.input.read_text(), md=md)))


def test_a_replica_does_not_depend_on_how_many_there_are(batches):
    few, many = batches.count, batches.count + 3 * batches.bench.comm.size + 1
    assert batches.run("few", few)["failed"] == batches.run("many", many)["failed"] == []
    assert all(batches.are_identical("few", "many", index) for index in range(few))
    first, second = batches.content("many", 0), batches.content("many", many - 1)
    assert np.abs(first[1] - second[1]).max() > 1e-2


def test_replicas_resumed_at_different_steps_are_the_uninterrupted_ones_bit_for_bit(batches):
    """Killed between the checkpoints of different replicas: some have to repeat steps that others do not."""
    count = batches.count
    batches.run("whole", count)
    batches.run("parts", count, "--steps", 4)
    behind = range(0, count, 3)

    def fall_behind() -> None:
        for index in behind:
            checkpoint = replica_folder(batches.bench.folder / "parts", index) / "checkpoint.h5"
            os.replace(previous_path(checkpoint), checkpoint)

    batches.bench.once(fall_behind)
    result = batches.run("parts", count)
    resumed = [summary["resumed_from"] for summary in result["replicas"]]
    assert resumed == [0 if index in behind else 4 for index in range(count)]
    assert all(batches.are_identical("whole", "parts", index) for index in range(count))


def test_a_replica_in_a_batch_is_the_single_run_of_its_seed_to_round_off(batches):
    batches.run("batch", batches.count)
    bench, seed = batches.bench, replica_seed(5, 1)
    path = bench.write("single.toml", with_keys(batches.input.read_text(), md={"seed": seed}))
    bench.run("md", path, "--model", batches.trained.model, "--output", bench.folder / "single" / "replica-0001")
    one, other = batches.content("batch", 1), batches.content("single", 1)
    assert max(np.abs(a - b).max() for a, b in zip(one[:3], other[:3], strict=True)) < 1e-9


@pytest.mark.parametrize(("reason", "status"), [("STOP", 0), ("walltime", 75)])
def test_a_batch_ends_early_as_one_and_continues(batches, reason, status):
    bench, count = batches.bench, batches.count
    folder = bench.folder / "parts"
    bench.once(lambda: folder.mkdir())
    if reason == "STOP":
        bench.once((folder / "STOP").touch)
    options = ("--walltime", "0.01") if reason == "walltime" else ()
    assert bench.status(*batches.words("parts", count, *options)) == status
    result = read_result(folder / "result.json")
    assert result["stopped"] == reason and result["steps"] < count
    bench.comm.Barrier()
    assert batches.run("parts", count)["stopped"] is None
    batches.run("whole", count)
    assert all(batches.are_identical("whole", "parts", index) for index in range(count))


def test_one_replica_that_fails_is_named_and_the_others_end(batches, capfd):
    """The damaged checkpoint of one of them."""
    bench, count = batches.bench, batches.count
    batches.run("batch", count, "--steps", 2)

    def damage() -> None:
        folder = replica_folder(bench.folder / "batch", 2)
        shutil.copy(folder / "trajectory.h5", folder / "checkpoint.h5")
        previous_path(folder / "checkpoint.h5").unlink()

    bench.once(damage)
    assert bench.status(*batches.words("batch", count)) == 1
    result = read_result(bench.folder / "batch" / "result.json")
    assert result["failed"] == [2] and "not a complete checkpoint" in result["replicas"][2]["error"]
    assert [summary.get("steps") for summary in result["replicas"]] == [6 if k != 2 else None for k in range(count)]
    bench.comm.Barrier()


def test_errors_of_the_surface_are_those_of_each_replica(batches):
    rom = {"on_large_error": "stop", "error_tolerance": 1e-12}
    batches.input = batches.bench.write("strict.toml", with_keys(batches.input.read_text(), rom=rom))
    assert batches.bench.status(*batches.words("strict", batches.count)) == 1
    result = read_result(batches.bench.folder / "strict" / "result.json")
    assert result["failed"] == list(range(batches.count))
    assert all("MD step 0" in summary["error"] for summary in result["replicas"])
    batches.bench.comm.Barrier()


@pytest.mark.serial
def test_groups_are_as_equal_as_they_can_be():
    assert groups(list(range(9)), 1) == [[index] for index in range(9)]
    assert groups([3, 5, 7, 9], 32) == [[3, 5, 7, 9]] and groups([], 32) == []
    sizes = [len(group) for group in groups(list(range(65)), 32)]
    assert len(sizes) == 3 and max(sizes) - min(sizes) <= 1
