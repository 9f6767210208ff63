"""``rom.online = "learned"``, the default, from the command line: train, what the file says, dynamics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpiqmd.cli import parse_arguments
from mpiqmd.md.trajectory import Trajectory
from mpiqmd.molecule.bent import water_positions
from mpiqmd.pipeline.info import describe
from mpiqmd.pipeline.job import run_job
from mpiqmd.pipeline.results import read_result
from mpiqmd.units import BOHR_IN_ANGSTROM
from tests.helpers.workplace import WATER, with_keys

pytestmark = pytest.mark.serial


def test_unseen_errors_are_those_of_the_modes(trained):
    result = trained.result
    assert result["rank"] == result["rank_sigma"]
    in_use, on_grid = (result["errors"]["worst"]["unseen"][form] for form in ("in_use", "on_grid"))
    assert abs(in_use["energy"]["mean"] - on_grid["energy"]["mean"]) < 2e-6
    assert abs(in_use["force"]["largest"] - on_grid["force"]["largest"]) < 1e-4


def test_info_says_how_large_it_is(trained):
    _, lines = describe(trained.model)
    assert any("learned grid" in line and "latent directions" in line and "points" in line for line in lines)


def test_dynamics_conserves_energy(trained, bench):
    path = bench.write("water.toml", with_keys(WATER, md={"steps": 40, "thermostat": "none"}))
    bench.run("md", path, "--model", trained.model, "--output", bench.folder / "run")
    seen = Trajectory.open(bench.folder / "run" / "trajectory.h5").observables
    total_t = seen["potential_energy"] + seen["kinetic_energy"]
    assert np.ptp(total_t) < 0.02 * np.ptp(seen["potential_energy"]) and len(total_t) > 30


def last_lines(bench, capfd, *words):
    """The result of a command and its last line."""
    capfd.readouterr()
    assert run_job(parse_arguments(list(map(str, words))), bench.comm) == 0
    return read_result(Path(words[-1]) / "result.json"), capfd.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("replicas", [None, 3, 5])
def test_dynamics_ends_with_what_it_is_good_for(trained, bench, capfd, replicas):
    """Also of all replicas: the model's standing, its estimated errors, and the drift."""
    md, rom = {"steps": 6, "thermostat": "csvr"}, {"online": "learned", "check_every": 2, "on_large_error": "warn"}
    path = bench.write("water.toml", with_keys(WATER, rom=rom, md=md))
    several = () if replicas is None else ("--replicas", replicas)
    result, last = last_lines(bench, capfd, "md", path, "--model", trained.model, *several, "--output", bench.folder / "run")
    assert last == result["verdict"]["words"] and result["verdict"]["good"] is False
    assert last.startswith("warning: NOT good enough for averages at 100 K") and "on 2 unseen geometries (few: 50" in last
    checks = 4 * (replicas or 1)
    assert f"of {checks} estimates of the error exceed the tolerance" in last and "fs are too short to tell a drift" in last
    assert ("of 3 replicas" in last) == (replicas == 3)
    assert result["quality"][0].startswith("2.18 fs are too short")


def test_evaluating_ends_with_what_it_is_good_for(trained, bench, geometries, capfd):
    frames, _ = geometries
    path = bench.write("water.toml", with_keys(WATER, rom={"online": "learned", "on_large_error": "warn"}))
    words = ("evaluate", path, "--structures", frames, "--model", trained.model, "--output", bench.folder / "out")
    result, last = last_lines(bench, capfd, *words)
    assert last == result["verdict"]["words"] and result["verdict"]["good"] is False
    assert last.startswith("warning: NOT good enough for the energies and forces of 3 geometries: the model is NOT good enough")
    again, _ = last_lines(bench, capfd, *words)
    assert again["error_checks"] == result["error_checks"] and again["error_checks"]["checks"] == 3


def test_what_never_differed_in_training_is_solved_otherwise(bench):
    """One bond stretched alone: the tables have no edge in the angle, but they know of one angle only."""
    stretched = "".join(_frame(1.78 * scale, 105.0) for scale in np.linspace(0.93, 1.07, 7))
    frames, others = bench.write("trained.xyz", stretched), bench.write("others.xyz", _frame(1.80, 105.0) + _frame(1.80, 105.2))
    keys = {"sampling": "structures", "structures": str(frames), "symmetrize": False, "validation": 0}
    text = with_keys("\n".join(line for line in WATER.splitlines() if "bond_" not in line and "angle_" not in line), train=keys)
    path = bench.write("alone.toml", with_keys(text, rom={"online": "learned", "on_large_error": "warn"}))
    bench.run("train", path, "--output", bench.folder / "alone")
    words = ("evaluate", path, "--structures", others, "--model", bench.folder / "alone" / "model.h5")
    result = bench.run(*words, "--output", bench.folder / "out")
    assert result["error_checks"]["outside_tables"] == 1 and result["extras"]["on_grid"] == [0.0, 1.0]
    near, far = result["extras"]["training_distance"]
    assert near < 1.0 and far > 10.0


def _frame(length, angle):
    positions_av = water_positions(length, 1.78, np.radians(angle)) * BOHR_IN_ANGSTROM
    rows = (f"{symbol} {x:.12f} {y:.12f} {z:.12f}" for symbol, (x, y, z) in zip("OHH", positions_av, strict=True))
    return "\n".join(["3", "water", *rows]) + "\n"
