"""``mpiqmd train``: bounds on energies, the criteria of the basis, and resuming after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.datafiles import seal, unseal
from mpiqmd.errors import ConvergenceError
from mpiqmd.pipeline import checking
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result
from mpiqmd.rom.model import ReducedModel
from mpiqmd.rom.offline import describe_snapshots
from mpiqmd.rom.snapshots import SnapshotStore
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.workplace import WATER, with_keys

N_GEOMETRIES = 6
N_ORBITALS = 4


def test_the_result_says_what_was_made(trained):
    result = trained.result
    assert result["snapshots"] == N_GEOMETRIES * N_ORBITALS
    assert len(result["energies"]) == N_GEOMETRIES
    assert {"versions", "ranks", "input", "errors", "unseen"} <= result.keys()
    assert [row["kind"] for row in result["unseen"]] == ["random", "dynamics"]
    for name in ("model.h5", "snapshots.h5", "validation.h5", "singular_values.png", "singular_values.pdf"):
        assert (trained.folder / name).stat().st_size > 1000


@pytest.mark.parametrize(("name", "power"), [("rank_sigma", 1), ("rank_sigma2", 2)])
def test_the_rank_is_the_smallest_that_keeps_the_fraction(trained, name, power):
    share = np.cumsum(np.array(trained.result["singular_values"]) ** power)
    share /= share[-1]
    rank = trained.result[name]
    assert share[rank - 1] >= 0.9999 > share[rank - 2]
    assert trained.result["rank"] == trained.result["rank_sigma"]


def test_reduced_energies_are_upper_bounds_and_their_errors_are_known(trained):
    errors = trained.result["errors"]
    assert errors["worst"]["training"]["on_grid"]["energy"]["lowest"] > -1e-9
    for row in trained.result["unseen"]:
        assert row["energy_error"] > 1e-7
        assert 0.5 < row["error_estimate"] / row["energy_error"] < 2.0
    in_use, on_grid = (errors["worst"]["unseen"][form] for form in ("in_use", "on_grid"))
    assert abs(in_use["energy"]["mean"] - on_grid["energy"]["mean"]) < 1e-5
    assert abs(in_use["force"]["largest"] - on_grid["force"]["largest"]) < 1e-4


def test_unseen_geometries_are_solved_once(bench, trained, monkeypatch):
    """Another model of the same training needs new frames of its own dynamics, and no more."""
    path, folder = bench.write("fewer.toml", with_keys(WATER, rom={"rank": 12, "online": "grid"})), bench.folder / "fewer"
    bench.once(folder.mkdir)
    for name in ("snapshots.h5", "validation.h5"):
        bench.once(shutil.copy, trained.folder / name, folder / name)
    solved, add = [], SnapshotStore.add

    def noted(store, index, *state):
        solved.append((store.path.name, index))
        add(store, index, *state)

    monkeypatch.setattr(SnapshotStore, "add", noted)
    result = bench.run("train", path, "--output", folder)
    assert solved == [("validation.h5", 2)]
    rows = zip(result["unseen"], trained.result["unseen"], strict=True)
    assert [one["energy"] == other["energy"] for one, other in rows] == [True, False]


def test_frames_of_the_models_own_dynamics_have_energy_in_all_vibrations(trained):
    """They start from the reference geometry, which is left behind, and stay where the model has answers."""
    (frame,) = (row for row in trained.result["unseen"] if row["kind"] == "dynamics")
    with h5py.File(trained.model) as file:
        reference_av = file["reference/positions"][:]
    assert 1e-2 < np.abs(np.array(frame["positions"]) - reference_av).max() < 0.5
    assert trained.result["errors"]["dynamics"]["unanswered"] == 0


@pytest.mark.serial
@pytest.mark.parametrize(("symmetries", "said"), [(0, "72 orbitals"), (1, "72 orbitals (144 with their images)")])
def test_orbitals_are_counted_with_their_images(symmetries, said):
    """So that there are never more modes than what they are made of."""
    assert describe_snapshots(72, symmetries) == said


def test_the_untruncated_basis_reproduces_the_training_geometries_without_solving_them_again(bench, trained):
    path = bench.write("all.toml", with_keys(WATER, rom={"energy_fraction": 1.0, "online": "grid"}, train={"validation": 0}))
    folder = bench.folder / "all"
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    result = bench.run("train", path, "--output", folder)
    assert result["rank"] > trained.result["rank"]
    assert result["seconds_per_geometry"] is None
    assert result["energies"] == trained.result["energies"]
    training = result["errors"]["training"]
    assert -1e-9 < training["energy"]["lowest"] <= training["energy"]["mean"] < 1e-9
    assert training["energy"]["largest"] < 1e-9 and training["force"]["largest"] < 2e-5
    assert result["unseen"] == [] and result["errors"]["unseen"] is None and result["verdict"]["good"] is None


def test_a_finished_training_is_not_done_again(bench, trained):
    before = bench.once(trained.model.read_bytes)
    again = bench.run("train", trained.input, "--output", trained.folder)
    assert again["seconds_per_geometry"] is None
    assert bench.once(trained.model.read_bytes) == before
    assert again["rank"] == trained.result["rank"] and again["errors"] == trained.result["errors"]


def test_snapshots_of_another_training_are_refused(bench, trained, capfd):
    path = bench.write("other.toml", with_keys(WATER, train={"bond_scales": [0.9, 1.1]}))
    folder = bench.folder / "other"
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    assert bench.status("train", path, "--output", folder) == 1
    assert ("--overwrite" in capfd.readouterr().err) == (bench.comm.rank == 0)


KILLED = """
import os, signal, sys
from mpiqmd.cli import main
from mpiqmd.rom.snapshots import SnapshotStore
mark = SnapshotStore._mark
def killed(store, index):
    if index == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(store, index)
