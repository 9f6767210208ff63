"""``mpiqmd train`` in parts and in groups: the same model as in one go, whatever is killed, and nothing foreign gathered."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.results import read_result
from tests.helpers.workplace import WATER, with_keys

QUICK = {"rom": {"online": "grid"}, "train": {"validation": 0}}
"""What is compared here comes before compiling and checking."""


@pytest.fixture
def quick(bench):
    """The input of the trained model without what parts do not touch, and a folder for it."""
    return bench.write("quick.toml", with_keys(WATER, **QUICK)), bench.folder / "parts"


def same_as(result, trained):
    """Whether energies and singular values are those of one job on all ranks, to what other starting orbitals may change."""
    assert result["rank"] == trained.result["rank"]
    assert np.allclose(result["energies"], trained.result["energies"], rtol=0, atol=1e-9)
    # which of the smallest are above round-off is not the same every time
    few, many = sorted((result["singular_values"], trained.result["singular_values"]), key=len)
    assert np.allclose(np.pad(few, (0, len(many) - len(few))), many, rtol=0, atol=1e-5)


def test_parts_are_gathered_and_the_rest_is_solved_in_groups(bench, quick, trained, capfd):
    path, folder = quick
    for part, own in (("1/4", [0]), ("3/4", [3])):
        assert bench.status("train", path, "--part", part, "--output", folder) == 0
        name = f"{own[0]:04d}-{own[-1]:04d}"
        result = bench.once(read_result, folder / f"result-{name}.json")
        assert (result["geometries"], result["finished"], result["stopped"]) == (own, len(own), None)
        assert bench.once((folder / f"snapshots-{name}.h5").is_file)
    assert bench.once(lambda: sorted(item.name for item in folder.iterdir() if item.suffix == ".h5")) == [
        "snapshots-0000-0000.h5",
        "snapshots-0003-0003.h5",
    ]
    kind, lines = bench.once(describe, folder / "snapshots-0003-0003.h5")
    assert kind == "snapshots" and "1 of 1 geometries solved" in "\n".join(lines)
    result = bench.run("train", path, "--groups", min(2, bench.comm.size), "--output", folder)
    same_as(result, trained)
    assert bench.once(lambda: [item.name for item in folder.glob("snapshots*")]) == ["snapshots.h5"]
    # a part whose geometries are in the whole has nothing left to do
    assert bench.status("train", path, "--part", "2/4", "--output", folder) == 0
    assert bench.once(read_result, folder / "result-0001-0002.json")["seconds_per_geometry"] is None


def test_groups_solve_unseen_geometries_too(bench, trained):
    path = bench.write("grouped.toml", with_keys(WATER, rom={"online": "grid"}))
    folder = bench.folder / "grouped"
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    result = bench.run("train", path, "--groups", min(2, bench.comm.size), "--output", folder)
    assert abs(result["unseen"][0]["energy"] - trained.result["unseen"][0]["energy"]) < 1e-9
    assert bench.once(lambda: [item.name for item in folder.glob("validation*")]) == ["validation.h5"]


def test_a_part_may_be_solved_in_groups(bench, quick, trained):
    path, folder = quick
    groups = min(3, bench.comm.size)
    assert bench.status("train", path, "--part", "2/2", "--groups", groups, "--output", folder) == 0
    assert bench.once(lambda: [item.name for item in folder.glob("snapshots*")]) == ["snapshots-0003-0005.h5"]
    energies = bench.once(read_result, folder / "result-0003-0005.json")["energies"]
    assert np.allclose(energies, trained.result["energies"][3:], rtol=0, atol=1e-9)


def test_more_groups_than_ranks_are_refused(bench, quick, capfd):
    path, folder = quick
    assert bench.status("train", path, "--groups", bench.comm.size + 1, "--output", folder) == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert f"--groups {bench.comm.size + 1} on {bench.comm.size} rank(s)" in message


@pytest.mark.parametrize(
    ("sections", "difference"),
    [
        ({"grid": {"order": 4}}, "order: 6 in the file, 4 now"),
        ({"train": {"bond_scales": [0.9, 1.1]}}, "its geometry 0 is none of the 6 of this training"),
        ({"scf": {"empty_orbitals": 1}}, "3 atoms and 4 orbitals a geometry"),
    ],
)
def test_parts_of_another_training_are_refused(bench, quick, trained, capfd, sections, difference):
    _, folder = quick
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots-0000-0005.h5")
    keys = {name: QUICK.get(name, {}) | sections.get(name, {}) for name in {*QUICK, *sections}}
    path = bench.write("other.toml", with_keys(WATER, **keys))
    assert bench.status("train", path, "--output", folder) == 1
    message = bench.comm.bcast(capfd.readouterr().err, root=0)
    assert difference in message and "snapshots-0000-0005.h5" in message
    assert bench.once((folder / "snapshots-0000-0005.h5").is_file)


def test_a_training_that_runs_out_of_time_says_so_and_continues(bench, quick):
    path, folder = quick
    assert bench.status("train", path, "--walltime", "0.001", "--output", folder) == 75
    result = bench.once(read_result, folder / "result.json")
    assert (result["stopped"], result["finished"]) == ("walltime", 0)
    assert bench.status("train", path, "--part", "1/6", "--walltime", "0.001", "--output", folder) == 75
    assert bench.status("train", path, "--part", "1/6", "--output", folder) == 0
    assert bench.once(read_result, folder / "result-0000-0000.json")["finished"] == 1


KILLED = """
import os, signal, sys
from mpiqmd.cli import main
from mpiqmd.rom import partial_snapshots
from mpiqmd.rom.snapshots import SnapshotStore
moment, count = sys.argv[1], 0
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
mark, take, unlink = SnapshotStore._mark, SnapshotStore.take, partial_snapshots.Path.unlink
def killed_mark(store, index):
    global count
    count += 1
    if moment == "solving" and count == 2:
        kill()
    mark(store, index)
