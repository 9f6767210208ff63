"""``mpiqmd train`` on a molecule that turns: a model a window, one file for all, and dynamics through their borders."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mpiqmd.config import load_input
from mpiqmd.errors import DataFileError
from mpiqmd.exchange.structure import Structure
from mpiqmd.exchange.structure_files import write_geometries
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.surface import Owner
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.build import build_model, build_molecule
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.reduced import build_rom_surface
from mpiqmd.rom.windowed_model import WindowedModel
from mpiqmd.sampling.windows import Windows
from tests.helpers.peroxide import PEROXIDE
from tests.helpers.workplace import with_keys


def loaded(bench, folder):
    return bench.once(WindowedModel.load, folder / "model.h5")


def test_windows_are_trained_one_by_one_and_put_together(bench, peroxide):
    _, folder, chosen, result = peroxide
    assert [window["window"] for window in result["windows"]] == [0, 1]
    assert [window["samples"] for window in chosen["windows"]] == [3, 3]
    windows = loaded(bench, folder).windows
    for window, each in enumerate(chosen["windows"]):
        offsets = [windows.offset(window, np.array(positions)) for positions in each["positions"]]
        assert offsets[0] == pytest.approx(0.0, abs=0.02) and np.abs(offsets).max() <= windows.half_width
        assert max(offsets) - min(offsets) > windows.half_width
    assert result["laid"] == Windows.of(result["laid"]).described()
    # what the parts solved was not solved again
    assert all(window["seconds_per_geometry"] is None for window in result["windows"])


def test_dynamics_goes_through_the_border_of_two_windows(bench, peroxide):
    path, folder, _, _ = peroxide
    result = bench.run("md", path, "--model", folder / "model.h5", "--output", bench.folder / "md")
    assert result["steps"] == 8 and result["error_checks"]["checks"] > 0
    run = bench.once(Trajectory.open, bench.folder / "md" / "trajectory.h5")
    if run is not None and bench.comm.rank == 0:
        total = run.observables["conserved_energy"]
        assert np.ptp(total) < 0.05 * np.ptp(run.observables["potential_energy"])
        assert set(run.observables["window"]) <= {0.0, 1.0}
        assert np.ptp(run.observables["window_coordinate"]) > 0.01


def test_a_run_that_is_continued_is_the_run_that_was_not_stopped(bench, peroxide):
    path, folder, _, _ = peroxide
    words = ("md", path, "--model", folder / "model.h5", "--output")
    bench.run(*words, bench.folder / "whole", "--steps", 6)
    bench.run(*words, bench.folder / "halves", "--steps", 3)
    bench.run(*words, bench.folder / "halves", "--steps", 6)
    whole, halves = (bench.once(Trajectory.open, bench.folder / name / "trajectory.h5") for name in ("whole", "halves"))
    if bench.comm.rank == 0:
        assert np.array_equal(whole.positions_tav, halves.positions_tav)
        assert np.array_equal(whole.observables["potential_energy"], halves.observables["potential_energy"])


def test_mirror_images_have_one_energy_and_the_answer_is_near_hifi(bench, peroxide):
    path, folder, chosen, _ = peroxide
    trans_av, there_av = np.array(chosen["windows"][1]["positions"][:2])
    frames = Structure(("O", "O", "H", "H"), there_av)
    both = np.array([there_av, there_av * [1.0, 1.0, -1.0], trans_av])
    bench.once(write_geometries, bench.folder / "both.extxyz", frames, both)
    words = ("evaluate", path, "--structures", bench.folder / "both.extxyz", "--output")
    reduced = bench.run(*words, bench.folder / "reduced", "--model", folder / "model.h5")
    full = bench.run(*words, bench.folder / "full", "--body-frame")
    assert reduced["energies"][0] == pytest.approx(reduced["energies"][1], abs=1e-7)
    mirrored = np.array(reduced["forces"][1]) * [1.0, 1.0, -1.0]
    assert np.array(reduced["forces"][0]) == pytest.approx(mirrored, abs=1e-5)
    # that of one window's training, where the others have no weight
    assert 0.0 < reduced["energies"][2] - full["energies"][2] < 1e-3


def test_a_model_of_one_window_is_for_that_window(bench, peroxide, capfd):
    path, folder, chosen, _ = peroxide
    frames = Structure(("O", "O", "H", "H"), np.array(chosen["windows"][0]["positions"][0]))
    bench.once(write_geometries, bench.folder / "cis.extxyz", frames, np.array(chosen["windows"][0]["positions"])[:1])
    words = ("evaluate", path, "--structures", bench.folder / "cis.extxyz", "--output", bench.folder / "cis")
    assert bench.status(*words, "--model", folder / "window-1" / "model.h5") == 1
    result = bench.once(lambda: (bench.folder / "cis" / "result.json").read_text())
    assert "this model is for 60.0 degrees to 300.0 degrees" in bench.comm.bcast(result)
    capfd.readouterr()


def test_files_that_do_not_belong_together_are_refused(bench, peroxide, capfd):
    path, folder, _, _ = peroxide
    copy = bench.folder / "copy"
    bench.once(copy.mkdir)
    bench.once(shutil.copy, folder / "model.h5", copy / "model.h5")
    words = ("md", path, "--model", copy / "model.h5", "--output", bench.folder / "md")
    assert bench.status(*words) == 1
    assert bench.comm.rank > 0 or "Copy the whole folder" in capfd.readouterr().err
    for window, source in (("window-0", "window-1"), ("window-1", "window-1")):
        bench.once(shutil.copytree, folder / source, copy / window)
    assert bench.status(*words) == 1
    assert bench.comm.rank > 0 or "is not the model that" in capfd.readouterr().err
    other = bench.write("other.toml", with_keys(PEROXIDE, grid={"points": [22, 22, 22]}))
    assert bench.status("md", other, "--model", folder / "model.h5", "--output", bench.folder / "other") == 1
    assert bench.comm.rank > 0 or "made for other physics" in capfd.readouterr().err


def test_a_renamed_file_finds_its_models_and_another_model_in_their_place_is_refused_when_it_is_needed(bench, peroxide):
    path, folder, chosen, _ = peroxide
    copy = bench.folder / "renamed"
    bench.once(shutil.copytree, folder, copy)
    bench.once((copy / "model.h5").rename, copy / "peroxide.h5")
    settings = bench.once(load_input, path)
    molecule = build_molecule(settings, bench.comm)
    surface, *_ = build_rom_surface(
        settings, build_model(settings, bench.comm, molecule), copy / "peroxide.h5", silent(bench.comm)
    )
    owner = Owner(surface)
    owner.at(np.array(chosen["windows"][1]["positions"][0]))
    bench.once(shutil.copy, copy / "window-1" / "model.h5", copy / "window-0" / "model.h5")
    with pytest.raises(DataFileError, match="is not the model that"):
        owner.at(np.array(chosen["windows"][0]["positions"][0]))


def test_figures_are_of_one_window(bench, peroxide, capfd):
    _, folder, _, _ = peroxide
    for name in ("model.h5", "result.json"):
        assert bench.status("plot", folder / name, "--output", bench.folder / "plot") == 1
        assert bench.comm.rank > 0 or "window-0" in capfd.readouterr().err


def test_info_tells_of_windows(bench, peroxide):
    _, folder, _, _ = peroxide
    kind, lines = bench.once(describe, folder / "model.h5")
    words = "2 windows of a torsion, 180.0 degrees apart, 2 of them distinct"
    assert kind == "windows of reduced models" and any(words in line for line in lines)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"bond": [2, 3]}, "no internal rotation of H2O2"),
        ({"bond": [0, 1], "window": "40"}, "degrees"),
        ({"deviations": 1e-3}, "no bond of H2O2 turns"),
        ({"window": "0.01 deg"}, "below 0.0349"),
        ({"sampling": "inversion"}, "could invert are none"),
    ],
)
def test_what_does_not_turn_is_told(bench, peroxide, capfd, keys, words):
    _, folder, _, _ = peroxide
    path, train = bench.write("wrong.toml", with_keys(PEROXIDE, train=keys)), bench.folder / "wrong"
    bench.once(train.mkdir)
    bench.once(shutil.copy, folder / "modes.json", train / "modes.json")
    assert bench.status("train", path, "--output", train) == 1
    assert bench.comm.rank > 0 or words in capfd.readouterr().err