SnapshotStore._mark = killed
main(sys.argv[1:])
"""


@pytest.mark.serial
def test_a_killed_training_goes_on_where_it_was(bench, trained, capfd):
    folder = bench.folder / "killed"
    words = ["train", str(trained.input), "--output", str(folder)]
    process = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL
    with h5py.File(folder / "snapshots.h5") as file:
        finished = [bool(group["finished"][()]) for group in file.values()]
    assert finished == [True] * 3 + [False] * 3
    assert not (folder / "model.h5").exists()
    # Learned already in another test; what counts here is that the solves continue.
    path = bench.write("grid.toml", with_keys(WATER, rom={"online": "grid"}))
    assert run_job(parse_arguments(["train", str(path), "--output", str(folder)]), bench.comm) == 0
    assert "3 geometries are solved already" in capfd.readouterr().out
    result = read_result(folder / "result.json")
    assert np.allclose(result["energies"], trained.result["energies"], rtol=0, atol=1e-13)
    assert np.allclose(result["singular_values"], trained.result["singular_values"], rtol=0, atol=1e-10)
    assert os.listdir(folder).count("model.h5") == 1


def test_a_training_killed_while_it_checks_goes_on_from_its_draft(bench, trained, monkeypatch):
    """Snapshots are read once for the model and once to start from, and the model is written once; the errors are in the file
    that gets its name last."""
    path = bench.write("checked.toml", with_keys(WATER, rom={"online": "grid"}))
    folder, reads, saves, solved = bench.folder / "checked", [], [], []
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    read, save, add = SnapshotStore.read, ReducedModel.save, SnapshotStore.add
    monkeypatch.setattr(SnapshotStore, "add", lambda self, index, *state: solved.append(index) or add(self, index, *state))
    monkeypatch.setattr(SnapshotStore, "read", lambda self, grid, index: reads.append(index) or read(self, grid, index))
    monkeypatch.setattr(ReducedModel, "save", lambda self, path: saves.append(path.name) or save(self, path))

    def fail(*arguments: object) -> None:
        raise ConvergenceError("the check was made to fail")

    with monkeypatch.context() as patch:
        patch.setattr(checking, "validate", fail)
        assert bench.status("train", path, "--output", folder) == 1
    assert bench.once(lambda: sorted(file.name for file in folder.glob("model*"))) == ["model-draft.h5"]
    result = bench.run("train", path, "--output", folder)
    assert bench.once(lambda: sorted(file.name for file in folder.glob("model*"))) == ["model.h5"]
    assert reads == 2 * list(range(6)) and saves == ["model-draft.h5"]
    assert solved == [0, 1], "unseen geometries are solved once"
    reduced = ReducedModel.load(folder / "model.h5", bench.comm)
    assert reduced.rank == result["rank"] and reduced.notes["errors"]["unseen"]["count"] == 2
    assert reduced.notes["verdict"] == result["verdict"]


@pytest.mark.serial
def test_a_model_of_a_form_that_is_gone_is_refused_and_trained_again_from_its_snapshots(bench, trained, capfd):
    """Its modes still serve on the grid."""
    folder = bench.folder / "old"
    shutil.copytree(trained.folder, folder)
    model = folder / "model.h5"
    unseal(model)
    with h5py.File(model, "r+") as file:
        file.move("arrays/learned", "arrays/compiled")
        notes = json.loads(file.attrs["notes"])
        notes["recipe"]["rom.online"] = "compiled"
        file.attrs["notes"] = json.dumps(notes)
    seal(model)
    words = ("md", trained.input, "--steps", 1, "--model", model, "--output", bench.folder / "md")
    assert bench.status(*words) == 1
    message = capfd.readouterr().err
    assert "trained with rom.online = 'compiled', a form that this version no longer has" in message
    assert "`mpiqmd train`" in message and "snapshots are kept" in message
    assert any("a form that this version no longer has" in line for line in describe(model)[1])
    on_grid = bench.write("grid.toml", with_keys(WATER, rom={"online": "grid"}))
    assert bench.status("md", on_grid, *words[2:]) == 0
    again = bench.run("train", on_grid, "--output", folder)
    assert again["seconds_per_geometry"] is None and again["energies"] == trained.result["energies"]
    assert finished_of(model) == "grid"


def finished_of(model):
    """The form that a model file was trained for."""
    with h5py.File(model) as file:
        return json.loads(file.attrs["notes"])["recipe"]["rom.online"]


def judged(bench, trained, capfd, rom, **train):
    """Another model of the same snapshots, on the grid: its result, the verdict of its training, its input and folder.

    After the verdict comes what the coarse grid of these tests is worth, whatever the model.
    """
    path = bench.write("judged.toml", with_keys(WATER, rom={"online": "grid"} | rom, train=train))
    folder = bench.folder / "judged"
    bench.once(folder.mkdir)
    bench.once(shutil.copy, trained.folder / "snapshots.h5", folder / "snapshots.h5")
    capfd.readouterr()
    assert run_job(parse_arguments(["train", str(path), "--output", str(folder)]), bench.comm) == 0
    lines = bench.comm.bcast(capfd.readouterr().out.splitlines())
    assert (
        lines[-1].startswith("warning: the full solutions that the model reproduces are NOT good enough")
        and "spacing" in lines[-1]
    )
    return read_result(folder / "result.json"), lines[-2], path, folder


def test_a_bad_model_ends_its_training_with_a_warning_that_all_doors_repeat(bench, trained, capfd):
    """Eight modes for four orbitals: the training geometries themselves are not reproduced."""
    result, last, path, folder = judged(bench, trained, capfd, {"rank": 8})
    assert result["verdict"]["good"] is False and result["errors"]["unseen"]["energy"]["mean"] > 1e-4
    assert last == result["verdict"]["words"] and "Keep more modes" in last and last.startswith("warning: NOT good enough")
    model = folder / "model.h5"
    words = ["md", str(path), "--model", str(model), "--steps", "3", "--output", str(bench.folder / "md")]
    tolerant = bench.write("tolerant.toml", with_keys(path.read_text(), rom={"check_every": 1, "error_tolerance": 1e-4}))
    words[1] = str(tolerant)
    assert run_job(parse_arguments(words), bench.comm) == 0
    said = bench.comm.bcast(capfd.readouterr().out)
    assert "model.h5: warning: NOT good enough" in said and "warning: 4 of 4 checks found estimated errors" in said
    checks = read_result(bench.folder / "md" / "result.json")["error_checks"]
    assert (checks["checks"], checks["exceeded"]) == (4, 4) and f"up to {checks['largest']:.1e} Ha at step" in said
    assert run_job(parse_arguments(["info", str(model)]), bench.comm) == 0
    shown = bench.comm.bcast(capfd.readouterr().out)
    assert all(sentence in shown for sentence in last.split(". "))


def test_a_good_model_ends_its_training_with_praise(bench, trained, capfd):
    result, last, path, folder = judged(bench, trained, capfd, {}, energy_error="5 mHa", force_error=0.1, validation=10)
    assert result["verdict"]["good"] is True and last.startswith("good to ") and "few: 50 prove more" in last
    assert "within train.energy_error = 5.0e-03" in last
    words = ["md", str(path), "--model", str(folder / "model.h5"), "--steps", "1", "--output", str(bench.folder / "md")]
    assert run_job(parse_arguments(words), bench.comm) == 0
    said = bench.comm.bcast(capfd.readouterr().out)
    assert "model.h5: warning: the full solutions" in said and "the model is good to" in said
    assert "but its full solutions had warnings of" in said.splitlines()[-1]


def test_what_is_large_at_run_time_follows_from_what_training_asks_for(bench, trained, capfd):
    """A model just as good as asked for raises no alarm where it was trained; one far from that does."""
    result, _, path, folder = judged(bench, trained, capfd, {})
    found = result["errors"]["training"]["force"]
    good = max(found["rms"], found["largest"] / 5.0)
    positions_sav = ReducedModel.load(folder / "model.h5", bench.comm).training_positions_sav
    frames = bench.write("frames.xyz", "".join(f"3\n\n{_rows(positions_av)}\n" for positions_av in positions_sav))

    def checks(asked, **rom):
        text = with_keys(path.read_text(), train={"force_error": float(asked)}, rom=rom)
        words = "evaluate", bench.write("asked.toml", text), "--structures", frames, "--model", folder / "model.h5"
        return bench.run(*words, "--output", bench.folder / "out", "--overwrite")["error_checks"]

    content = checks(good)
    assert content["checks"] == len(positions_sav) and content["exceeded"] == 0 < content["largest_force"]
    assert content["force_tolerance"] == pytest.approx(10.0 * good)
    assert content["tolerance"] == pytest.approx(5.0 * 1e-5)
    assert checks(0.01 * good)["exceeded"] > 0
    assert checks(0.01 * good, force_tolerance=0.5)["force_tolerance"] == 0.5


def _rows(positions_av):
    return "\n".join(
        f"{symbol} {x:.12f} {y:.12f} {z:.12f}" for symbol, (x, y, z) in zip("OHH", positions_av * BOHR_IN_ANGSTROM, strict=True)
    )
