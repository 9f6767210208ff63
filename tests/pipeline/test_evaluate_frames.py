"""``mpiqmd evaluate`` of many frames: bad ones do not cost the others, and a run that was stopped repeats nothing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from mpiqmd.errors import ConvergenceError, DataFileError
from mpiqmd.molecule.evaluation import Evaluation
from mpiqmd.parallel.interruption import Interruption
from mpiqmd.parallel.log import silent
from mpiqmd.pipeline.evaluate import evaluate_frames
from mpiqmd.pipeline.results import read_result
from mpiqmd.statics.evaluated_frames import EvaluatedFrames
from tests.helpers.workplace import WATER, with_keys
from tests.pipeline.springs import Springs, distorted

IDENTITY = {"solver": "springs"}
SHIFTS = (0.0, 0.05, 3.0, -0.05)
"""Angstrom along x by which water is moved; the third time only its hydrogen, which the cell has no room for."""


def frames_text(shifts=SHIFTS):
    atoms = (("O", 0.0, 0.0), ("H", 0.5927, 0.7461), ("H", 0.5715, -0.7356))
    moves = [{"O": shift if shift < 1.0 else 0.0, "H": shift} for shift in shifts]
    rows = [[f"{symbol} {x + move[symbol]} {y} 0.0" for symbol, x, y in atoms] for move in moves]
    return "\n".join("\n".join(["3", "water", *lines]) for lines in rows) + "\n"


@pytest.fixture
def water(bench):
    """The input and the file of four frames."""
    return bench.write("water.toml", WATER), bench.write("four.xyz", frames_text())


def test_a_bad_frame_is_named_and_the_others_are_there(bench, water):
    path, frames = water
    folder = bench.folder / "four"
    assert bench.status("evaluate", path, "--structures", frames, "--output", folder) == 1
    result = bench.once(read_result, folder / "result.json")
    assert [energy is None for energy in result["energies"]] == [False, False, True, False]
    assert [failed["frame"] for failed in result["failed"]] == [2] and "cell" in result["failed"][0]["error"]
    alone = bench.write("three.xyz", frames_text([shift for shift in SHIFTS if shift < 1.0]))
    expected = bench.run("evaluate", path, "--structures", alone, "--output", bench.folder / "three")
    assert expected["failed"] == []
    assert [energy for energy in result["energies"] if energy is not None] == expected["energies"]
    assert [forces for forces in result["forces"] if forces[0][0] is not None] == expected["forces"]

    def check() -> None:
        from ase.io import read

        written = read(folder / "evaluated.extxyz", index=":", parallel=False)
        assert [atoms.info["frame"] for atoms in written] == [0, 1, 3]
        assert "frame" not in read(bench.folder / "three" / "evaluated.extxyz", index=0, parallel=False).info

    bench.once(check)


def test_a_frame_with_an_atom_nowhere_is_not_evaluated(bench, water):
    """NaN in a file of many frames: the others are those of a file without it, and a second run evaluates nothing."""
    path, _ = water
    good, bad = frames_text((0.0,)), frames_text((0.0,)).replace("0.5927 0.7461", "0.5927 nan")
    words = ("evaluate", path, "--structures", bench.write("mixed.xyz", bad + good + bad), "--output", bench.folder / "mixed")
    for _ in range(2):
        assert bench.status(*words) == 1
    result = bench.once(read_result, bench.folder / "mixed" / "result.json")
    assert [failed["frame"] for failed in result["failed"]] == [0, 2] and result["energies"][::2] == [None, None]
    assert all(failed["error"].startswith("atom H2 is at (0.5927, nan, 0) angstrom") for failed in result["failed"])
    alone = bench.run("evaluate", path, "--structures", bench.write("one.xyz", good), "--output", bench.folder / "one")
    assert result["energies"][1] == alone["energies"][0] and result["forces"][1] == alone["forces"][0]
    none = bench.write("none.xyz", bad)
    assert bench.status("evaluate", path, "--structures", none, "--output", bench.folder / "none") == 1


def test_a_second_run_computes_what_is_missing_only(bench, water, monkeypatch):
    from mpiqmd.molecule.body_surface import BodySurface

    path, frames = water
    words = ("evaluate", path, "--structures", frames, "--output", bench.folder / "out")
    evaluate, asked = BodySurface.evaluate, []

    def counted(self, *where):
        asked.append(where)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return evaluate(self, *where)

    monkeypatch.setattr(BodySurface, "evaluate", counted)
    if bench.comm.size == 1:
        assert bench.status(*words) == 130
        assert not (bench.folder / "out" / "result.json").exists()
    asked.clear()
    asked.append(None)
    monkeypatch.setattr(BodySurface, "evaluate", lambda self, *where: asked.append(where) or evaluate(self, *where))
    assert bench.status(*words) == 1
    assert len(asked) - 1 == (3 if bench.comm.size == 1 else 4)
    assert bench.status(*words) == 1
    assert len(asked) - 1 == (4 if bench.comm.size == 1 else 5)
    other = bench.write("other.toml", with_keys(WATER, grid={"order": 8}))
    assert bench.status("evaluate", other, *words[2:]) == 1
    assert bench.status("evaluate", other, *words[2:], "--overwrite") == 1


def test_a_reduced_model_goes_on_after_a_bad_frame(bench, trained):
    frames = bench.write("six.xyz", frames_text([0.0, 0.0, 0.01, 0.0, 0.02]).replace("0.5715 -0.7356", "0.5715 -2.7356", 1))
    folder = bench.folder / "out"
    words = ("evaluate", trained.input, "--structures", frames, "--model", trained.model, "--output", folder)
    assert bench.status(*words) == 1
    result = bench.once(read_result, folder / "result.json")
    assert [failed["frame"] for failed in result["failed"]] == [0] and result["energies"][0] is None
    assert np.ptp(result["energies"][1:]) < 1e-9


class Moody(Springs):
    """Springs of which some places do not converge, or have no number."""

    def __init__(self, failing=(), not_finite=()):
        super().__init__()
        self.failing, self.not_finite = failing, not_finite

    def at(self, positions_av, memory=None):
        evaluation = super().at(positions_av, memory)
        if self.asked - 1 in self.failing:
            raise ConvergenceError("not here")
        if self.asked - 1 in self.not_finite:
            return Evaluation(np.nan, evaluation.forces_av, {})
        return evaluation


def places(count=5):
    return np.array([distorted().positions_av * (1.0 + 0.01 * index) for index in range(count)])


def record(comm, path, positions_sav, identity=IDENTITY):
    return EvaluatedFrames(path, identity, positions_sav, comm)


@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_every_frame_is_kept_or_named(comm, shared_tmp_path, at_once):
    path, places_sav = shared_tmp_path / "evaluate.jsonl", places()
    frames = record(comm, path, places_sav)
    evaluate_frames(Moody(failing=(1,), not_finite=(3,)), frames, at_once, Interruption(), silent(comm))
    whole = record(comm, shared_tmp_path / "whole.jsonl", places_sav)
    evaluate_frames(Springs(), whole, at_once, Interruption(), silent(comm))
    again = record(comm, path, places_sav)
    assert again.pending() == [1, 3]
    if comm.rank == 0:
        assert list(frames.errors) == [1, 3] and "not here" in frames.errors[1] and "not finite" in frames.errors[3]
        for number in (0, 2, 4):
            assert again.energies_s[number] == frames.energies_s[number] == whole.energies_s[number]
            assert np.array_equal(again.forces_sav[number], whole.forces_sav[number])
    springs = Springs()
    evaluate_frames(springs, again, at_once, Interruption(), silent(comm))
    assert springs.asked == 2 and again.pending() == []
    if comm.rank == 0:
        assert np.array_equal(again.energies_s, whole.energies_s) and not again.errors


@pytest.mark.serial
@pytest.mark.parametrize("lost", [1, 30, 400, 2000])
def test_what_a_kill_cut_off_is_computed_again(comm, tmp_path, lost):
    path, places_sav = tmp_path / "evaluate.jsonl", places()
    evaluate_frames(Springs(), record(comm, path, places_sav), 2, Interruption(), silent(comm))
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - lost, content.index(b"\n") + 1)])
    again = record(comm, path, places_sav)
    assert again.pending() == list(range(5 - len(again.pending()), 5))
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.serial
@pytest.mark.parametrize(
    "damage", [{"energy": "1.5"}, {"energy": 10**400}, {"extras": {"training_distance": 10**400}}, {"extras": {"x": "1"}}]
)
def test_a_row_whose_numbers_are_none_is_computed_again(comm, tmp_path, damage):
    path, places_sav = tmp_path / "evaluate.jsonl", places()
    evaluate_frames(Springs(), record(comm, path, places_sav), 2, Interruption(), silent(comm))
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | damage)
    path.write_text("\n".join(lines) + "\n")
    assert record(comm, path, places_sav).pending() == [1]


@pytest.mark.serial
def test_a_pipe_in_the_place_of_the_record_is_not_waited_for(comm, tmp_path):
    os.mkfifo(tmp_path / "evaluate.jsonl")
    with pytest.raises(DataFileError, match="it is a named pipe"):
        record(comm, tmp_path / "evaluate.jsonl", places())


@pytest.mark.serial
def test_other_frames_are_not_taken_from_the_record(comm, tmp_path):
    path, places_sav = tmp_path / "evaluate.jsonl", places()
    evaluate_frames(Springs(), record(comm, path, places_sav), 2, Interruption(), silent(comm))
    places_sav[2] += 0.001
    assert record(comm, path, places_sav).pending() == [2]
    assert record(comm, path, places(7)).pending() == [2, 5, 6]
    assert record(comm, path, places(1)).pending() == []


@pytest.mark.serial
def test_another_surface_is_refused_in_a_line_that_can_be_read(comm, tmp_path):
    path = tmp_path / "evaluate.jsonl"
    path.write_text(json.dumps({"solver": "\x1b[2J" * 1000}) + "\n")
    with pytest.raises(DataFileError, match=r"evaluate\.jsonl belongs to another surface") as caught:
        record(comm, path, places())
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    path.write_text("[1]\n")
    with pytest.raises(DataFileError, match="identity of a surface"):
        record(comm, path, places())


@pytest.mark.serial
@pytest.mark.parametrize(
    "row",
    ['{"frame": 0}', "[]", '{"frame": -1, "positions": [], "forces": [], "energy": 1, "extras": {}}', "{" * 5000, "\x00"],
)
def test_rows_that_are_none_are_passed_over(comm, tmp_path, row):
    path = tmp_path / "evaluate.jsonl"
    path.write_text(json.dumps(IDENTITY) + "\n" + row + "\n")
    assert record(comm, path, places()).pending() == [0, 1, 2, 3, 4]
