"""A model that is not good enough is made again with more modes and geometries, and a killed training goes on in its round."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mpiqmd.errors import ConvergenceError
from mpiqmd.pipeline import checking, offline
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.snapshots import SnapshotStore
from tests.helpers.workplace import WATER, with_keys

ASKED = {"force_error": "2 mHa/bohr", "energy_error": "0.5 mHa", "rounds": 4}
ON_GRID = {"online": "grid"}


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(checking, "CANDIDATES", 20)


def prepared(bench, trained, name, **keys):
    """An input, and a folder with the snapshots of the trained model."""
    path, folder = bench.write(f"{name}.toml", with_keys(WATER, **keys)), bench.folder / name
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    return path, folder


def read_rounds(bench, folder):
    return bench.once(lambda: json.loads((folder / "rounds.json").read_text()))["rounds"]


def test_a_model_is_made_again_until_it_is_good_and_a_kill_changes_nothing(bench, trained, monkeypatch):
    path, folder = prepared(bench, trained, "again", rom=ON_GRID, train=ASKED)
    solved, compressed, add, compress = [], [], SnapshotStore.add, offline.compress

    def noted(store, index, *state):
        solved.append((store.path.name, index))
        add(store, index, *state)

    def fail_in_round_two(*arguments):
        compressed.append(len(arguments[0]))
        if len(compressed) == 2:
            raise ConvergenceError("the second round was made to fail")
        return compress(*arguments)

    monkeypatch.setattr(SnapshotStore, "add", noted)
    monkeypatch.setattr(offline, "compress", fail_in_round_two)
    assert bench.status("train", path, "--output", folder) == 1
    (first,) = read_rounds(bench, folder)
    assert first["found"]["geometries"] == 6 and len(first["added"]) >= 4
    before = list(solved)
    result = bench.run("train", path, "--output", folder)

    assert not set(before) & set(solved[len(before) :]), "nothing is solved twice"
    rounds = result["rounds"]
    assert result["verdict"]["good"] is not False and 2 <= len(rounds) <= 4
    assert rounds[-1]["unseen"]["force"]["rms"] < 0.5 * rounds[0]["unseen"]["force"]["rms"]
    assert rounds[1]["geometries"] == 6 + len(first["added"]) and len(result["energies"]) == rounds[-1]["geometries"]
    reduced = ReducedModel.load(folder / "model.h5", bench.comm)
    assert reduced.rank == rounds[-1]["modes"] > rounds[0]["modes"]
    assert sum(name == "validation.h5" for name, _ in solved) == 2 * len(rounds), "every round has unseen geometries of its own"

    model = bench.once((folder / "model.h5").read_bytes)
    count = len(solved)
    again = bench.run("train", path, "--output", folder)
    assert again["rounds"] == rounds and len(solved) == count
    assert bench.once((folder / "model.h5").read_bytes) == model


def test_modes_come_first_where_the_training_geometries_are_not_reproduced(bench, trained):
    keys = {"force_error": "4 mHa/bohr", "energy_error": "2 mHa", "rounds": 2}
    path, folder = prepared(bench, trained, "modes", rom=ON_GRID | {"energy_fraction": 0.98}, train=keys)
    result = bench.run("train", path, "--output", folder)
    first, second = result["rounds"]
    (decided,) = read_rounds(bench, folder)
    assert 0.98 < decided["energy_fraction"] < 1.0 and second["energy_fraction"] == decided["energy_fraction"]
    assert second["modes"] > first["modes"] and second["geometries"] == first["geometries"] + len(decided["added"])
    assert second["unseen"]["force"]["rms"] < first["unseen"]["force"]["rms"]


def test_a_grid_free_form_that_is_too_coarse_is_made_finer(bench, trained):
    """No geometry is solved for it: the same modes on the grid are good enough."""
    keys = {"force_error": "8 mHa/bohr", "energy_error": "2 mHa", "rounds": 2}
    path, folder = prepared(bench, trained, "finer", rom={"online": "learned", "compilation_error": "20 mHa"}, train=keys)
    result = bench.run("train", path, "--output", folder)
    first, second = result["rounds"]
    assert "rom.compilation_error" in first["words"]
    (decided,) = read_rounds(bench, folder)
    assert not decided["added"] and decided["compilation_error"] == pytest.approx(0.2 * 2e-2)
    assert second["geometries"] == first["geometries"] and second["modes"] == first["modes"]
    assert second["unseen"]["force"]["rms"] < first["unseen"]["force"]["rms"]


def test_one_round_is_one_model(bench, trained):
    path, folder = prepared(bench, trained, "one", rom=ON_GRID, train={"rounds": 1})
    result = bench.run("train", path, "--output", folder)
    assert len(result["rounds"]) == 1 and result["verdict"]["good"] is False
    assert not bench.once((folder / "rounds.json").exists)


@pytest.mark.parametrize("text", ["{", "[]", '{"recipe": 1}', '{"rounds": [{"added": [1]}]}'])
def test_a_damaged_file_of_rounds_is_refused_in_words(bench, trained, text, capfd):
    path, folder = prepared(bench, trained, "damaged", rom=ON_GRID, train={"rounds": 2})
    bench.write("damaged/rounds.json", text)
    assert bench.status("train", path, "--output", folder) == 1
    assert ("rounds.json" in capfd.readouterr().err) == (bench.comm.rank == 0)


def test_rounds_of_another_recipe_count_for_nothing(bench, trained):
    path, folder = prepared(bench, trained, "other", rom=ON_GRID, train={"validation": 0})
    rounds = [{"energy_fraction": 0.5, "added": np.zeros((1, 3, 3)).tolist(), "found": {}}]
    bench.write("other/rounds.json", json.dumps({"recipe": {"rom.rank": 3}, "rounds": rounds}))
    result = bench.run("train", path, "--output", folder)
    assert len(result["energies"]) == 6 and result["energy_fraction"] == 0.9999