def killed_take(store, *which):
    global count
    take(store, *which)
    count += 1
    if moment == "gathering":
        kill()
def killed_unlink(path, **options):
    if moment == "removing" and path.name.startswith("snapshots-"):
        kill()
    unlink(path, **options)
SnapshotStore._mark, SnapshotStore.take, partial_snapshots.Path.unlink = killed_mark, killed_take, killed_unlink
main(sys.argv[2:])
"""


@pytest.mark.serial
def test_killed_at_any_moment_nothing_is_lost(bench, quick, trained, capfd):
    path, folder = quick
    words = ["train", str(path), "--output", str(folder), "--quiet"]

    def killed(moment, *options):
        command = [sys.executable, "-c", KILLED, moment, *words, *options]
        process = subprocess.run(command, capture_output=True, check=False)
        assert process.returncode == -signal.SIGKILL, process.stderr.decode()

    killed("solving", "--part", "1/2")
    assert bench.status(*words, "--part", "1/2") == 0
    killed("gathering")
    killed("removing")
    # what is left of the time is enough to gather
    assert bench.status(*words, "--walltime", "0.001") == 75
    assert [item.name for item in folder.glob("snapshots*")] == ["snapshots.h5"]
    with h5py.File(folder / "snapshots.h5") as file:
        finished = [bool(group["finished"][()]) for group in file.values()]
        energies = [float(group["energy"][()]) for group in file.values()][:3]
    assert finished == [True] * 3 + [False] * 3
    assert np.allclose(energies, trained.result["energies"][:3], rtol=0, atol=1e-13)


@pytest.mark.serial
@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2", "1/2/3"])
def test_parts_that_do_not_exist_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["train", "water.toml", "--part", text])
    assert "K/N" in capsys.readouterr().err


@pytest.mark.serial
def test_a_part_does_not_remove_the_others(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["train", "water.toml", "--part", "1/2", "--overwrite"])
    assert "--overwrite with --part" in capsys.readouterr().err
