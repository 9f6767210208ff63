"""What two trajectories differ in beside their solvers is told, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpiqmd.md.comparable import hints
from mpiqmd.md.trajectory import Trajectory

pytestmark = pytest.mark.serial


def run(solver, **attributes):
    """Return a trajectory of one frame with these attributes; ``scf_frame`` and ``physics_x`` stand for names with a dot."""
    names = {name.replace("scf_", "scf.").replace("physics_", "physics."): value for name, value in attributes.items()}
    zeros_tav = np.zeros((1, 2, 3))
    header = {"solver": solver, "timestep": 20.0, "seed": 1, "thermostat": "none"}
    who = Path("t.h5"), ("H", "H"), np.ones(2)
    return Trajectory(*who, np.zeros(1, int), np.zeros(1), zeros_tav, zeros_tav, zeros_tav, {}, header | names, None)


def test_a_laboratory_run_beside_a_reduced_one_is_told_of():
    for pair in ((run("hifi", scf_frame="lab"), run("rom")), (run("rom"), run("hifi", scf_frame="lab"))):
        (hint,) = hints(*pair)
        assert 'scf.frame = "body"' in hint and "body frame" in hint and hint.isascii()


def test_runs_that_compare_have_no_hint():
    assert hints(run("hifi", scf_frame="body"), run("rom")) == []
    assert hints(run("hifi", scf_frame="lab"), run("hifi", scf_frame="lab")) == []
    assert hints(run("hifi"), run("rom")) == []
    assert hints(run("hifi", scf_frame="body", physics_points="[24]"), run("rom", physics_points="[24]")) == []


def test_two_frames_of_hifi_are_told_of():
    (hint,) = hints(run("hifi", scf_frame="lab"), run("hifi", scf_frame="body"))
    assert "'lab'" in hint and "'body'" in hint


def test_other_physics_and_other_seeds_are_named():
    one = run("hifi", scf_frame="body", physics_functional='"PBE"', physics_points="[24]")
    other = run("rom", seed=2, physics_functional='"LDA"', physics_points="[24]")
    (hint,) = hints(one, other)
    assert "differ in functional, seed:" in hint
