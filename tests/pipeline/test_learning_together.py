"""``rom.on_large_error = "learn"`` of several owners: replicas, and the windows of one molecule."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from mpi4py import MPI

from mpiqmd.md.replicas import replica_folder
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.results import read_result
from mpiqmd.rom import offline
from mpiqmd.rom.windowed_model import WindowedModel
from tests.helpers import learning_runs as runs
from tests.helpers.learned_water import COARSE
from tests.helpers.learning_runs import ROM, content, same
from tests.helpers.peroxide import PEROXIDE
from tests.helpers.workplace import WATER, Bench, with_keys

STEPS, REPLICAS = 12, 4
MD = runs.MD | {"steps": STEPS}


@pytest.fixture(autouse=True)
def coarsely(monkeypatch):
    """Growth that learns coarsely."""
    monkeypatch.setattr(offline, "LearnSettings", lambda: COARSE)


def replicas(bench, trained, name, online, *options):
    """The command line of replicas that learn together, and the folders that they write."""
    path = bench.write(f"{online}.toml", with_keys(WATER, md=MD, rom=ROM | {"online": online}))
    folder = bench.folder / name
    words = ("md", path, "--model", trained.model, "--output", folder, "--replicas", REPLICAS, *options)
    return words, [replica_folder(folder, index) for index in range(REPLICAS)]


@pytest.mark.serial
def test_what_one_replica_meets_all_learn(bench, trained):
    """Side by side: all of them change to a model at the same step, and geometries of more than one have made it."""
    words, folders = replicas(bench, trained, "together", "learned")
    result = bench.run(*words)
    assert result["epochs"] and result["failed"] == []
    runs = [content(bench, folder) for folder in folders]
    grown = [epoch["step"] for epoch in result["epochs"]]
    expected = 1.0 + np.searchsorted(grown, np.arange(STEPS + 1), side="left")
    for run in runs:
        assert run["epoch"].tolist() == expected.tolist()
    first = grown[0] + 1
    met = [int(run["hifi"][:first].sum()) for run in runs]
    assert sum(count > 0 for count in met) > 1 and max(met) < ROM["learn_batch"]
    assert "the model grew" in result["verdict"]["words"]
    assert (bench.folder / "together" / "model-epoch-2.h5").exists()


@pytest.mark.serial
def test_replicas_that_are_continued_are_those_that_were_not_stopped(bench, trained):
    """Side by side; one after the other each part would have the later ones begin with another model."""
    words, whole = replicas(bench, trained, "whole", "learned")
    bench.run(*words)
    words, parts = replicas(bench, trained, "parts", "learned")
    for steps in (1, 5, STEPS):
        bench.run(*words, "--steps", steps)
    for one, other in zip(whole, parts, strict=True):
        assert same(content(bench, one), content(bench, other))


@pytest.mark.serial
def test_a_lost_model_ends_all_replicas_before_any_goes_on_without_it(bench, trained, capfd):
    words, folders = replicas(bench, trained, "lost", "learned", "--steps", 5)
    result, before = bench.run(*words), [content(bench, folder) for folder in folders]
    assert result["epochs"]
    (bench.folder / "lost" / "model-epoch-2.h5").rename(bench.folder / "kept.h5")
    assert bench.status(*words[:-1], 8) == 1
    assert "model-epoch-2.h5" in capfd.readouterr().err
    assert all(same(content(bench, folder), run) for folder, run in zip(folders, before, strict=True))


@pytest.mark.serial
def test_replicas_one_after_the_other_go_on_with_the_latest_model(bench, trained):
    """And none of the models that there are is written over."""
    words, folders = replicas(bench, trained, "later", "grid", "--steps", 6)
    first = bench.run(*words)
    known = {path: path.read_bytes() for path in (bench.folder / "later").glob("model-epoch-*.h5")}
    assert len(known) == len(first["epochs"]) > 0
    second = bench.run(*words[:-1], 9)
    assert second["epochs"][: len(first["epochs"])] == first["epochs"]
    assert content(bench, folders[0])["epoch"][7] == 1.0 + len(first["epochs"])
    assert all(path.read_bytes() == content for path, content in known.items())


@pytest.mark.serial
def test_models_of_another_run_are_not_written_over(bench, trained, capfd):
    words, _ = replicas(bench, trained, "mine", "learned", "--steps", 3)
    bench.run(*words)
    alone = words[: words.index("--replicas")]
    assert bench.status(*alone) == 1
    assert "was grown by another run" in capfd.readouterr().err
    own = [*alone, "--overwrite"]
    own[own.index("--model") + 1] = bench.folder / "mine" / "model-epoch-2.h5"
    assert bench.status(*own) == 1
    assert "choose another --output" in capfd.readouterr().err
    assert (bench.folder / "mine" / "replica-0000" / "trajectory.h5").exists()


def test_ranks_learn_the_same_of_all_replicas(bench, trained):
    words, folders = replicas(bench, trained, "grid", "grid")
    result = bench.run(*words)
    assert [each["number"] for each in result["epochs"]] == list(range(2, 2 + len(result["epochs"])))
    assert result["epochs"]
    last = content(bench, folders[-1])
    assert last["epoch"][0] >= 2.0 and len(last["epoch"]) == STEPS + 1


TURNING = 6
"""Steps of dynamics in windows."""


@pytest.fixture(scope="module")
def turning(session_folder, peroxide):
    """The command line of dynamics of peroxide whose windows learn, without its folder."""
    _, folder, _, _ = peroxide
    keys = {"steps": TURNING, "timestep": 25.0, "temperature": "3000 K", "checkpoint_every": 1}
    rom = {"on_large_error": "learn", "learn_batch": 2, "check_every": 2, "force_tolerance": 5e-2, "error_tolerance": 1e-2}
    bench = Bench(MPI.COMM_WORLD.Dup(), session_folder)
    path = bench.write("turning.toml", with_keys(PEROXIDE, md=keys, rom=rom))
    return "md", path, "--model", folder / "model.h5", "--output"


@pytest.fixture(scope="module")
def turned(session_folder, turning):
    """Folder and result of a run in windows that grow."""
    folder = session_folder / "turned"
    return folder, Bench(MPI.COMM_WORLD.Dup(), session_folder).run(*turning, folder)


def test_each_window_grows_by_what_is_met_in_it(bench, peroxide, turned):
    path, trained, _, _ = peroxide
    folder, result = turned
    epochs = result["epochs"]
    assert epochs and [epoch["step"] for epoch in epochs] == sorted(epoch["step"] for epoch in epochs)
    run = content(bench, folder)
    for epoch in epochs:
        assert run["hifi"][epoch["step"]] == 1.0
        assert (folder / f"window-{epoch['window']}" / f"model-epoch-{epoch['number']}.h5").exists()
    assert run["epoch"][-1] == 1.0 + sum(epoch["step"] < TURNING for epoch in epochs)
    assert "the model grew" in result["verdict"]["words"]

    grown = folder / f"model-epoch-{1 + len(epochs)}.h5"
    windowed, before = (bench.once(WindowedModel.load, path) for path in (grown, trained / "model.h5"))
    others = {window for window in before.digests if windowed.digests[window] != before.digests[window]}
    assert others == {epoch["window"] for epoch in epochs}
    if bench.comm.rank == 0:
        kind, lines = describe(grown)
        assert kind == "windows of reduced models" and any("grown since" in line for line in lines)
    assert [epoch["file"] for epoch in epochs] == list(range(2, 2 + len(epochs)))
    # it is used as any other, wherever the folder is
    bench.once(shutil.copytree, folder, bench.folder / "else" / "where")
    moved = bench.folder / "else" / "where" / grown.name
    again = bench.run("md", path, "--model", moved, "--output", bench.folder / "again", "--steps", 1)
    assert again["steps"] == 1 and "distinct windows" in again["verdict"]["words"]


@pytest.mark.serial
def test_windows_that_grow_are_continued_bit_for_bit(bench, turning, turned):
    for steps in (1, 3, TURNING):
        bench.run(*turning, bench.folder / "parts", "--steps", steps)
    assert same(content(bench, turned[0]), content(bench, bench.folder / "parts"))


@pytest.mark.serial
def test_a_model_of_a_window_that_was_lost_is_told_of(bench, turning, turned, capfd):
    folder, result = bench.folder / "lost", turned[1]
    shutil.copytree(turned[0], folder)
    window = result["epochs"][0]["window"]
    shutil.rmtree(folder / f"window-{window}")
    assert bench.status(*turning, folder, "--steps", TURNING + 1) == 1
    assert f"window-{window}" in capfd.readouterr().err
    assert read_result(folder / "result.json")["steps"] == TURNING
